"""Regions that the parts do not explain are drawn by optical flow, the others stay as the parts draw them."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from nakawari.guide.parts import draw as draw_parts
from nakawari.interpolation.by_parts import frames_by_parts

MINT, SKIN, LIP, INK = (180, 220, 200), (250, 214, 170), (170, 50, 60), (20, 18, 25)
FINE = 6
Frame = NDArray[np.uint8]


def oval(x: float, y: float, wide: float, high: float) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * math.pi, 80, endpoint=False)
    return np.stack([x + wide * np.cos(angle), y + high * np.sin(angle)], 1)


def picture(
    *shapes: tuple[NDArray[np.float64], tuple[int, int, int]], line: float = 2.4, alpha: bool = False, times: int = 1
) -> Frame:
    """(120, 160, 3 or 4), or some `times` as large: outlines with lines, drawn fine and made smaller."""
    fine = max(2, FINE // times)
    size = 120 * times, 160 * times
    board = np.zeros((size[0] * fine, size[1] * fine, 4), np.uint8)
    if not alpha:
        board[:] = (*MINT, 255)
    for outline, paint in shapes:
        points = np.rint(outline * times * fine * 16).astype(np.int32)[None]
        cv2.fillPoly(board, points, (*paint, 255), shift=4)
        if line:
            cv2.polylines(board, points, True, (*INK, 255), round(line * times * fine), shift=4)
    flat = board.astype(np.float32)
    flat[..., :3] *= flat[..., 3:] / 255
    small = flat.reshape(size[0], fine, size[1], fine, 4).mean((1, 3))
    small[..., :3] = small[..., :3] * 255 / np.maximum(small[..., 3:], 1e-6)
    return np.rint(small).clip(0, 255).astype(np.uint8)[..., : 3 + alpha]


def face(t: float, alpha: bool = False, times: int = 1, opens: int = 6) -> Frame:
    """A face that moves and opens its mouth."""
    x = 74 + 12 * t
    return picture(
        (oval(x, 60, 44, 48), SKIN), (oval(x - 15, 46, 8, 9), MINT), (oval(x + 15, 46, 8, 9), MINT),
        (oval(x, 80, 17, 4 + opens * t), LIP), alpha=alpha, times=times,
    )  # fmt: skip


def rain(t: float) -> Frame:
    """Two equal drops that fall; the first moves close to where the second was."""
    drops = [(oval(70 + 14 * k + 6 * t, 64 + 6 * k + 6 * t, 5, 8), LIP) for k in range(2)]
    return picture((oval(80, 30, 50, 22), SKIN), *drops, line=0)


def wrong(made: Frame, truth: Frame) -> int:
    return int((np.abs(made.astype(int) - truth).max(2) > 24).sum())


@pytest.mark.parametrize(("alpha", "opens"), [(False, 6), (True, 6), (False, 3)])
def test_a_mouth_that_opens_is_drawn_by_flow_and_the_face_by_its_parts(alpha: bool, opens: int) -> None:
    keys, times = (face(0, alpha, opens=opens), face(1, alpha, opens=opens)), [0.25, 0.5]
    parts = draw_parts(*keys, times)
    assert parts is not None
    frames = frames_by_parts(keys, times)
    assert frames is not None
    mouth = np.zeros((120, 160), bool)
    mouth[60:100, 50:120] = True
    for own, made, time in zip(parts.frames, frames, times, strict=True):
        truth = face(time, alpha, opens=opens)
        assert wrong(made, truth) < 0.5 * wrong(own, truth)
        assert (made == own).all(2)[~mouth].all()


def test_of_things_that_look_alike_each_moves_the_shorter_way() -> None:
    parts = draw_parts(rain(0), rain(1), [0.5])
    assert parts is not None and wrong(parts.frames[0], rain(0.5)) > 100
    frames = frames_by_parts((rain(0), rain(1)), [0.5])
    assert frames is not None and wrong(frames[0], rain(0.5)) < 10


def test_where_the_parts_agree_with_themselves_their_frames_are_unchanged() -> None:
    def pose(t: float) -> Frame:
        return picture((oval(50 + 20 * t, 60, 26, 20), SKIN), (oval(54 + 20 * t, 56, 8, 8), LIP))

    parts = draw_parts(pose(0), pose(1), [0.5])
    assert parts is not None
    frames = frames_by_parts((pose(0), pose(1)), [0.5])
    assert frames is not None and (frames[0] == parts.frames[0]).all()


def test_regions_of_a_large_drawing_are_drawn_at_its_own_size() -> None:
    keys = face(0, times=8), face(1, times=8)
    parts, frames = draw_parts(*keys, [0.5]), frames_by_parts(keys, [0.5])
    assert parts is not None and frames is not None
    truth = face(0.5, times=8)
    assert frames[0].shape == truth.shape == (960, 1280, 3)
    assert wrong(frames[0], truth) < 0.5 * wrong(parts.frames[0], truth)
