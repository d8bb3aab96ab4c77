"""Samples from a recipe's data: triplets, balanced shows, buckets, captions, repetition."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nakawari.data.arranged import places, spread
from nakawari.errors import NakawariError, UsageError
from nakawari.training.data_files import data_fingerprint
from nakawari.training.data_sources import held_out_samples, training_samples
from nakawari.training.recipe import Recipe, parse_recipe


def write_clip(folder: Path, frames: int, size: tuple[int, int] = (16, 24), level: int = 0) -> None:
    """Images of brightness `level` plus ten times their index."""
    folder.mkdir(parents=True)
    for number in range(frames):
        picture = np.full((*size, 3), level + 10 * number, np.uint8)
        Image.fromarray(picture).save(folder / f"frame{number + 1}.png")


def recipe(source: dict[str, Any], frames: int = 3, batch_size: int = 2, **data: Any) -> Recipe:
    return parse_recipe(
        {
            "name": "data",
            "model": {"base": "mini"},
            "objective": {"kind": "denoise"},
            "data": {"sources": [source], "size": [16, 24], "frames": [frames], "augment": False} | data,
            "optim": {"lr": 1e-3, "steps": 1, "batch_size": batch_size},
            "validation": {"samples": 1},
        }
    )


def clips(path: Path, **params: Any) -> dict[str, Any]:
    return {"kind": "clips", "path": str(path), "span": [2, 2], "held_out": 0.0} | params


def levels(frames: torch.Tensor) -> list[int]:
    """Brightness of each frame, 0 to 255."""
    return ((frames.mean((1, 2, 3)) + 1) * 127.5).round().int().tolist()


def test_triplets_are_whole_samples(tmp_path: Path):
    write_clip(tmp_path / "train" / "a", 3)
    write_clip(tmp_path / "train" / "b", 3)
    stream = training_samples(recipe({"kind": "triplets", "path": str(tmp_path), "split": "train", "held_out": 0}))
    sample = stream.sample(0)
    assert sample["name"] in ("a", "b") and levels(sample["frames"]) == [0, 10, 20]
    assert "known" not in sample


@pytest.mark.parametrize(("count", "known"), [(5, [0, 2, 4]), (6, [0, 2, 3, 5]), (16, [0, 7, 8, 15])])
def test_triplets_in_longer_clips_say_where_the_truth_is(tmp_path: Path, count: int, known: list[int]):
    write_clip(tmp_path / "train" / "a", 3)
    source = {"kind": "triplets", "path": str(tmp_path), "split": "train", "held_out": 0}
    sample = training_samples(recipe(source, frames=count)).sample(0)
    assert sample["known"].nonzero().flatten().tolist() == known
    assert [levels(sample["frames"])[index] for index in known] == [0, *[10] * (len(known) - 2), 20]
    assert levels(sample["frames"]) == sorted(levels(sample["frames"]))


def test_true_frames_at_their_own_times():
    assert places([0.25, 0.5, 0.75], 5) == [(1, 1), (2, 2), (3, 3)]
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.full((1, 2, 2, 3), 100, np.uint8)
    assert spread(frames, [0.5], 5)[:, 0, 0, 0].tolist() == [0, 50, 100, 150, 200]


def test_shows_count_alike_whatever_their_clips(tmp_path: Path):
    for number in range(9):
        write_clip(tmp_path / "long" / f"clip{number}", 4)
    write_clip(tmp_path / "short" / "clip", 4, level=100)
    for balance, low, high in ((True, 0.35, 0.65), (False, 0.0, 0.3)):
        stream = training_samples(recipe(clips(tmp_path, balance=balance)))
        shows = collections.Counter(stream.sample(index)["name"].split("/")[0] for index in range(80))
        assert low < shows["short"] / 80 < high


def test_buckets_take_the_clips_of_their_aspect(tmp_path: Path):
    write_clip(tmp_path / "wide", 4, size=(16, 32))
    write_clip(tmp_path / "tall", 4, size=(32, 16), level=100)
    stream = training_samples(recipe(clips(tmp_path), buckets=[[16, 32], [32, 16]]))
    seen = set()
    for batch in range(12):
        pair = [stream.sample(2 * batch + place) for place in (0, 1)]
        assert pair[0]["frames"].shape == pair[1]["frames"].shape
        seen |= {(sample["name"], tuple(sample["frames"].shape[-2:])) for sample in pair}
    assert seen == {("wide", (16, 32)), ("tall", (32, 16))}


def test_distinct_samples_come_again_in_another_order(tmp_path: Path):
    write_clip(tmp_path / "a", 25)
    stream = training_samples(recipe(clips(tmp_path), distinct=12))
    turns = [[levels(stream.sample(turn * 12 + place)["frames"])[0] for place in range(12)] for turn in range(3)]
    assert sorted(turns[0]) == sorted(turns[1]) == sorted(turns[2])
    assert turns[0] != turns[1] or turns[1] != turns[2]
    with pytest.raises(UsageError, match=r"data\.distinct 3 is not a multiple of optim\.batch_size 2"):
        recipe(clips(tmp_path), distinct=3)


def test_uneven_windows_keep_their_keys(tmp_path: Path):
    write_clip(tmp_path / "show" / "a", 9)
    even, uneven = (recipe(clips(tmp_path, span=[8, 8], uneven=share)) for share in (0.0, 1.0))
    found = [levels(training_samples(uneven).sample(index)["frames"]) for index in range(30)]
    assert {keys for first, _, last in found for keys in (first, last)} == {0, 80}
    assert {middle for _, middle, _ in found} == set(range(10, 80, 10))
    assert levels(training_samples(even).sample(0)["frames"]) == [0, 40, 80]
    assert data_fingerprint(uneven.data) != data_fingerprint(even.data)


def test_captions_become_prompts_and_must_name_clips(tmp_path: Path):
    write_clip(tmp_path / "show" / "a", 4)
    (tmp_path / "captions.csv").write_text("name,caption\na.mp4,a hero waves\n")
    prepared = recipe(clips(tmp_path))
    assert training_samples(prepared).sample(0)["prompt"] == "a hero waves"
    before = data_fingerprint(prepared.data)
    (tmp_path / "captions.csv").write_text("name,caption\na,a hero sleeps\n")
    assert data_fingerprint(prepared.data) != before
    (tmp_path / "captions.csv").write_text("name,caption\nb,a hero waves\n")
    with pytest.raises(NakawariError, match=r"captions\.csv names 1 missing clips, such as b"):
        training_samples(prepared)


def test_no_clips_and_clips_that_are_too_short(tmp_path: Path):
    with pytest.raises(NakawariError, match="holds no clips"):
        training_samples(recipe(clips(tmp_path)))
    write_clip(tmp_path / "a", 2)
    with pytest.raises(NakawariError, match=r"No clip has 3 frames \(the longest has 2\)"):
        training_samples(recipe(clips(tmp_path))).sample(0)
    with pytest.raises(UsageError, match="has no clips for validation"):
        held_out_samples(recipe(clips(tmp_path)))
