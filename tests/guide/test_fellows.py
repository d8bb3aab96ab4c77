"""Regions that look alike and shift by one vector."""

from __future__ import annotations

import cv2
import numpy as np

from nakawari.guide.parts import draw

SIZE, OVER = (200, 120), 4
GROUND, TRAIN, GLASS, BAR, INK = (238, 232, 218), (60, 140, 90), (200, 225, 240), (50, 50, 60), (20, 30, 25)
DROPS = ((20, 24), (58, 14), (96, 30), (134, 18), (172, 26), (38, 62), (78, 70), (116, 58), (154, 66), (96, 96))


def scene(*shapes: tuple[np.ndarray, tuple[int, int, int]]) -> np.ndarray:
    """Outlines (N, 2) with their paints, the later above, each with a line around it; uint8 (H, W, 3)."""
    board = np.zeros((SIZE[1] * OVER, SIZE[0] * OVER, 3), np.uint8)
    board[:] = GROUND
    for outline, paint in shapes:
        corners = np.rint(outline * OVER * 16).astype(np.int32)[None]
        cv2.fillPoly(board, corners, paint, shift=4)
        cv2.polylines(board, corners, True, INK, round(1.5 * OVER), shift=4)
    return cv2.resize(board, SIZE, interpolation=cv2.INTER_AREA)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def train(t: float) -> np.ndarray:
    """Windows that run past posts, most of them half hidden; the wagon itself looks the same everywhere."""
    windows = [(box(x, 48, x + 18, 66), GLASS) for x in np.arange(-22, 220, 30) + 12 * t]
    posts = [(box(x, 10, x + 8, 110), BAR) for x in (46, 104, 162)]
    return scene((box(-9, 36, 209, 88), TRAIN), *windows, *posts)


def rain(t: float) -> np.ndarray:
    """Drops that fall by more than they are apart."""
    around = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    drop = np.stack([4 * np.sin(around) * np.sin(around / 2), -7 * np.cos(around)], 1)
    return scene(*((drop + np.array([x + 14 * t, y + 26 * t]), GLASS) for x, y in DROPS))


def wrong(made: np.ndarray, truth: np.ndarray) -> int:
    return int((np.abs(made.astype(int) - truth).max(2) > 24).sum())


def test_windows_that_run_past_posts_go_behind_them_and_keep_their_shape() -> None:
    drawing = draw(train(0), train(1), [0.5])
    assert drawing is not None and wrong(drawing.frames[0], train(0.5)) < 300


def test_each_of_many_drops_falls_as_the_others_do() -> None:
    drawing = draw(rain(0), rain(1), [0.5])
    assert drawing is not None and wrong(drawing.frames[0], rain(0.5)) < 20
