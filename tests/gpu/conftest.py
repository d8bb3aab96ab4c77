"""Tests that need a CUDA GPU: `python -m pytest tests/gpu -m gpu`. Everywhere else they skip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_framer
from tiny_models import mini_model, plain_model, towered_model

DEVICE = "cuda"


@pytest.fixture(autouse=True)
def device() -> Iterator[str]:
    """The device, without TF32, for comparison with the CPU."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield DEVICE
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny models with random weights: plain, guided (as mini), with encoders, and a Framer."""
    root = tmp_path_factory.mktemp("models")
    makers = {"plain": plain_model, "mini": mini_model, "towers": lambda: towered_model(8)}
    for name, make in (makers | {"framer": tiny_framer.tiny}).items():
        make().save_pretrained(root / name)
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two key drawings of 48x32, a square that moves."""
    root = tmp_path_factory.mktemp("keys")
    return [_square(root / f"key{place}.png", place) for place in (4, 24)]


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of 12 frames of 48x32."""
    root = tmp_path_factory.mktemp("clips")
    (root / "clip").mkdir()
    for number in range(12):
        _square(root / "clip" / f"{number:02d}.png", 3 * number)
    return root


@pytest.fixture(scope="session")
def triplets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two triplets of 48x32."""
    root = tmp_path_factory.mktemp("triplets")
    for clip in range(2):
        folder = root / "triplets" / f"clip{clip}"
        folder.mkdir(parents=True)
        for frame in range(3):
            _square(folder / f"frame{frame + 1}.png", 5 + 8 * frame + clip)
    return root


def _square(path: Path, left: int) -> Path:
    picture = np.full((32, 48, 3), 230, np.uint8)
    picture[10:22, left : left + 10] = (200, 40, 60)
    Image.fromarray(picture).save(path)
    return path
