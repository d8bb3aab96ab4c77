"""`check` reports every planted fault and no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from footage import letterboxed, scene, woven, write_clip, write_film, write_images
from nakawari.data.check import KINDS, check
from nakawari.data.synthetic import SyntheticScene
from nakawari.errors import NakawariError, UsageError

OF_FILES = {"letterbox", "variable-rate", "interlaced", "pixel-aspect", "cut-off"}


@pytest.fixture
def triplets(tmp_path: Path) -> Path:
    """Four valid triplets, and captions for two."""
    root = tmp_path / "set"
    for number in range(4):
        write_images(root / "train" / f"clip{number}", scene(number, 3))
    (root / "captions.csv").write_text("name,caption\nclip0,a disc\nclip3,another disc\n")
    return root


def found(root: Path) -> list[tuple[str, str]]:
    return [(fault.kind, fault.path) for fault in check(root).faults]


def test_sound_data_have_no_faults(triplets: Path):
    report = check(triplets)
    assert report.faults == [] and report.notes == []
    assert (report.layout, report.items, report.frames, report.held_frames) == ("splits", {"sequence": 4}, 12, 0)
    assert report.sizes == {"64x48": 4} and report.lengths == {"3": 4}


def test_planted_faults_are_named_and_nothing_else(tmp_path: Path):
    root = tmp_path / "set"
    for number in range(3):
        write_clip(root / "clips" / f"sound{number}.mp4", scene(number, 12))
        write_images(root / "triplets" / f"sound{number}", scene(10 + number, 3))
    planted: dict[str, str] = {}

    damaged = write_images(root / "triplets" / "damaged", scene(20, 3)) / "frame2.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    planted["triplets/damaged"] = "broken"
    (root / "clips" / "noise.mp4").write_bytes(b"not a video" * 100)
    planted["clips/noise.mp4"] = "broken"
    write_clip(root / "clips" / "short.mp4", scene(21, 2))
    planted["clips/short.mp4"] = "too-short"
    write_clip(root / "clips" / "still.mp4", scene(22, 1) * 12)
    planted["clips/still.mp4"] = "static"
    write_clip(root / "clips" / "two.mp4", scene(23, 8) + scene(33, 8))
    planted["clips/two.mp4"] = "scene-cut"
    write_clip(root / "clips" / "twos.mp4", [frame for frame in scene(24, 8) for _ in range(2)])
    planted["clips/twos.mp4"] = "held"
    write_images(root / "triplets" / "sizes", [*scene(25, 2), scene(25, 3, (40, 64))[2]])
    planted["triplets/sizes"] = "mixed-sizes"
    write_images(root / "triplets" / "gap", scene(26, 3)[::2], ("frame1.png", "frame3.png"))
    planted["triplets/gap"] = "missing-frame"
    (root / "triplets" / "empty").mkdir()
    planted["triplets/empty"] = "empty-folder"
    write_images(root / "triplets" / "twin", scene(11, 3))
    planted["triplets/twin"] = "duplicate"
    dark, light = scene(27, 12), [255 - frame // 4 for frame in scene(27, 12)]
    write_clip(root / "clips" / "flash.mp4", [*dark[:5], *light[5:7], *dark[7:]])
    planted["clips/flash.mp4"] = "flashing"
    write_images(root / "pairs", scene(28, 3), ("a_start.png", "a_end.png", "b_start.png"))
    planted["pairs/b_start.png"] = "lone-key"
    (root / "pairs" / "c.clip").write_bytes(b"CSFCHUNK")
    planted["pairs/c.clip"] = "unreadable"
    (root / "captions.csv").write_text("name,caption\nsound0,a disc\nnobody,not there\n")
    planted["captions.csv"] = "caption"
    (root / "index.json").write_text(json.dumps([{"file": "clips/sound0.mp4"}, {"file": "clips/gone.mp4"}]))
    planted["index.json"] = "index"

    assert found(root) == sorted(((kind, path) for path, kind in planted.items()), key=lambda pair: (pair[1], pair[0]))
    assert set(planted.values()) == set(KINDS) - {"near-duplicate", *OF_FILES}
    sentences = {fault.path: fault.sentence for fault in check(root).faults}
    assert "frame 8" in sentences["clips/two.mp4"]
    assert "lacks frame 2" in sentences["triplets/gap"]
    assert "8 of 16" in sentences["clips/twos.mp4"]
    assert "nobody" in sentences["captions.csv"] and "gone.mp4" in sentences["index.json"]


def test_middle_that_repeats_a_key_is_held(triplets: Path):
    first, _, last = scene(40, 3)
    write_images(triplets / "train" / "still_middle", [first, first, last])
    assert found(triplets) == [("held", "train/still_middle")]


def test_a_triplet_that_lost_an_end_is_named(triplets: Path):
    (triplets / "train" / "clip2" / "frame3.png").unlink()
    (triplets / "train" / "clip1" / "frame1.png").unlink()
    assert found(triplets) == [("missing-frame", "train/clip1"), ("missing-frame", "train/clip2")]


def test_a_clip_that_moves_only_a_little_is_not_static(tmp_path: Path):
    frames = scene(1, 1, (160, 256)) * 8
    blinking = [frame.copy() for frame in frames]
    for number, frame in enumerate(blinking):
        frame[70:76, 100:106] = 20 * number
    write_clip(tmp_path / "blink.mp4", blinking)
    assert found(tmp_path) == []


def test_what_is_wrong_with_a_video_as_a_file_is_named(tmp_path: Path):
    frames = list(SyntheticScene(41, (96, 160), 0.1).render(np.linspace(0, 1, 48)))
    planted = {}

    def film(name: str, kind: str, shown: list[np.ndarray], **how: Any) -> Path:
        planted[name] = kind
        return write_film(tmp_path / name, shown, **how)

    film("bars.mp4", "letterbox", [letterboxed(frame) for frame in scene(1, 16, (96, 160))])
    film("pillars.mp4", "letterbox", [letterboxed(frame.swapaxes(0, 1)).swapaxes(0, 1) for frame in scene(2, 16)])
    film("fields.mp4", "interlaced", woven(list(SyntheticScene(43, (96, 160), 0.2).render(np.linspace(0, 1, 32)))))
    film("holds.mp4", "variable-rate", scene(3, 16), times=[*range(8), *range(11, 19)])
    film("wide.mp4", "pixel-aspect", scene(4, 16), aspect=Fraction(8, 9))
    whole = film("cut.mkv", "cut-off", frames)
    whole.write_bytes(whole.read_bytes()[: int(0.6 * whole.stat().st_size)])
    damaged = film("damaged.mp4", "broken", list(SyntheticScene(44, (96, 160), 0.1).render(np.linspace(0, 1, 48))))
    raw = bytearray(damaged.read_bytes())
    raw[len(raw) // 3 : len(raw) // 2 : 40] = bytes(255 - value for value in raw[len(raw) // 3 : len(raw) // 2 : 40])
    damaged.write_bytes(bytes(raw))
    assert found(tmp_path) == [(kind, name) for name, kind in sorted(planted.items())]
    assert {*OF_FILES, "broken"} == set(planted.values())


def test_the_same_drawings_encoded_scaled_or_trimmed_are_a_near_duplicate(tmp_path: Path):
    frames = list(SyntheticScene(41, (96, 160), 0.1).render(np.linspace(0, 1, 24)))
    write_film(tmp_path / "a.mp4", frames)
    write_film(tmp_path / "b_again.mp4", frames, 30)
    write_film(tmp_path / "c_large.mp4", [frame.repeat(2, 0).repeat(2, 1) for frame in frames])
    write_film(tmp_path / "d_trimmed.mp4", frames[5:20])
    write_film(tmp_path / "e_other.mp4", list(SyntheticScene(42, (96, 160), 0.1).render(np.linspace(0, 1, 24))))
    # The same ground with another figure on it is another clip.
    ground = [frame.copy() for frame in scene(5, 1, (96, 160)) * 12]
    for name, place in (("f", 20), ("g", 60)):
        shown = [frame.copy() for frame in ground]
        for number, frame in enumerate(shown):
            frame[place : place + 14, 8 * number : 8 * number + 14] = (200, 40, 40)
        write_film(tmp_path / f"{name}_ground.mp4", shown)
    near = [("near-duplicate", name) for name in ("b_again.mp4", "c_large.mp4", "d_trimmed.mp4")]
    assert found(tmp_path) == near


def test_fast_figures_and_grounds_that_change_are_no_scene_cut(tmp_path: Path):
    """A panel that slides in within three frames, and a background that changes colour abruptly behind a figure."""
    y, x = np.mgrid[:120, :192]
    glow = np.clip(60 + np.hypot(y - 60, x - 96), 0, 255)[..., None] * np.ones(3)
    panel = [glow.astype(np.uint8) for _ in range(20)]
    for frame, top in zip(panel[8:], [66, 15, 0, *[0] * 9], strict=True):
        frame[top:, 5:-5] = 240
    for number, frame in enumerate(panel):
        frame[5:15, 6 * number : 6 * number + 10] = (90, 20, 30)  # something moves all the time
    heart = [np.full((120, 192, 3), 240 if 7 <= number < 14 else 214, np.uint8) for number in range(20)]
    for number, frame in enumerate(heart):
        frame[np.hypot(y - 60, x - 80 - number) < 30] = (240, 80, 100)
    write_film(tmp_path / "panel.mp4", panel)
    write_film(tmp_path / "heart.mp4", heart)
    assert found(tmp_path) == []


def test_nothing_to_check(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(NakawariError, match="no videos"):
        check(tmp_path)
    with pytest.raises(NakawariError, match="not a folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="min-frames"):
        check(tmp_path, min_frames=1)


def test_command_and_exit_status(cli: Callable[..., Result], triplets: Path):
    clean = cli("data", "check", triplets)
    assert clean.exit_code == 0, clean.output
    assert "layout splits, 4 sequences, 12 frames" in clean.stdout and "no faults" in clean.stdout
    Image.new("RGB", (9, 9)).save(triplets / "train" / "clip1" / "frame2.png")
    faulty = cli("data", "check", triplets, "--json")
    assert faulty.exit_code == 1 and faulty.stderr == ""
    assert [fault["kind"] for fault in json.loads(faulty.stdout)["faults"]] == ["mixed-sizes"]
    assert "mixed-sizes" in cli("data", "check", triplets).stdout
