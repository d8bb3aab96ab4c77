"""Drawings compressed with losses are drawn by their parts, as those without losses are."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from test_parts import BLUE, CLEAR, RED, SKY, ball, bar, box, picture, wrong

import cel_rigs
from nakawari.guide.parts import draw
from nakawari.guide.parts.noise import noise_of, repainted
from nakawari.guide.parts.regions import Cel


def compressed(drawing: np.ndarray, quality: int = 85) -> np.ndarray:
    """RGB, as JPEG of this quality; of 75 and less with colours at half the size."""
    file = io.BytesIO()
    sampling = 2 if quality <= 75 else 0
    Image.fromarray(drawing[..., :3]).save(file, "JPEG", quality=quality, subsampling=sampling)
    return np.asarray(Image.open(file))


def figure(share: float) -> np.ndarray:
    """RGB: a trunk with an arm, and a ball beside it, that move by 60 pixels and turn by 50 degrees."""
    x, degrees = 40 + 60 * share, -10 + 50 * share
    shapes = (box(x, 52), BLUE), (bar(x, 40, degrees), RED), (ball(x + 4, 22, 9), (250, 210, 180, 255))
    return picture(*shapes, ground=SKY, line=2)[..., :3].copy()


@pytest.mark.parametrize(("quality", "most"), [(95, 0.05), (85, 0.05), (75, 0.2)])
def test_a_compressed_figure_that_moves_far_stands_half_way(quality: int, most: float):
    keys = [compressed(figure(share), quality) for share in (0, 1)]
    drawing = draw(*keys, [0.5])
    assert drawing is not None
    made, truth = (np.dstack([frame, np.full(frame.shape[:2], 255)]) for frame in (drawing.frames[0], figure(0.5)))
    moved = (np.abs(figure(0).astype(int) - figure(1)).max(2) > 24).sum()
    assert wrong(made, truth) < most * moved
    trunk = made[58:70, 58:78, :3].reshape(-1, 3)  # without the keys' noise
    shown = np.median(keys[0][58:70, 28:48].reshape(-1, 3), axis=0)
    assert (trunk == trunk[0]).all() and np.abs(trunk[0] - shown).max() <= 2


def test_noise_at_edges_does_not_count_against_the_parts():
    rig = cel_rigs.drawing(5014, "medium")
    start, truth, end = (rig.at(share)[..., :3].astype(int) for share in (0.0, 0.5, 1.0))
    drawing = draw(*(compressed(key.astype(np.uint8), 70) for key in (start, end)), [0.5])
    assert drawing is not None  # each key drawn from the other is right in under .8 of what moved
    off, moved = ((np.abs(one - other).max(2) > 24).sum() for one, other in ((drawing.frames[0], truth), (start, end)))
    assert off < 0.3 * moved


@pytest.mark.parametrize("quality", [90, 85, 75, 50])
def test_compression_leaves_noise(quality: int):
    assert noise_of(compressed(figure(0), quality)) > 0


def test_a_blurred_drawing_has_none():
    assert noise_of(figure(0)) == 0
    assert noise_of(cv2.GaussianBlur(figure(0), (0, 0), 0.7)) == 0


@pytest.mark.parametrize("way", cel_rigs.FILTERS)
def test_drawings_made_smaller_have_none(way: str):
    shapes = (box(60, 50), BLUE), (bar(60, 40, 20), RED)
    assert noise_of(picture(*shapes, line=2, way=cel_rigs.FILTERS[way])) == 0


def test_colours_under_transparency_are_no_noise():
    cel = picture((box(60, 50), BLUE), (bar(60, 40, 20), RED), ground=CLEAR, line=2)
    hidden = cel[..., 3] == 0
    cel[hidden, :3] = np.random.default_rng(0).integers(0, 9, (hidden.sum(), 3))
    assert noise_of(cel) == 0


def test_two_tones_of_a_colour_are_no_noise():
    tone = (*(value - 14 for value in BLUE[:3]), 255)
    shapes = (box(60, 50), BLUE), (bar(60, 40, 20), tone), (ball(60, 60), tone)
    assert noise_of(picture(*shapes, line=0)) == 0


def test_only_areas_that_show_enough_of_their_colour_are_repainted():
    labels = np.zeros((40, 40), np.int32)
    labels[4:24, 4:24], labels[30:36, 30:36] = 1, 2  # of the small one four pixels have no other colour around them
    paints = np.array([[200, 200, 200, 255], [90, 40, 40, 255], [40, 90, 40, 255]], np.float32)
    cel = Cel(1, labels, paints, 3, np.ones(labels.shape, bool), paints[labels])
    key = paints[labels] + np.array([6, 6, 6, 0], np.float32)
    assert np.array_equal(repainted(cel, key).paints - paints, np.array([[6, 6, 6, 0], [6, 6, 6, 0], [0, 0, 0, 0]]))
