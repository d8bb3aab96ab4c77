"""Large keys: parts matched in small copies are drawn with the edges of the keys themselves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from guide.test_parts import BLUE, CLEAR, INK, RED, SAND, SKY, ball, bar, box, wrong
from nakawari.guide.parts import draw, finer, regions

SIZE = 8
"""The scene's 160 x 100 become 1280 x 800."""


def scene(t: float, ground: tuple = SKY, line: float = 0.8, size: float = SIZE) -> np.ndarray:
    """A figure that walks and turns its arm; RGBA, anti-aliased."""
    width, height = round(160 * size), round(100 * size)
    board = np.zeros((2 * height, 2 * width, 4), np.uint8)
    board[:] = ground
    x, degrees = 40 + 60 * t, -10 + 50 * t
    for outline, paint in ((box(x, 52), BLUE), (bar(x, 40, degrees), RED), (ball(x + 4, 22, 9), SAND)):
        points = np.rint(outline * 2 * size * 16).astype(np.int32)[None]
        cv2.fillPoly(board, points, paint, shift=4)
        cv2.polylines(board, points, True, INK, round(line * 2 * size), shift=4)
    flat = regions.premultiplied(board).reshape(height, 2, width, 2, 4).mean((1, 3))
    flat[..., :3] *= 255 / np.maximum(flat[..., 3:], 1e-6)
    return np.rint(flat).clip(0, 255).astype(np.uint8)


def edges(truth: np.ndarray) -> int:
    """Number of pixels beside an edge."""
    square = np.ones((3, 3), np.uint8)
    return int((cv2.dilate(truth, square) != cv2.erode(truth, square)).any(2).sum())


@pytest.mark.parametrize("size", [SIZE, 8.7])
@pytest.mark.parametrize("ground", [SKY, CLEAR])
def test_a_large_in_between_has_the_edges_of_its_keys(ground: tuple, size: float) -> None:
    first, truth, last = (scene(t, ground, size=size) for t in (0.0, 0.5, 1.0))
    drawing = draw(first, last, [0.5])
    assert drawing is not None
    made = drawing.frames[0]
    assert made.shape == truth.shape
    assert wrong(made, truth) <= 0.08 * edges(truth)


def test_labels_of_a_small_copy_follow_the_edges_of_the_key() -> None:
    key = scene(0.5)
    small = cv2.resize(regions.premultiplied(key), (320, 200), interpolation=cv2.INTER_AREA)
    (cel,) = regions.cut_up([np.rint(small).astype(np.uint8)], 4)
    owners = (cel.labels == cel.labels[100, 100]).astype(np.int16)
    made, owner = finer.finer(cel, owners, regions.premultiplied(key), 8)
    assert made.fine == 8 and made.labels.shape == owner.shape == (1600, 2560)
    assert (owner == owners[100, 100]).sum() == (made.labels == cel.labels[100, 100]).sum()

    def off(labels: np.ndarray) -> int:
        drawn = cv2.resize(cel.paints[labels], key.shape[1::-1], interpolation=cv2.INTER_AREA)
        return int((np.abs(drawn - regions.premultiplied(key)).max(2) > 48).sum())

    coarse = cel.labels.repeat(2, 0).repeat(2, 1)
    assert off(made.labels) <= 0.2 * off(coarse)


def test_a_board_has_no_more_subpixels_than_memory_allows() -> None:
    for small, times in (((200, 320), 4), ((180, 320), 6), ((180, 320), 12), ((180, 320), 24), ((250, 250), 2)):
        fine = finer.fineness_for(small, times)
        assert fine >= 4 and small[0] * small[1] * fine**2 <= finer.MOST


def test_a_key_that_was_made_larger_is_drawn_from_its_small_copy() -> None:
    keys = [scene(t, line=1.6)[..., :3] for t in (0.0, 1.0)]
    copies = [cv2.resize(key, (320, 200), interpolation=cv2.INTER_AREA) for key in keys]
    made = [cv2.resize(copy, (1280, 800), interpolation=cv2.INTER_LANCZOS4) for copy in copies]
    for key, copy, other in zip(keys, copies, made, strict=True):
        small = regions.premultiplied(copy)
        assert finer.is_magnified(regions.premultiplied(other), small)
        assert not finer.is_magnified(regions.premultiplied(key), small)
    drawing = draw(*made, [0.5])
    assert drawing is not None
    ink = drawing.frames[0][(drawing.frames[0].max(2) < 60)]  # without specks of overshoot
    assert np.ptp(ink.astype(int), axis=0).max() <= 60


def test_an_aliased_key_is_told_from_one_with_mixed_pixels() -> None:
    key = scene(0.0)[..., :3]
    aliased = np.where((key.astype(int).sum(2) < 250)[..., None], INK[:3], SKY[:3]).astype(np.uint8)
    for drawn, wanted in ((key, False), (aliased, True)):
        large = regions.premultiplied(drawn)
        assert finer.is_aliased(large, cv2.resize(large, (320, 200), interpolation=cv2.INTER_AREA)) is wanted


def test_a_large_drawing_of_faint_colours_is_drawn_from_its_small_copy() -> None:
    first, truth, last = ((200 + scene(t, line=1.6)[..., :3] // 8).astype(np.uint8) for t in (0.0, 0.5, 1.0))
    drawing = draw(first, last, [0.5])
    assert drawing is not None
    off, moved = (np.abs(one.astype(int) - two).max(2) > 8 for one, two in ((drawing.frames[0], truth), (first, last)))
    assert off.sum() < 0.2 * moved.sum()
