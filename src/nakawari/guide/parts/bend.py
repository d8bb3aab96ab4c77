"""What a part's motion leaves of its change of shape, spread over the part."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .contours import mapped

CELL = 4
"""Pixels between the places at which a bend is computed; it is smooth between them."""
NEAR = 2.0
"""Distance in pixels within which outline points bend a place alike."""


@dataclass(frozen=True)
class Bend:
    """What a region's motion leaves of its change of shape.

    Args:
        points: (N, 2) on the outline in the first key, pixels.
        moves: (N, 2) how much farther each gets than the motion carries it, pixels of the last key.
    """

    points: np.ndarray
    moves: np.ndarray

    def field(
        self, pose: np.ndarray, motion: np.ndarray, time: float, box: tuple[int, int, int, int], fine: int
    ) -> np.ndarray:
        """(h, w, 2) float32: by how many pixels a box of subpixels of the in-between is bent from one key to the other.

        Args:
            pose: (3, 3) from the first key to the in-between at `time`; `motion` goes on to the last key.
        """
        left, top, right, bottom = box
        linear = (pose @ np.linalg.inv(motion))[:2, :2]
        moves = self.moves @ linear.T
        places = mapped(pose, self.points) + time * moves
        step = CELL * fine
        columns, rows = (math.ceil((high - low) / step) for low, high in ((left, right), (top, bottom)))
        x = (left + (np.arange(columns) + 0.5) * step) / fine
        y = (top + (np.arange(rows) + 0.5) * step) / fine
        nodes = np.stack(np.meshgrid(x, y), 2).reshape(-1, 2)
        bent = _spread(places, moves, nodes).reshape(rows, columns, 2).astype(np.float32)
        wide = cv2.resize(bent, (columns * step, rows * step), interpolation=cv2.INTER_LINEAR)
        return wide[: bottom - top, : right - left]

    def carried(self, motion: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) of the first key in the last, moved by a motion (3, 3) and bent."""
        moved = mapped(motion, points)
        return moved + _spread(mapped(motion, self.points), self.moves, moved)

    def carried_back(self, motion: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) of the last key in the first."""
        places = mapped(motion, self.points) + self.moves
        return mapped(np.linalg.inv(motion), points - _spread(places, self.moves, points))

    @property
    def reach(self) -> float:
        """Pixels of the farthest move."""
        return float(np.abs(self.moves).max(initial=0.0))


def _spread(places: np.ndarray, moves: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(M, 2): moves (N, 2) at places (N, 2), spread to points (M, 2) around them."""
    weight = 1 / (((points[:, None] - places) ** 2).sum(2) + NEAR**2) ** 2
    return weight @ moves / weight.sum(1, keepdims=True)
