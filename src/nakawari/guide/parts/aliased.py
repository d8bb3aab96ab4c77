"""Aliased drawings: every pixel has the paint at its centre, and lines stay whole."""

from __future__ import annotations

import cv2
import numpy as np

LINE_SHARE = 0.35
"""Minimum share of an aliased pixel that a line which misses its centre must cover to be drawn."""


def hardened(board: np.ndarray, are_lines: np.ndarray, fine: int) -> np.ndarray:
    """(H, W) codes of a board (H·fine, W·fine): the code at a pixel's centre, so that lines keep their width; a line
    that passes between the centres stays whole. `are_lines` says of every code whether it is a line's."""
    samples = np.stack([board[dy::fine, dx::fine] for dy in range(fine) for dx in range(fine)])
    lines = are_lines[samples]
    middle = samples[(fine // 2) * fine + fine // 2]
    ink = np.take_along_axis(samples, lines.argmax(0)[None], 0)[0]
    return np.where(_between_centres(are_lines[middle], lines.mean(0)), ink, middle)


def _between_centres(drawn: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(H, W) bool: the pixels that close the gaps of an aliased line, of each stretch the one that it covers most.

    `drawn` are the pixels whose centre is line, `share` is how much of each pixel is.
    """
    soft = np.pad(cv2.GaussianBlur(share.astype(np.float32), (0, 0), 1.0), 1, mode="edge")
    level = np.abs(_beside(soft, 0)[0] + _beside(soft, 0)[1] - 2 * soft[1:-1, 1:-1])
    upright = np.abs(_beside(soft, 1)[0] + _beside(soft, 1)[1] - 2 * soft[1:-1, 1:-1])
    across = []
    for axis in (0, 1):
        before, after = _beside(np.pad(share, 1), axis)
        taken = np.logical_or(*_beside(np.pad(drawn, 1), axis))
        across.append((share > before) & (share >= after) & ~taken)
    return ~drawn & (share >= LINE_SHARE) & np.where(level >= upright, *across)


def _beside(padded: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """What lies before and after each place of an array along an axis; the array is padded by one."""
    turned = np.moveaxis(padded, axis, 0)
    return np.moveaxis(turned[:-2, 1:-1], 0, axis), np.moveaxis(turned[2:, 1:-1], 0, axis)
