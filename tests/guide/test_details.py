"""What parts do not draw of a key moves along with them."""

from __future__ import annotations

import cv2
import numpy as np

from nakawari.guide.parts import draw
from nakawari.guide.parts.details import carried, detail_of, owners_at


def pose(x: float, angle: float) -> np.ndarray:
    """RGBA (100, 160): a star with sharp corners and thin lines, and a dot of a third of a pixel."""
    fine = 8
    board = np.full((100 * fine, 160 * fine, 4), (140, 198, 238, 255), np.uint8)
    tip = np.radians(np.arange(10) * 36 + angle)
    far = np.where(np.arange(10) % 2, 14, 34)
    star = np.rint((np.stack([x + far * np.cos(tip), 50 + far * np.sin(tip)], 1)) * fine * 16).astype(np.int32)
    cv2.fillPoly(board, [star], (220, 50, 60, 255), shift=4)
    cv2.polylines(board, [star], True, (20, 18, 24, 255), 7, shift=4)
    dot = x + 6 * np.cos(np.radians(angle)), 50 + 6 * np.sin(np.radians(angle))
    cv2.circle(board, tuple(int(v * fine) for v in dot), 2, (255, 255, 255, 255), -1)
    return cv2.resize(board, (160, 100), interpolation=cv2.INTER_AREA)


def test_an_in_between_beside_a_key_is_the_key() -> None:
    first, last = pose(60, 0), pose(72, 9)
    drawing = draw(first, last, [0.0001, 0.9999])
    assert drawing is not None
    for frame, key in zip(drawing.frames, (first, last), strict=True):
        assert np.abs(frame.astype(int) - key).max() <= 2


def test_details_stay_with_the_part_that_they_lie_on_or_beside() -> None:
    parts = np.zeros((40, 60), np.int16)
    parts[8:24, 8:24] = 1
    rank = np.array([0, 1])
    owner = owners_at(parts, rank, (20, 30))
    assert owner[3, 3] == owner[12, 12] == 1
    assert owner[2, 2] == owner[13, 13] == 0
    key = np.zeros((20, 30, 4), np.float32)
    key[8, 8], key[8, 3], key[2, 25] = 20, 80, 1
    detail = detail_of(key, np.zeros_like(key), owner)
    moved = np.roll(parts, 20, 1)
    back = np.array([[1, 0, -10], [0, 1, 0], [0, 0, 1]])
    nothing = detail_of(key * 0, key * 0, owners_at(np.roll(parts, 40, 1), rank, (20, 30)) * 0 - 1)
    made = carried(
        [detail, nothing], owners_at(moved, rank, (20, 30)), [(np.eye(3), np.eye(3)), (back, back)], (0.5, 0.5)
    )
    assert np.flatnonzero(np.abs(made).max(2) > 1e-3).tolist() == [8 * 30 + 13, 8 * 30 + 18]
    assert made[8, 18, 0] == 20  # the other key's says nothing about this part
    assert made[8, 13, 0] == 64  # no more than that
