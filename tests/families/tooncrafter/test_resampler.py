"""The image projector on a tiny configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nakawari.families.tooncrafter.resampler import Resampler

TINY: dict[str, Any] = {
    "dim": 8,
    "depth": 2,
    "dim_head": 4,
    "heads": 3,
    "num_queries": 2,
    "embedding_dim": 6,
    "output_dim": 10,
    "video_length": 5,
}


def build(**changes: Any) -> Resampler:
    torch.manual_seed(0)
    return Resampler(**{**TINY, **changes}).eval()


def image_tokens(batch: int = 2) -> Tensor:
    return torch.randn(batch, 7, 6, generator=torch.Generator().manual_seed(1))


def test_released_size() -> None:
    with torch.device("meta"):
        model = Resampler()
    assert sum(parameter.numel() for parameter in model.parameters()) == 48_787_456


@pytest.mark.parametrize("frames", range(1, 17))
@torch.no_grad()
def test_any_number_of_frames(frames: int) -> None:
    assert build()(image_tokens(), num_frames=frames).shape == (2, frames * 2, 10)


@torch.no_grad()
def test_the_learned_number_of_frames_is_untouched() -> None:
    model = build()
    assert model.queries(5) is model.latents
    assert torch.equal(model(image_tokens(), num_frames=5), model(image_tokens()))


@torch.no_grad()
def test_queries_between_frames_are_interpolated() -> None:
    model = build()
    learned = model.latents.unflatten(1, (5, 2))
    queries = model.queries(9).unflatten(1, (9, 2))
    torch.testing.assert_close(queries[:, ::2], learned)
    torch.testing.assert_close(queries[:, 1::2], (learned[:, 1:] + learned[:, :-1]) / 2)


@pytest.mark.parametrize("frames", [2, 3, 16])
@torch.no_grad()
def test_ends_keep_their_queries(frames: int) -> None:
    model = build()
    queries = model.queries(frames)
    torch.testing.assert_close(queries[:, :2], model.latents[:, :2])
    torch.testing.assert_close(queries[:, -2:], model.latents[:, -2:])


def test_interpolated_queries_pass_gradients() -> None:
    model = build()
    model(image_tokens(), num_frames=9).square().sum().backward()
    assert model.latents.grad is not None
    assert (model.latents.grad != 0).all()


@torch.no_grad()
def test_one_group_of_queries_serves_the_clip() -> None:
    model = build(video_length=None)
    assert model(image_tokens()).shape == (2, 2, 10)
    assert torch.equal(model.queries(3), model.latents.repeat(1, 3, 1))


def test_no_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="num_frames=0"):
        build()(image_tokens(), num_frames=0)


@torch.no_grad()
def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    model = build()
    model.save_pretrained(tmp_path)
    assert torch.equal(model(image_tokens()), Resampler.from_pretrained(tmp_path)(image_tokens()))
