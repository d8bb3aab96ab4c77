"""Fixtures around a tiny Framer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nakawari.families.framer.pipeline import FramerPipeline
from tiny_framer import SIZE, tiny


@pytest.fixture(scope="session")
def _shared() -> FramerPipeline:
    return tiny()


@pytest.fixture
def pipeline(_shared: FramerPipeline) -> FramerPipeline:
    """Shared weights, own scheduler; tests that change weights make their own with `tiny`."""
    return FramerPipeline(**{**_shared.components, "scheduler": _shared.scheduler}, few_step=False)


@pytest.fixture
def keys() -> tuple[Tensor, Tensor]:
    """Two pairs of key frames (2, 3, 32, 48)."""
    draw = torch.rand(2, 2, 3, *SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return draw[0], draw[1]


@pytest.fixture
def tracks() -> np.ndarray:
    """Two tracks over five frames."""
    return np.linspace([[4.0, 5.0], [40.0, 20.0]], [[30.0, 25.0], [10.0, 8.0]], 5)


@pytest.fixture
def sample(pipeline: FramerPipeline, keys: tuple[Tensor, Tensor]) -> Callable[..., Tensor]:
    """Final latents of the first pair, three steps, one seed, with the given options."""

    def run(seed: int = 0, **options: object) -> Tensor:
        made = pipeline(
            keys[0][:1],
            keys[1][:1],
            **{
                "num_frames": 5,
                "num_inference_steps": 3,
                "output_type": "latent",
                "generator": [torch.Generator().manual_seed(seed)],
                **options,
            },
        )
        return made.frames

    return run
