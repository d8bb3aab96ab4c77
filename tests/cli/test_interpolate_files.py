"""`nakawari interpolate` with files for editing and compositing: MOV with transparency, OpenEXR."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from crossfade import CrossFade
from nakawari.media import read_frames, read_image, read_picture, write_image

Cli = Callable[..., Result]


@pytest.fixture
def clear(tmp_path: Path) -> list[Path]:
    """Two keys of 32 x 24 with soft edges."""
    y, x = np.mgrid[:24, :32]
    alpha = np.clip((28 - x) * 30, 0, 255)
    for number in (1, 2):
        pixels = np.stack([x * 6, y * 8, x * 0 + 90 * number, alpha], -1).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"k{number}.png")
    return [tmp_path / "k1.png", tmp_path / "k2.png"]


def far(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize(
    ("words", "name", "codec", "levels"),
    [((), "walk.mov", "prores", 1), (("--format", "mov-png"), "walk.mov", "png", 0)],
)
def test_a_mov_keeps_transparency(
    cli: Cli, stub: CrossFade, clear: list[Path], tmp_path: Path, words: tuple, name: str, codec: str, levels: int
):
    result = cli("interpolate", *clear, "--between", 2, "--exposure", 2, "-o", tmp_path / name, *words)
    assert result.exit_code == 0, result.stderr
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.video[0].codec_context.name == codec
        assert container.streams.video[0].average_rate == 12
    frames = read_frames(tmp_path / name)
    assert len(frames) == 8
    assert far(frames[0], read_image(clear[0])) <= levels
    assert far(frames[7], read_image(clear[1])) <= levels


def test_every_format_at_once_in_a_folder(cli: Cli, stub: CrossFade, clear: list[Path], tmp_path: Path):
    out = tmp_path / "out"
    result = cli(
        "interpolate", *clear, "--between", 1, "-o", out, "--format", "png,exr,mov,mov-png", "--name", "A_####"
    )
    assert result.exit_code == 0, result.stderr
    names = [f"A_000{number}" for number in (1, 2, 3)]
    assert sorted(path.name for path in (out / "exr").iterdir()) == [f"{name}.exr" for name in names]
    for name in names:
        png, light = read_image(out / f"{name}.png"), read_picture(out / "exr" / f"{name}.exr")
        seen = png[..., 3] > 60  # under little alpha, colour that is multiplied by it has few levels left
        assert light.deep is not None
        assert far(light.pixels[seen], png[seen]) == 0
        assert far(light.pixels[..., 3], png[..., 3]) == 0
    assert len(read_frames(out / "in-betweens.mov")) == len(read_frames(out / "in-betweens-png.mov")) == 3
    assert len(read_frames(out)) == 3  # the folder reads as its sequence
    assert "exr/A_0002.exr" in json.loads((out / "interpolation.json").read_text())["hashes"]


def test_keys_in_exr_are_drawn_between(cli: Cli, stub: CrossFade, clear: list[Path], tmp_path: Path):
    lit = []
    for key in clear:
        lit.append(key.with_suffix(".exr"))
        write_image(lit[-1], read_picture(key))
    assert cli("interpolate", *lit, "--between", 1, "-o", tmp_path / "out").exit_code == 0
    first = read_picture(tmp_path / "out" / "0001.png")
    assert first.deep is not None
    assert np.array_equal(first.deep, read_picture(lit[0]).deep)


def test_light_that_no_drawing_has_is_refused(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path, monkeypatch):
    monkeypatch.setattr("nakawari.media.exr._light", lambda levels: levels * 4)
    write_image(tmp_path / "hot.exr", read_picture(keys[0]))
    result = cli("interpolate", tmp_path / "hot.exr", keys[1], "-o", tmp_path / "out")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "hot.exr has light outside 0 to 1" in result.stderr
    (tmp_path / "cut.exr").write_bytes((tmp_path / "hot.exr").read_bytes()[:200])
    result = cli("interpolate", tmp_path / "cut.exr", keys[1], "-o", tmp_path / "out")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "cut.exr is an EXR that cannot be read" in result.stderr


def test_formats_that_one_file_cannot_hold(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    for name, form, sentence in (
        ("a.mov", "gif", "so --format does not apply"),
        ("a.mkv", None, "a .gif, an .mp4 or a"),
    ):
        result = cli("interpolate", *keys, "-o", tmp_path / name, *(["--format", form] if form else []))
        assert (result.exit_code, sentence in result.stderr) == (2, True), result.stderr
