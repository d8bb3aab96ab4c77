"""Point tracks with mini: the object follows the track."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from nakawari.errors import UsageError
from nakawari.families.framer.tracks import drags_to_tracks, parse_drag
from nakawari.guide.led import lead
from nakawari.interpolation import Key, Settings, draw
from nakawari.variants import load

GROUND = np.random.default_rng(5).integers(60, 200, (10, 16, 3), dtype=np.uint8)


def scene(*balls: tuple[int, int]) -> np.ndarray:
    """Red balls at (x, y) on a painted background."""
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
    led = {0: [parse_drag("60,50 190,50"), parse_drag("190,110 60,110")]}
    made = draw(keys, Settings((1,), drags=led), pipeline).frames[1]
    for row in (50, 110):
        band = np.zeros(made.shape[:2], bool)
        band[row - 25 : row + 25] = True
        assert np.linalg.norm(centre(redness(made) & band) - (125, row)) < 4
        assert (redness(made) & band).sum() > 0.5 * redness(first).sum() / 2
    plain = draw(keys, Settings((1,), parts=False), pipeline).frames[1]
    assert abs(centre(redness(plain))[0] - 125) > 4 or (redness(plain)[:, 100:150]).sum() < 50


def test_a_point_goes_through_the_places_between_at_their_times():
    pipeline = load("mini").pipeline
    keys = [Key(Path(name), scene(ball)) for name, ball in (("a", (50, 120)), ("b", (200, 120)))]
    led, shares = {0: [parse_drag("50,120 125,40 200,120")]}, (0.25, 0.5, 0.6)
    over = draw(keys, Settings((3,), drags=led, shares=(shares,)), pipeline)
    wanted = drags_to_tracks(led[0], 3, shares)[:, 0]
    for frame, place in zip(over.frames[1:4], wanted, strict=True):
        assert np.linalg.norm(centre(redness(frame)) - place) < 4
        assert 0.8 < redness(frame).sum() / redness(keys[0].pixels).sum() < 1.2  # no second ball where it was
    straight = draw(keys, Settings((1,), drags={0: [parse_drag("50,120 200,120")]}), pipeline).frames[1]
    through = draw(keys, Settings((1,), drags={0: [parse_drag("50,120 125,120 200,120")]}), pipeline).frames[1]
    assert (straight == through).all()


def test_large_keys_make_the_same_detour():
    pipeline = load("mini").pipeline
    keys = [
        Key(Path(name), np.repeat(np.repeat(scene(ball), 4, 0), 4, 1))
        for name, ball in (("a", (50, 120)), ("b", (200, 120)))
    ]
    made = draw(keys, Settings((1,), drags={0: [parse_drag("200,480 500,160 800,480")]}), pipeline).frames[1]
    assert np.linalg.norm(centre(redness(made)) - (500, 160)) < 16


def test_only_what_belongs_to_the_point_goes_along():
    key = torch.from_numpy(scene((60, 50))).permute(2, 0, 1)[None] / 127.5 - 1
    still = torch.zeros(1, 2, 160, 256)
    points = np.array([[[60.0, 50.0]], [[100.0, 50.0]]])
    forward, backward = lead(key, key, (still, still), torch.tensor([0.0, 1.0]), [points]).flows
    assert forward[0, :, 50, 60].tolist() == [40, 0]
    assert forward[0, 0, 45, 52] > 35
    assert forward[0, 0, 50, 100].abs() < 4
    assert backward[0, 0, 50, 100] == -40
    assert (still == 0).all()


def test_what_a_model_matches_by_itself_is_refused_as_automatic_tracks():
    keys = [Key(Path("a"), scene((60, 50))), Key(Path("b"), scene((90, 50)))]
    with pytest.raises(UsageError, match="--auto-tracks"):
        draw(keys, Settings((1,), auto_tracks=True), load("mini").pipeline)
