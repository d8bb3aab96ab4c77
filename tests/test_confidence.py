"""Confidence of in-betweens, and scene cuts in gaps: reporting and drawing options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import Result

from crossfade import CrossFade
from nakawari.interpolation import Key, Settings, draw
from nakawari.interpolation.confidence import Keys
from nakawari.interpolation.cuts import is_cut
from nakawari.interpolation.sheet import title_of
from nakawari.media import read_image

Cli = Callable[..., Result]


def scene(seed: int, left: float = 20, channels: int = 3) -> np.ndarray:
    """An image of soft blots in random colours, with a disc on it."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (5, 8, 3), dtype=np.uint8) // 2 + random.integers(0, 128, 3, dtype=np.uint8)
    picture = Image.fromarray(small).resize((160, 100), Image.Resampling.BICUBIC)
    ImageDraw.Draw(picture).ellipse((left, 30, left + 30, 60), (230, 40, 40), (0, 0, 0), 2)
    frame = np.asarray(picture)
    return frame if channels == 3 else np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])


@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_right_is_surer_than_what_fades_and_the_map_shows_where(channels: int):
    first, truth, last = (scene(0, left, channels) for left in (20, 34, 48))
    fade = np.rint((first.astype(float) + last) / 2).astype(np.uint8)
    keys = Keys((first, last))
    right, wrong = keys.judge(truth, 0.5), keys.judge(fade, 0.5)
    assert 0 <= wrong.frame < right.frame <= 1
    moved = (first != last).any(axis=2)
    assert wrong.pixels.shape == moved.shape
    assert wrong.pixels[moved].mean() < right.pixels[moved].mean() - 10
    assert wrong.pixels[:, 120:].min() > 240


def test_edges_off_their_path_lower_the_confidence_by_their_strength():
    def seen(contrast: int, left: int) -> np.ndarray:
        frame = np.full((96, 160, 3), 100, np.uint8)
        frame[30:60, left : left + 30] += np.uint8(contrast)
        return frame

    def astray(contrast: int, left: int) -> float:
        return Keys((seen(contrast, 40), seen(contrast, 56))).figures(seen(contrast, left), 0.5)[0]["astray"]

    assert astray(120, 53) > 3 * astray(120, 48)
    assert astray(120, 53) > 2 * astray(30, 53)


def test_equal_keys_are_sure():
    assert Keys((scene(0), scene(0))).judge(scene(0), 0.5).frame > 0.9


def test_a_cut_is_told_from_a_move_whatever_stands_under_no_matte():
    assert is_cut(scene(0), scene(1, 110))
    assert not is_cut(scene(0, 20), scene(0, 60))
    cels = [np.dstack([scene(seed, left), np.zeros((100, 160), np.uint8)]) for seed, left in ((0, 20), (1, 60))]
    for cel, left in zip(cels, (20, 60), strict=True):
        cel[30:60, left : left + 30] = (230, 40, 40, 255)
    assert not is_cut(cels[0], cels[1])


@pytest.fixture
def cut(tmp_path: Path) -> list[Path]:
    """Three keys: a move, then a cut."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, picture in zip(paths, (scene(0, 20), scene(0, 24), scene(1, 110)), strict=True):
        Image.fromarray(picture).save(path)
    return paths


def test_a_cut_is_named_on_the_terminal_in_the_json_and_on_the_sheet(
    cli: Cli, stub: CrossFade, cut: list[Path], tmp_path: Path
):
    result = cli("interpolate", *cut, "-o", tmp_path / "out", "--between", 3, "--json")
    assert "gap 2: a cut?" in result.stderr
    assert "gap 1: a cut?" not in result.stderr
    summary = json.loads(result.stdout)
    assert summary["cuts"] == [2]
    assert [value is None for value in summary["confidence"]] == [True, *[False] * 3, True, *[False] * 3, True]
    record = json.loads((tmp_path / "out" / "interpolation.json").read_text())
    assert [gap["cut"] for gap in record["gaps"]] == [False, True]
    assert [frame["confidence"] for frame in record["frames"]] == summary["confidence"]
    drawn = draw([Key(path, read_image(path)) for path in cut], Settings((1, 1)), stub)
    assert title_of(drawn, ["a", "b", "c"], 1, 1) == "b to c: 1 between; gap 2: a cut?"
    assert title_of(drawn, ["a", "b", "c"], 0, 1) == "a to b: 1 between"


@pytest.mark.parametrize("how", ["hold", "fade"])
def test_a_cut_is_held_or_faded_where_that_is_asked_for(
    cli: Cli, stub: CrossFade, cut: list[Path], tmp_path: Path, how: str
):
    out = tmp_path / "out"
    result = cli("interpolate", *cut, "-o", out, "--between", 3, "--on-cut", how)
    assert result.exit_code == 0, result.stderr
    first, last = (read_image(path) for path in cut[1:])
    made = [read_image(out / f"{number:04d}.png") for number in (6, 7, 8)]
    wanted = (
        [first, last, last] if how == "hold" else [first + share * (last * 1.0 - first) for share in (0.25, 0.5, 0.75)]
    )
    assert all(np.abs(own - one).max() <= (0 if how == "hold" else 1) for own, one in zip(made, wanted, strict=True))
    record = json.loads((out / "interpolation.json").read_text())
    assert [gap["drawn_by"] for gap in record["gaps"]] == ["model", how]
    assert record["gaps"][1]["confidence"] is None
    assert len(stub.calls) == 1


def test_maps_stand_beside_the_frames_and_go_when_they_are_not_asked_for(
    cli: Cli, stub: CrossFade, cut: list[Path], tmp_path: Path
):
    out, words = tmp_path / "out", ("interpolate", *cut[:2], "-o", tmp_path / "out", "--between", 2)
    result = cli(*words, "--confidence")
    assert result.exit_code == 0, result.stderr
    assert "0001.png ... 0004.png" in result.stdout
    assert sorted(path.name for path in (out / "confidence").iterdir()) == ["0002.png", "0003.png"]
    shown = read_image(out / "confidence" / "0002.png")
    assert shown.shape == (100, 160, 3)
    assert shown.max() > 200 > 150 > shown.min()
    calls = len(stub.calls)
    assert cli(*words).exit_code == 0
    assert not (out / "confidence").exists()
    assert len(stub.calls) == calls  # a map needs no frame drawn again
