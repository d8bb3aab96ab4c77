"""Footage is cut at scene changes, and written frames match the index."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from footage import scene, write_clip, write_images
from nakawari.data.check import check
from nakawari.data.clips import load_clips, read_clip, split_of
from nakawari.data.drawings import find_flashes, watch
from nakawari.data.prepare import Settings, cut, prepare
from nakawari.errors import NakawariError, UsageError


@pytest.fixture
def film() -> list[np.ndarray]:
    """A scene of 12 frames, a cut, then 10 frames of motion, 20 static frames and 10 more of motion."""
    first, second = scene(23, 12), scene(33, 20)
    return [*first, *second[:10], *[second[9]] * 20, *second[10:]]


def test_cut_at_scenes_and_around_still_stretches(film: list[np.ndarray]):
    changes = watch(film, 24)
    assert changes.cuts == (12,)
    assert changes.drawings == 32
    pieces, dropped = cut(changes, 24, Settings())
    assert [(piece.first, piece.end) for piece in pieces] == [(0, 12), (12, 22), (42, 52)]
    assert dropped == {"flashing": 0, "still": 20, "short": 0, "held": 0}
    assert [(p.first, p.end) for p in cut(changes, 24, Settings(max_hold=1))[0]] == [(0, 12), (12, 52)]
    pieces, dropped = cut(changes, 24, Settings(min_frames=11))
    assert ([(piece.first, piece.end) for piece in pieces], dropped["short"]) == ([(0, 12)], 20)


def test_flashes_are_found_and_slow_fades_are_not():
    assert np.flatnonzero(find_flashes([100, 100, 160, 160, 100, 100], 24)).tolist() == [2, 3]
    assert not find_flashes([100, 160, 160, 160, 160, 160, 160, 160, 160, 100], 12).any()
    assert not find_flashes([100, 120, 140, 160, 180, 160, 140], 24).any()


def test_flashing_frames_are_dropped():
    frames = scene(27, 30)
    flashed = [*frames[:12], 255 - frames[12] // 4, *frames[13:]]
    changes = watch(flashed, 24)
    assert changes.cuts == ()
    pieces, dropped = cut(changes, 24, Settings())
    assert [(piece.first, piece.end) for piece in pieces] == [(0, 12), (13, 30)]
    assert dropped["flashing"] == 1


def test_written_frames_are_those_of_the_index(tmp_path: Path, film: list[np.ndarray]):
    write_images(tmp_path / "in" / "film", film, [f"{number:04d}.png" for number in range(len(film))])
    made = prepare(tmp_path / "in", tmp_path / "out", Settings(format="png"))
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [entry["frames"] for entry in index] == [[0, 11], [12, 21], [42, 51]] and len(made.clips) == 3
    for entry in index:
        first, last = entry["frames"]
        written, _ = read_clip(tmp_path / "out" / entry["file"])
        assert np.array_equal(written, np.stack(film[first : last + 1]))
        assert (entry["width"], entry["height"], entry["count"]) == (64, 48, last - first + 1)


def test_each_drawing_once(tmp_path: Path):
    twos = [frame for frame in scene(24, 12) for _ in range(2)]
    write_images(tmp_path / "in" / "twos", twos, [f"{number:04d}.png" for number in range(24)])
    made = prepare(tmp_path / "in", tmp_path / "out", Settings(distinct=True, format="png"))
    written, _ = read_clip(tmp_path / "out" / made.clips[0].file)
    assert np.array_equal(written, np.stack(twos[::2]))
    assert made.dropped["held"] == 12


def test_video_keeps_its_colours_rate_and_split(tmp_path: Path, film: list[np.ndarray]):
    write_clip(tmp_path / "in" / "my show!.mp4", film, 12)
    prepare(tmp_path / "in", tmp_path / "a")
    prepare(tmp_path / "in", tmp_path / "b")
    clips = load_clips(tmp_path / "a")
    assert [clip.name for clip in clips] == ["my-show-_000_001", "my-show-_000_002", "my-show-_000_003"]
    assert {clip.group for clip in clips} == {"my-show-_000"} and len({split_of(clip.name) for clip in clips}) == 1
    assert {clip.fps for clip in clips} == {12.0}
    error = clips[0].frames.astype(float) - np.stack(film[:12])
    assert 10 * np.log10(255**2 / (error**2).mean()) > 40
    assert abs(error.mean()) < 0.5
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    assert check(tmp_path / "a").faults == []


def test_a_broken_video_is_skipped_by_name(tmp_path: Path, film: list[np.ndarray]):
    write_clip(tmp_path / "in" / "film.mp4", film)
    (tmp_path / "in" / "bad.mp4").write_bytes(b"nothing" * 50)
    made = prepare(tmp_path / "in", tmp_path / "out")
    assert len(made.clips) == 3 and len(made.skipped) == 1 and "bad.mp4" in made.skipped[0]


def test_what_cannot_be_prepared(tmp_path: Path):
    write_clip(tmp_path / "in" / "short.mp4", scene(1, 5))
    with pytest.raises(NakawariError, match="gave no clip"):
        prepare(tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    with pytest.raises(UsageError, match="exists already"):
        prepare(tmp_path / "in", tmp_path / "in")
    with pytest.raises(UsageError, match="min-frames"):
        prepare(tmp_path / "in", tmp_path / "out", Settings(min_frames=2))
    with pytest.raises(UsageError, match="max-hold"):
        prepare(tmp_path / "in", tmp_path / "out", Settings(max_hold=0))


def test_commands(cli: Callable[..., Result], tmp_path: Path, film: list[np.ndarray]):
    write_clip(tmp_path / "film.mp4", film)
    result = cli("data", "prepare", tmp_path / "film.mp4", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "3 clips, 32 frames" in result.stdout and "20 still" in result.stdout
    again = cli("data", "prepare", tmp_path / "film.mp4", "-o", tmp_path / "out")
    assert again.exit_code == 2 and "exists already" in again.stderr
    other = cli("data", "prepare", tmp_path / "film.mp4", "-o", tmp_path / "png", "--format", "png", "--json")
    assert len(json.loads(other.stdout)["clips"]) == 3
