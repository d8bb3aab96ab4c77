"""Windows: cached frames and guides, with the same crops and mirroring for both."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from nakawari.data.augmentation import ALL
from nakawari.errors import NakawariError, UsageError
from nakawari.guide import Guide
from nakawari.guide.motion import MotionGuide
from nakawari.training.data_sources import held_out_samples, training_samples
from nakawari.training.recipe import Recipe, parse_recipe
from nakawari.training.windows import Windows, changed, prepare_windows


class Shifting:
    """Five frames of a smooth texture that moves four pixels to the right and two down from first to last."""

    def sample(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        ground = functional.interpolate(torch.rand(1, 3, 22, 30, generator=generator), (176, 240), mode="bicubic")
        frames = [ground[..., 16 - n : 144 - n, 24 - 2 * n : 216 - 2 * n] for n in (0, 1, 2, 3, 4)]
        frames = functional.interpolate(torch.cat(frames), (64, 96), mode="area")
        return {"frames": frames.clamp(0, 1) * 2 - 1, "name": f"clip{index}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepare_windows(Shifting(), 3, MotionGuide(), "key", tmp_path, workers=0)


def test_a_whole_window_has_the_guide_of_its_keys(folder: Path):
    sample = Windows(folder, (64, 96), 0).sample(0)
    frames, times = sample["frames"], torch.linspace(0, 1, 5)
    guide = MotionGuide()(frames[:1], frames[-1:], times).stacked()[0]
    # Bytes in the pictures that the flow was made of, bytes in the guide.
    assert (sample["guide"][[0, -1]] - guide[[0, -1]]).abs().max() < 1e-6
    assert (sample["guide"] - guide).abs().mean(dim=(0, 2, 3)).max() < 0.02
    cut = Guide.from_stacked(sample["guide"][None])
    assert torch.equal(cut.time[0], times)
    middle = cut.motion[0, 2, :, 16:-16, 16:-16].mean((1, 2)) * 16
    assert torch.allclose(middle, torch.tensor([4.0, 2.0]), atol=0.4)


def test_crops_and_mirrors_move_frames_and_guide_alike(folder: Path):
    windows = Windows(folder, (32, 40), 1, ALL)
    for index in range(24):
        sample = windows.sample(index)
        frames, guide = sample["frames"], sample["guide"]
        assert frames.shape == (5, 3, 32, 40) and guide.shape == (5, 13, 32, 40)
        named = Guide.from_stacked(guide[None])
        first, last = named.start, named.end
        assert torch.equal(first[0, 0], frames[0]) and torch.equal(last[0, -1], frames[-1])
        # A wrong mirror of either would be as far away as another picture.
        assert (first[0, 2] - frames[2])[:, 10:-10, 10:-10].abs().mean() < 0.15
        assert (last[0, 2] - frames[2])[:, 10:-10, 10:-10].abs().mean() < 0.15


@pytest.mark.parametrize("seed", range(12))
def test_motion_points_where_the_mirrored_frames_move(folder: Path, seed: int):
    whole = Windows(folder, (64, 96), 0).sample(0)
    changes = ALL.draw(np.random.default_rng(seed))
    frames, guide = changed(whole["frames"], Guide.from_stacked(whole["guide"][None]), changes)
    anew = MotionGuide()(frames[:1], frames[-1:], torch.linspace(0, 1, 5))
    inside = (0, 2, slice(None), slice(16, -16), slice(16, -16))
    assert (guide.motion[inside] - anew.motion[inside]).abs().mean() * 16 < 0.5
    assert torch.allclose(guide.time, anew.time, atol=1e-6)


def test_windows_are_made_once_and_follow_from_seed_and_index(folder: Path, tmp_path: Path):
    before = (folder / "names.json").stat().st_mtime_ns
    assert prepare_windows(Shifting(), 3, MotionGuide(), "key", tmp_path, workers=0) == folder
    assert (folder / "names.json").stat().st_mtime_ns == before
    assert prepare_windows(Shifting(), 3, MotionGuide(), "other", tmp_path, workers=0) != folder
    one, other = (Windows(folder, (32, 40), 7).sample(5) for _ in range(2))
    assert torch.equal(one["frames"], other["frames"]) and torch.equal(one["guide"], other["guide"])


class Interrupted(Shifting):
    """Raises KeyboardInterrupt at the third sample."""

    def sample(self, index: int) -> dict[str, Any]:
        if index == 2:
            raise KeyboardInterrupt
        return super().sample(index)


class Listed(Shifting):
    def __init__(self) -> None:
        self.drawn: list[int] = []

    def sample(self, index: int) -> dict[str, Any]:
        self.drawn.append(index)
        return super().sample(index)


def test_a_guide_that_draws_otherwise_gets_its_own_windows(folder: Path, tmp_path: Path):
    class Later(MotionGuide):
        """A guide of the same name whose warped keys are a little darker."""

        def forward(self, *inputs: Any, **words: Any) -> Guide:
            drawn = super().forward(*inputs, **words)
            return dataclasses.replace(drawn, start=drawn.start - 0.02)

    Later.__name__ = MotionGuide.__name__
    assert prepare_windows(Shifting(), 3, Later(), "key", tmp_path, workers=0) != folder


def test_what_was_made_is_kept_and_the_rest_is_made_later(folder: Path, tmp_path: Path):
    other, guide = tmp_path / "other", MotionGuide()
    with pytest.raises(KeyboardInterrupt, match="interrupted with 2 of 3 windows made; they are kept"):
        prepare_windows(Interrupted(), 3, guide, "key", other, workers=0)
    assert [path.name for path in other.iterdir() if path.name[0] != "."] == [folder.name]
    with (other / folder.name / "names-so-far.jsonl").open("a") as log:
        log.write('"cli')  # the line that was being written
    listed, shown = Listed(), []
    made = prepare_windows(listed, 3, guide, "key", other, 0, lambda done, total: shown.append((done, total)))
    assert listed.drawn == [2] and shown == [(3, 3)]
    assert sorted(path.name for path in other.rglob("*")) == sorted([folder.name, *(p.name for p in folder.iterdir())])
    for path in folder.iterdir():
        assert (made / path.name).read_bytes() == path.read_bytes()


def test_a_disk_without_room_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*about: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(NakawariError, match=r"Could not write .*frames\.npy: No space left on device; it needs 0 MB"):
        prepare_windows(Shifting(), 3, MotionGuide(), "key", tmp_path, workers=0)


def recipe(tmp_path: Path, **data: Any) -> Recipe:
    source = {"kind": "synthetic"}
    whole = {"sources": [source], "size": [32, 32], "frames": [3], "cache": str(tmp_path)} | data
    return parse_recipe(
        {
            "name": "windows",
            "model": {"base": "mini"},
            "objective": {"kind": "denoise"},
            "data": whole,
            "optim": {"lr": 1e-3, "steps": 1, "batch_size": 2},
            "validation": {"samples": 1},
        }
    )


def test_a_recipe_with_windows_trains_on_crops_and_validates_on_whole_frames(tmp_path: Path):
    wanted = recipe(tmp_path, windows={"count": 2, "size": [48, 64]})
    stream = training_samples(wanted, MotionGuide())
    assert stream.sample(0)["frames"].shape == (3, 3, 32, 32) and stream.sample(0)["guide"].shape == (3, 13, 32, 32)
    assert held_out_samples(wanted)[0]["frames"].shape == (3, 3, 48, 64)
    with pytest.raises(UsageError, match=r"data\.windows needs a model with a motion guide"):
        training_samples(wanted)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"windows": {"count": 2, "size": [16, 64]}}, "larger than data.windows.size"),
        ({"windows": {"count": 2, "size": [48, 64]}, "frames": [3, 5]}, "single frame count"),
        ({"windows": {"count": 2, "size": [48, 64]}, "distinct": 4}, "no buckets and no distinct"),
    ],
)
def test_windows_that_cannot_be_are_refused(tmp_path: Path, data: dict[str, Any], said: str):
    with pytest.raises(UsageError, match=said):
        recipe(tmp_path, **data)
