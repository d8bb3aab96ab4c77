"""Render point tracks as heatmaps, the input of the ControlNet.

Source: Wang et al. 2024 (Framer), reproduced to the integer: the stamp has a fixed size in pixels at any
resolution, is squeezed rather than cropped at a border, and a later point overwrites an earlier one.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

STAMP_RADIUS = 20
"""Half the side of one point's stamp, in pixels."""

_TEMPLATE_RADIUS = 100
_TEMPLATE_SIGMA = 40.0


@cache
def template() -> NDArray[np.uint8]:
    """The stamp before it is scaled: a Gaussian inside a disc, 0 to 255, (200, 200)."""
    import cv2

    offset = np.arange(2 * _TEMPLATE_RADIUS, dtype=np.float64) - _TEMPLATE_RADIUS
    square = offset[:, None] ** 2 + offset[None, :] ** 2
    gaussian = (np.exp(-square / (2 * _TEMPLATE_SIGMA**2)) / (2 * np.pi * _TEMPLATE_SIGMA**2)).astype(np.float32)
    disc = np.zeros(gaussian.shape, np.float32)
    cv2.circle(disc, (_TEMPLATE_RADIUS, _TEMPLATE_RADIUS), _TEMPLATE_RADIUS, 1.0, -1)
    gaussian = gaussian * disc
    gaussian = gaussian / gaussian.max()
    return (gaussian / gaussian.max() * 255).astype(np.uint8)


def _interval(centre: np.floating, size: int) -> tuple[int, int]:
    """First and one-past-last pixel of a stamp along one axis; the first pixel row and column stay empty."""
    low = centre - STAMP_RADIUS
    high = centre + STAMP_RADIUS
    return int(max(low, 1)), int(min(high, size - 1))


def heatmaps(
    tracks: NDArray[np.floating], size: tuple[int, int], visible: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Draw every point of every frame.

    Args:
        tracks: (F, P, 2), x and y in pixels of the output; points outside the image are ignored.
        size: height and width of the output.
        visible: (F, P), which points to draw; None = all.

    Returns:
        (F, H, W), 0 to 255.
    """
    import cv2

    height, width = size
    maps = np.zeros((len(tracks), height, width), np.uint8)
    for frame, points in enumerate(tracks):
        for index, (x, y) in enumerate(points):
            if (visible is not None and not visible[frame, index]) or not (0 <= x < width and 0 <= y < height):
                continue
            left, right = _interval(x, width)
            top, bottom = _interval(y, height)
            if right - left < 1 or bottom - top < 1:
                continue
            stamp = cv2.resize(template(), (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
            maps[frame, top:bottom, left:right] = stamp
    return maps
