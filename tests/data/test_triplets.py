"""Layouts of data sets with ground truth, and pairs without."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nakawari.data.samples import Region, Sample, spread
from nakawari.data.triplets import open_dataset, read_annotation
from nakawari.errors import NakawariError, UsageError
from nakawari.media import read_rgb


def draw(path: Path, value: int, size: tuple[int, int] = (12, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def triplet(folder: Path, suffix: str = "png", count: int = 3) -> None:
    for index in range(1, count + 1):
        draw(folder / f"frame{index}.{suffix}", index * 20)


def test_atd12k_as_published(tmp_path: Path) -> None:
    triplet(tmp_path / "train_10k" / "Film_a_0001")
    name = "Disney_v4_4_042831_s2"
    triplet(tmp_path / "test_2k_540p" / name, "jpg")
    note = tmp_path / "test_2k_annotations" / name / f"{name}.json"
    note.parent.mkdir(parents=True)
    note.write_text(
        json.dumps(
            {
                "level": 2,
                "general_motion_type": ["translation", "rotation"],
                "behavior": "walking",
                "motion_RoI": {"x": 1, "y": 2, "width": 5, "height": 4},
            }
        )
    )
    (sample,) = open_dataset(tmp_path)
    assert (sample.name, sample.level) == (name, "hard")
    assert sample.tags == ("translation", "rotation", "walking", "west")
    assert sample.roi == Region(1, 2, 5, 4)
    assert sample.caption == "translation, rotation"
    assert sample.group == "Disney_v4_4"
    assert sample.times == (0.5,)
    assert [path.name for path in (*sample.keys, *sample.truth)] == ["frame1.jpg", "frame3.jpg", "frame2.jpg"]
    (train,) = open_dataset(tmp_path, "train")
    assert (train.level, train.roi) == ("", None)
    with pytest.raises(UsageError, match="'val'; it has train, test"):
        open_dataset(tmp_path, "val")


@pytest.mark.parametrize(
    ("note", "level", "roi"),
    [
        ({"level": "Easy", "motion_roi": [0, 0, 3, 3]}, "easy", Region(0, 0, 3, 3)),
        ({"Level": "1", "motion_RoI": {"x": 1.6, "y": 0, "w": 2, "h": 2}}, "medium", Region(2, 0, 2, 2)),
        ({"level": 9, "motion_RoI": {"x": 1}}, "", None),
        ([], "", None),
    ],
)
def test_annotations_are_read_with_tolerance(tmp_path: Path, note: object, level: str, roi: Region | None) -> None:
    (tmp_path / "other.json").write_text(json.dumps(note))
    about = read_annotation(tmp_path, "clip")
    assert about["level"] == level
    assert about.get("roi") == roi


def test_a_region_is_given_in_pixels_of_the_annotations_own_frame(tmp_path: Path) -> None:
    """ATD-12K's boxes are in pixels of the film, its test images are 540p."""
    note = {"level": 0, "motion_RoI": {"x": 801, "y": 403, "width": 640, "height": 541}, "image_size": [1920, 1080]}
    (tmp_path / "clip.json").write_text(json.dumps(note))
    roi = read_annotation(tmp_path, "clip")["roi"]
    assert roi == Region(801, 403, 640, 541, (1920, 1080))
    assert roi.within((960, 540)) == (400, 201, 320, 270)
    assert Region(1, 2, 5, 4).within((960, 540)) == (1, 2, 5, 4)


def test_broken_annotation_is_named(tmp_path: Path) -> None:
    (tmp_path / "clip.json").write_text("{")
    with pytest.raises(NakawariError, match=r"clip\.json is not a readable annotation"):
        read_annotation(tmp_path, "clip")
    assert read_annotation(tmp_path / "none", "clip") == {}


