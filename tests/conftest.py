"""Fixtures for tests that run the program or stand in for a model.

No framework is imported before a test asks for it: the process that only hands tests out needs none.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from nakawari.cli.main import app

if TYPE_CHECKING:
    from crossfade import CrossFade

LONGEST = ("training/test_processes.py", "test_docs.py", "episode/test_episode.py", "training/test_killed.py")
"""Files whose tests take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They come first, so that no process waits for another's last one."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def pytest_collection_finish() -> None:
    """What was imported stays: collections of garbage need not look at its two million objects again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> CrossFade:
    """Commands load this cross-fade in place of every model."""
    from crossfade import CrossFade

    pipeline = CrossFade(noise=0.2)
    module = ModuleType("nakawari.variants")
    module.load = lambda name, device="cpu": SimpleNamespace(name=name, pipeline=pipeline)
    module.check_name = lambda name: None
    module.check_prompt = lambda name: None
    module.weights_bytes = lambda name: 0
    module.fingerprint = lambda name: f"hash of {name}"
    monkeypatch.setitem(sys.modules, "nakawari.variants", module)
    return pipeline


@pytest.fixture
def keys(tmp_path: Path) -> list[Path]:
    """Three random key drawings of 22 x 14."""
    random = np.random.default_rng(0)
    paths = [tmp_path / f"key{number}.png" for number in (1, 2, 3)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (14, 22, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def show(tmp_path: Path) -> Path:
    """One clip of 12 frames, a square that moves."""
    folder = tmp_path / "show" / "clip"
    folder.mkdir(parents=True)
    for number in range(12):
        picture = np.full((40, 48, 3), 230, np.uint8)
        picture[10:22, 3 * number : 3 * number + 10] = (200, 40, 60)
        Image.fromarray(picture).save(folder / f"frame{number:02d}.png")
    return tmp_path / "show"


@pytest.fixture
def only_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a report's plots only in the format of its page."""
    monkeypatch.setattr("nakawari.reporting.drawing.FORMATS", ("svg",))


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip drawing a report's plots; captions stay."""
    monkeypatch.setattr("nakawari.reporting.drawing.FORMATS", ())


@pytest.fixture(scope="session")
def cli() -> Callable[..., Result]:
    """Runs the program in this process: `cli("interpolate", key1, key2, "-o", out)`."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="session")
def framer_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Framer with random weights, for five frames."""
    import tiny_framer

    folder = tmp_path_factory.mktemp("framer")
    tiny_framer.tiny().save_pretrained(folder)
    return folder
