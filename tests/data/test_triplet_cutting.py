"""Triplets cut from clips: selected frames, errors, and the command."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from footage import letterboxed, scene, write_clip, write_film, write_images
from nakawari.data.clips import read_clip
from nakawari.data.synthetic import SyntheticScene
from nakawari.data.triplet_cutting import cut_triplets
from nakawari.data.triplets import open_dataset
from nakawari.errors import NakawariError, UsageError


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A clip of 20 frames that moves from the tenth on, and a static one."""
    moving, still = scene(3, 11), scene(4, 1) * 6
    names = [f"{number:02d}.png" for number in range(20)]
    write_images(tmp_path / "clips" / "a", [moving[0]] * 9 + moving, names)
    write_images(tmp_path / "clips" / "b", still)
    return tmp_path / "clips"


def test_each_triplet_is_three_frames_of_its_clip_where_it_moves(clips: Path, tmp_path: Path):
    found = cut_triplets(clips, tmp_path / "out", per_clip=4, gaps=[1, 3], min_change=1.0).cuts
    assert {cut.clip.name for cut in found} == {"a"}
    assert [cut.gap for cut in sorted(found, key=lambda cut: (cut.gap, cut.start))] == [1, 1, 3, 3]
    assert all(cut.start + 2 * cut.gap >= 10 for cut in found)
    assert len({cut.name for cut in found}) == 4
    dataset = open_dataset(tmp_path / "out")
    assert dataset.layout == "triplets" and {sample.group for sample in dataset} == {"a"}
    for cut, sample in zip(sorted(found, key=lambda cut: cut.name), dataset, strict=True):
        window = cut.clip.frames[[cut.start, cut.start + cut.gap, cut.start + 2 * cut.gap]]
        assert np.array_equal(sample.read(), window)


def test_the_same_clips_give_the_same_triplets(clips: Path, tmp_path: Path):
    first, second = (cut_triplets(clips, tmp_path / name, per_clip=3).cuts for name in ("one", "two"))
    assert [cut.name for cut in first] == [cut.name for cut in second]


def test_what_is_refused(clips: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="gaps of 1 or more"):
        cut_triplets(clips, tmp_path / "out", gaps=[0])
    with pytest.raises(NakawariError, match=r"b gave no triplet: its 1 clips are shorter than 3 frames or nothing"):
        cut_triplets(clips / "b", tmp_path / "out")
    with pytest.raises(UsageError, match="exists already"):
        cut_triplets(clips, clips)
    assert not (tmp_path / "out").exists()


def test_from_the_command_line(cli: Callable[..., Result], clips: Path, tmp_path: Path):
    result = cli("data", "triplets", clips, "-o", tmp_path / "out", "--per-clip", "2", "--gaps", "2")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("2 triplets of 1 clips in ")
    with (tmp_path / "out" / "index.csv").open() as file:
        assert [(row["clip"], row["gap"]) for row in csv.DictReader(file)] == [("a", "2")] * 2
    wrong = cli("data", "triplets", clips, "-o", tmp_path / "other", "--gaps", "1,x")
    assert wrong.exit_code == 2 and "'1,x' is not a list of frame counts" in wrong.stderr


@pytest.mark.parametrize("exposure", [2, 3])
def test_a_held_drawing_is_never_the_truth(tmp_path, exposure):
    """Drawings on twos and threes after H.264: the frames of a drawing differ slightly."""
    y, x = np.mgrid[:96, :160]
    frames = np.full((24, 96, 160, 3), (220, 210, 190), np.uint8)
    for index in range(24):
        frames[index][np.hypot(y - 48, x - 20 - 9 * (index // exposure)) < 16] = (60, 40, 150)
    decoded, _ = read_clip(write_clip(tmp_path / "clips/ball.mp4", frames))
    assert any((decoded[i] != decoded[i + 1]).any() for i in range(0, 24, exposure))  # no two frames are equal bytes
    found = cut_triplets(tmp_path / "clips", tmp_path / "out", per_clip=12, gaps=(1, 2, 3)).cuts
    drawn = [[(cut.start + place * cut.gap) // exposure for place in range(3)] for cut in found]
    assert len(found) > 6
    assert all(first < middle < last for first, middle, last in drawn), drawn


@pytest.mark.parametrize("crf", [18, 23, 28])
def test_held_drawings_are_known_through_strong_compression(tmp_path: Path, crf: int):
    """On twos and threes, at typical bit rates: no middle frame repeats a key."""
    drawings = SyntheticScene(41, (192, 320), 0.12).render(np.linspace(0, 1, 12))
    exposures = [1, 2, 2, 3] * 3
    shows = np.repeat(np.arange(12), exposures)
    write_film(tmp_path / "clips" / "film.mp4", drawings[shows], crf)
    found = cut_triplets(tmp_path / "clips", tmp_path / "out", per_clip=20, gaps=(1, 2, 3)).cuts
    drawn = [[shows[cut.start + place * cut.gap] for place in range(3)] for cut in found]
    assert len(found) > 6
    assert all(first < middle < last for first, middle, last in drawn), drawn


def test_no_triplet_crosses_a_scene_cut(tmp_path: Path):
    write_clip(tmp_path / "clips" / "two.mp4", scene(23, 8) + scene(33, 8))
    found = cut_triplets(tmp_path / "clips", tmp_path / "out", per_clip=20, gaps=(1, 2)).cuts
    assert len(found) > 6
    assert not any(cut.start < 8 <= cut.start + 2 * cut.gap for cut in found)


def test_clips_that_would_score_something_else_are_left_out_by_name(tmp_path: Path):
    write_clip(tmp_path / "clips" / "good.mp4", scene(1, 12))
    write_clip(tmp_path / "clips" / "again.mp4", [frame.repeat(2, 0).repeat(2, 1) for frame in scene(1, 12)])
    write_clip(tmp_path / "clips" / "bars.mp4", [letterboxed(frame) for frame in scene(2, 12)])
    (tmp_path / "clips" / "noise.mp4").write_bytes(b"not a video" * 100)
    found = cut_triplets(tmp_path / "clips", tmp_path / "out")
    assert {cut.clip.name for cut in found.cuts} == {"again"}  # the first of the two
    assert [Path(sentence.split()[0]).name for sentence in found.left_out] == ["bars.mp4", "good.mp4", "noise.mp4"]