def test_plain_splits_and_captions(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        triplet(tmp_path / split / f"{split}_clip")
    (tmp_path / "captions.csv").write_text("name,caption\ntest_clip,a cat jumps\n")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "splits"
    assert [(s.name, s.caption) for s in dataset] == [("test_clip", "a cat jumps")]
    assert open_dataset(tmp_path, "val")[0].name == "val_clip"


def test_triplets_with_index(tmp_path: Path) -> None:
    triplet(tmp_path / "triplets" / "b_0001")
    triplet(tmp_path / "triplets" / "a_0001")
    draw(tmp_path / "triplets" / "a_0001" / "frame2_result.png", 1)
    (tmp_path / "index.csv").write_text("name,clip,kind,style,level\na_0001,a,fullframe,flat vector,hard\n")
    first, second = open_dataset(tmp_path)
    assert (first.name, first.group, first.level, first.tags) == ("a_0001", "a", "hard", ("fullframe", "flat vector"))
    assert (second.group, second.level) == ("b_0001", "")
    assert first.read()[:, 0, 0, 0].tolist() == [20, 40, 60]
    assert open_dataset(tmp_path / "triplets")[0] == first


def test_sequences_have_a_time_for_every_true_frame(tmp_path: Path) -> None:
    for index in range(17):
        draw(tmp_path / "walk" / f"{index:02}.webp", index)
    dataset = open_dataset(tmp_path)
    (sample,) = dataset
    assert sample.times == tuple(k / 16 for k in range(1, 16))
    assert sample.read_truth().shape == (15, 8, 12, 3)
    assert sample.read_keys().shape == (2, 8, 12, 3)
    assert len(dataset.files()) == 17


def test_pairs(tmp_path: Path) -> None:
    draw(tmp_path / "jump_start.png", 0)
    draw(tmp_path / "jump_end.jpg", 200)
    draw(tmp_path / "lost_start.png", 0)
    (tmp_path / "captions.csv").write_text("id,prompt\njump,a jump\n")
    dataset = open_dataset(tmp_path)
    (sample,) = dataset
    assert dataset.layout == "pairs"
    assert (sample.name, sample.caption, sample.times) == ("jump", "a jump", ())
    assert sample.read_truth().shape == (0, 8, 12, 3)
    (skipped,) = dataset.skipped
    assert "lost_end" in skipped


def test_incomplete_folder_is_skipped_and_named(tmp_path: Path) -> None:
    triplet(tmp_path / "whole")
    triplet(tmp_path / "short", count=2)
    dataset = open_dataset(tmp_path)
    assert [s.name for s in dataset] == ["whole"]
    assert "short has 2 images" in dataset.skipped[0]


def test_bad_data_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NakawariError, match="not a folder"):
        open_dataset(tmp_path / "none")
    with pytest.raises(NakawariError, match="holds no data set"):
        open_dataset(tmp_path)
    triplet(tmp_path / "a")
    with pytest.raises(UsageError, match="no split 'test'"):
        open_dataset(tmp_path, "test")
    (sample,) = open_dataset(tmp_path)
    draw(tmp_path / "a" / "frame3.png", 0, (6, 8))
    with pytest.raises(NakawariError, match=r"frame3\.png is 6x8 but frame1\.png is 12x8"):
        sample.read()
    (tmp_path / "a" / "frame2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(NakawariError, match=r"frame2\.png is not an image that can be read"):
        sample.read_truth()
    (tmp_path / "captions.csv").write_text("a,b\n1,2\n")
    with pytest.raises(NakawariError, match="needs a column name"):
        open_dataset(tmp_path)


def test_transparency_is_read_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), 255)


def test_a_part_of_a_data_set_is_spread_over_its_films() -> None:
    films = {"a": 10, "b": 3, "c": 1}
    samples = [
        Sample(f"{film}{i}", (Path(), Path()), group=film) for film, count in films.items() for i in range(count)
    ]
    samples.append(Sample("alone", (Path(), Path())))
    parts = [spread(samples, count) for count in range(1, 16)]
    for count, part in enumerate(parts, 1):
        assert len(part) == count and part == [sample for sample in samples if sample in part]
    assert all(set(less) < set(more) for less, more in pairwise(parts))
    assert {sample.group for sample in parts[3]} == {"a", "b", "c", ""}
    assert [sum(sample.group == film for sample in parts[7]) for film in "abc"] == [3, 3, 1]
    assert spread(samples[::-1], 5) == spread(samples, 5)[::-1]
    assert {tuple(spread(samples, 4, seed)) for seed in range(6)} != {tuple(parts[3])}
    assert spread(samples, None) == samples == spread(samples, 99)
