"""In-betweens have edges as soft as their keys', and hard ones where the keys have hard ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from test_parts import BLUE, CLEAR, RED, SKY, ball, bar, box, middle, picture

import cel_rigs
from nakawari.guide.parts import draw
from nakawari.guide.parts.regions import premultiplied

SOLID = 5013
"""A seed of a figure with lines on an opaque ground."""


def figure(x: float, degrees: float, ground: tuple = SKY) -> np.ndarray:
    """A trunk with an arm and a ball beside it."""
    shapes = (box(x, 52), BLUE), (bar(x, 40, degrees), RED), (ball(x - 28, 30), RED)
    return picture(*shapes, ground=ground, line=2)


def blurred(drawing: np.ndarray, width: float = 0.5) -> np.ndarray:
    return straight(cv2.GaussianBlur(premultiplied(drawing), (0, 0), width))


def enlarged(drawing: np.ndarray, times: int = 4) -> np.ndarray:
    size = drawing.shape[1] * times, drawing.shape[0] * times
    return np.asarray(Image.fromarray(drawing).resize(size, Image.Resampling.LANCZOS))


def straight(flat: np.ndarray) -> np.ndarray:
    colour = flat[..., :3] * 255 / np.maximum(flat[..., 3:], 1e-3)
    return np.rint(np.concatenate([colour, flat[..., 3:]], 2)).clip(0, 255).astype(np.uint8)


def error(made: np.ndarray, truth: np.ndarray) -> float:
    """Mean square in levels, premultiplied."""
    return float(((premultiplied(made) - premultiplied(truth)) ** 2).mean())


def dark(frame: np.ndarray) -> int:
    return int(((frame[..., :3] < 56).all(2) & (frame[..., -1] > 128)).sum())


@pytest.mark.parametrize("ground", [SKY, CLEAR])
def test_blurred_keys_have_an_in_between_that_is_as_soft(ground: tuple):
    start, truth, end = (blurred(figure(70 + k * 5, k * 6, ground)) for k in range(3))
    made = middle(start, end)
    hard = middle(figure(70, 0, ground), figure(80, 12, ground))
    assert error(made, truth) < error(hard, truth) / 3
    assert 0.9 < dark(made) / dark(truth) < 1.1


def test_lines_of_enlarged_keys_are_as_wide_as_theirs():
    rig = cel_rigs.drawing(SOLID, "easy")
    start, end = (enlarged(rig.at(t)) for t in (0.0, 1.0))
    made = middle(start, end)  # with hard edges 1.3 times
    assert 0.95 < 2 * dark(made) / (dark(start) + dark(end)) < 1.05


def test_what_stands_beside_something_soft_is_not_cut_off_from_it():
    start, truth, end = (blurred(picture((ball(40 + 20 * k, 50), RED), line=2)) for k in range(3))
    made = middle(start, end).astype(int)
    beside = np.abs(made - truth).max(2)
    assert beside.max() <= 24


@pytest.mark.parametrize("aliased", [False, True])
def test_hard_edges_stay_hard(aliased: bool):
    keys = [picture((box(70 + k, 50), BLUE), (bar(70 + k, 40, k), RED), hard=aliased) for k in (0, 10)]
    drawing = draw(*keys, [0.5])
    assert drawing is not None and drawing.stage.soft is None
