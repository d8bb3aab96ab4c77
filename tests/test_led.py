"""Points led by hand with mini: the thing lands where it is led."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from nakawari.errors import UsageError
from nakawari.families.framer.tracks import Drag
from nakawari.guide.led import bent
from nakawari.interpolation import Key, Settings, draw
from nakawari.variants import load

GROUND = np.random.default_rng(5).integers(60, 200, (10, 16, 3), dtype=np.uint8)


def scene(*balls: tuple[int, int]) -> np.ndarray:
    """Red balls, (x, y) each, on a painted ground."""
    picture = Image.fromarray(GROUND).resize((256, 160), Image.Resampling.BICUBIC)
    for x, y in balls:
        ImageDraw.Draw(picture).ellipse((x - 11, y - 11, x + 11, y + 11), (250, 10, 20), (0, 0, 0), 2)
    return np.asarray(picture)


def redness(frame: np.ndarray) -> np.ndarray:
    return (frame[..., 0] > 215) & (frame[..., 1:] < 60).all(axis=2)


def centre(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()]) if len(rows) else np.full(2, np.inf)


def test_a_ball_that_is_led_lands_within_four_pixels():
    pipeline = load("mini").pipeline
    # Two balls change places; of themselves they seem to stand still.
    first, last = scene((60, 50), (190, 110)), scene((60, 110), (190, 50))
    keys = [Key(Path("a"), first), Key(Path("b"), last)]
    led = {0: [parse("60,50 190,50"), parse("190,110 60,110")]}
    made = draw(keys, Settings((1,), drags=led), pipeline).frames[1]
    for row in (50, 110):
        band = np.zeros(made.shape[:2], bool)
        band[row - 25 : row + 25] = True
        assert np.linalg.norm(centre(redness(made) & band) - (125, row)) < 4
        assert (redness(made) & band).sum() > 0.5 * redness(first).sum() / 2
    plain = draw(keys, Settings((1,), parts=False), pipeline).frames[1]
    assert abs(centre(redness(plain))[0] - 125) > 4 or (redness(plain)[:, 100:150]).sum() < 50


def parse(text: str) -> Drag:
    from nakawari.families.framer.tracks import parse_drag

    return parse_drag(text)


def test_only_what_belongs_to_the_point_goes_along():
    key = torch.from_numpy(scene((60, 50))).permute(2, 0, 1)[None] / 127.5 - 1
    still = torch.zeros(1, 2, 160, 256)
    forward, backward = bent(key, key, (still, still), [np.array([[[60.0, 50.0]], [[100.0, 50.0]]])])
    assert forward[0, :, 50, 60].tolist() == [40, 0]
    assert forward[0, 0, 45, 52] > 35
    assert forward[0, 0, 50, 100].abs() < 4
    assert backward[0, 0, 50, 100] == -40
    assert (still == 0).all()


def test_what_a_model_matches_by_itself_is_refused_as_automatic_tracks():
    keys = [Key(Path("a"), scene((60, 50))), Key(Path("b"), scene((90, 50)))]
    with pytest.raises(UsageError, match="--auto-tracks"):
        draw(keys, Settings((1,), auto_tracks=True), load("mini").pipeline)
