"""Clips: decoding, pools, windows, and splits by source."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from nakawari.data.clips import (
    Clip,
    cover,
    find_clips,
    group_of,
    in_split,
    load_clips,
    open_pool,
    prepare_pool,
    split_of,
)
from nakawari.errors import NakawariError, UsageError


def write_video(path: Path, count: int, size: tuple[int, int] = (32, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(12))
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for index in range(count):
            picture = np.full((*size, 3), index * 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_sequence(folder: Path, count: int, size: tuple[int, int] = (32, 48)) -> None:
    folder.mkdir(parents=True)
    for index in range(1, count + 1):
        Image.fromarray(np.full((*size, 3), index * 10, np.uint8)).save(folder / f"frame{index}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    write_video(folder / "deep" / "walk_0.mp4", 6)
    write_sequence(folder / "drawn", 12)
    record = [{"file": "deep/walk_0.mp4", "source": "a film", "license": "CC0-1.0", "fps": 12}]
    (folder / "index.json").write_text(json.dumps(record))
    return folder


def test_videos_and_sequences_are_found_below(root: Path) -> None:
    drawn, walk = sorted(load_clips(root), key=lambda clip: clip.name != "drawn")
    assert walk.name == "deep/walk_0"
    assert (walk.fps, walk.source, walk.licence) == (12, "a film", "CC0-1.0")
    assert walk.frames.shape == (6, 32, 48, 3)
    assert np.abs(walk.frames[5].astype(int) - 100).max() < 8
    assert drawn.frames[:, 0, 0, 0].tolist() == [10 * k for k in range(1, 13)]  # natural order: frame2 before frame10


def test_pool_holds_the_same_frames_and_opens_without_decoding(root: Path, tmp_path: Path) -> None:
    folder = prepare_pool(root, tmp_path / "cache", (16, 24))
    direct = {clip.name: clip for clip in load_clips(root, (16, 24))}
    pooled = open_pool(folder)
    assert {clip.name for clip in pooled} == set(direct)
    for clip in pooled:
        assert isinstance(clip.frames, np.memmap)
        np.testing.assert_array_equal(clip.frames, direct[clip.name].frames)
        assert (clip.source, clip.licence, clip.fps) == (
            direct[clip.name].source,
            direct[clip.name].licence,
            direct[clip.name].fps,
        )
    stamp = (folder / "frames.npy").stat().st_mtime_ns
    assert prepare_pool(root, tmp_path / "cache", (16, 24)) == folder
    assert (folder / "frames.npy").stat().st_mtime_ns == stamp
    assert sorted(p.name for p in folder.iterdir()) == ["frames.npy", "index.json"]


def test_pool_is_keyed_by_content_and_size(root: Path, tmp_path: Path) -> None:
    first = prepare_pool(root, tmp_path / "cache", (16, 24))
    assert prepare_pool(root, tmp_path / "cache", (16, 16)) != first
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(root / "drawn" / "frame1.png")
    assert prepare_pool(root, tmp_path / "cache", (16, 24)) != first


def test_broken_clip_is_left_out_and_named(root: Path, tmp_path: Path) -> None:
    (root / "broken.mp4").write_bytes(b"not a video")
    folder = prepare_pool(root, tmp_path / "cache", (16, 24))
    assert len(open_pool(folder)) == 2
    (sentence,) = json.loads((folder / "index.json").read_text())["skipped"]
    assert "broken.mp4" in sentence
    with pytest.raises(NakawariError, match=r"broken\.mp4"):
        load_clips(root)


def test_cover_crops_and_never_stretches() -> None:
    frame = np.zeros((40, 40, 3), np.uint8)
    frame[10:30, 10:30] = 255
    out = cover(frame, (20, 40))
    assert out.shape == (20, 40, 3)
    np.testing.assert_array_equal(out, frame[10:30])


def test_window_is_evenly_spaced_and_inside() -> None:
    frames = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 4, 4, 3))
    clip = Clip("a", frames)
    for seed in range(20):
        window = clip.sample_window(np.random.default_rng(seed), 4, 5)
        assert window is not None
        assert np.diff(window[:, 0, 0, 0].astype(int)).tolist() == [5, 5, 5]
    assert clip.sample_window(np.random.default_rng(0), 4, 7) is None


def test_an_uneven_window_has_the_same_keys_and_any_frames_between_in_order() -> None:
    frames = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 4, 4, 3))
    seen = set()
    for seed in range(60):
        even, uneven = (
            Clip("a", frames).sample_window(np.random.default_rng(seed), 4, 3, even)[:, 0, 0, 0].astype(int)
            for even in (True, False)
        )
        assert (uneven[[0, -1]] == even[[0, -1]]).all() and (np.diff(uneven) > 0).all()
        seen |= set((uneven - uneven[0])[1:-1].tolist())
    assert seen == set(range(1, 9))
    every = Clip("a", frames).sample_window(np.random.default_rng(0), 4, 1, False)
    assert (np.diff(every[:, 0, 0, 0].astype(int)) == 1).all(), "there is but one way where no frame is left out"


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("ua_019_1", "ua_019"),
        ("em_044", "em_044"),
        ("bbb_pan_0", "bbb_pan"),
        ("scene_005", "scene_005"),
        ("x_12_10", "x_12"),
    ],
)
def test_cuts_of_one_source_are_one_group(name: str, group: str) -> None:
    assert group_of(name) == group


def test_split_is_stable_and_keeps_groups_together() -> None:
    assert [split_of(f"em_{k:03}") for k in (28, 40, 41)] == ["validation", "validation", "train"]
    assert {split_of(f"ua_026_{k}") for k in range(5)} == {"validation"}
    names = [f"clip_{k:04}" for k in range(2000)]
    share = sum(split_of(name, 0.1) == "validation" for name in names) / len(names)
    assert 0.07 < share < 0.13
    clips = [Clip(name, np.zeros((1, 1, 1, 3), np.uint8)) for name in names[:50]]
    both = in_split(clips, "train") + in_split(clips, "validation")
    assert sorted(c.name for c in both) == names[:50]


def test_bad_folders_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NakawariError, match="not a folder"):
        find_clips(tmp_path / "none")
    with pytest.raises(NakawariError, match="holds no clips"):
        find_clips(tmp_path)
    with pytest.raises(NakawariError, match="does not exist"):
        open_pool(tmp_path)
    with pytest.raises(UsageError, match="positive"):
        prepare_pool(tmp_path, tmp_path / "cache", (0, 4))


def test_sequence_of_two_sizes_is_refused(tmp_path: Path) -> None:
    write_sequence(tmp_path / "s", 2)
    Image.new("RGB", (5, 5)).save(tmp_path / "s" / "frame3.png")
    with pytest.raises(NakawariError, match="differs in size"):
        load_clips(tmp_path)
