"""`nakawari interpolate` with drawings of few colours: the result has the keys' colours, for parts and model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import Result

from nakawari.media import read_image

Cli = Callable[..., Result]
COLOURS = [140, 198, 238, 220, 50, 60, 20, 16, 24]


def ball(path: Path, left: int, mode: str) -> Path:
    """An aliased ball on a stick, in black and white or in three palette colours."""
    picture = Image.new(mode, (96, 64), 1 if mode == "1" else 0)
    if mode == "P":
        picture.putpalette(COLOURS)
    fill, ink = (1, 0) if mode == "1" else (1, 2)
    draw = ImageDraw.Draw(picture)
    draw.line((left + 15, 46, left + 20, 60), ink, 1)
    draw.ellipse((left, 16, left + 30, 46), fill, ink, 2)
    picture.save(path)
    return path


def colours(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(one) for one in np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0).tolist()}


@pytest.mark.parametrize("mode", ["1", "P"])
@pytest.mark.parametrize("words", [(), ("--no-parts",)])
def test_few_colours_stay_those_and_lines_stay_ink(cli: Cli, tmp_path: Path, mode: str, words: tuple[str, ...]):
    keys = [ball(tmp_path / f"{name}.png", left, mode) for name, left in (("a", 10), ("b", 26))]
    result = cli("interpolate", *keys, "--between", 3, "--format", "png", "-o", tmp_path / "out", *words)
    assert result.exit_code == 0, result.stderr
    first = read_image(keys[0])
    own = colours(first)
    assert len(own) == (2 if mode == "1" else 3)
    ink = (first == first.min(axis=(0, 1))).all(axis=2).sum()
    record = json.loads((tmp_path / "out" / "interpolation.json").read_text())
    assert {gap["palette"] for gap in record["gaps"]} == {"keep"}
    for number in (2, 3, 4):
        frame = read_image(tmp_path / "out" / f"{number:04d}.png")
        assert colours(frame) == own
        assert 0.8 < (frame == first.min(axis=(0, 1))).all(axis=2).sum() / ink < 1.25
