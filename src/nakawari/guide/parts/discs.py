"""A disc: a circle or nearly one, in pixels of a key."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .contours import rotation

TURNS = 180
"""Number of angles at which the inside of a disc is sampled."""


@dataclass(frozen=True)
class Disc:
    """A round thing in a key.

    Args:
        centre: (2,) in pixels.
        shape: (2, 2) symmetric: maps the unit circle to its border.
    """

    centre: np.ndarray
    shape: np.ndarray

    @property
    def radius(self) -> float:
        return math.sqrt(float(np.linalg.det(self.shape)))

    def inside(self, points: np.ndarray, within: float = 1.0) -> np.ndarray:
        """Which points (..., 2) lie in it, or in its middle `within` share."""
        return np.linalg.norm((points - self.centre) @ np.linalg.inv(self.shape), axis=-1) < within

    def to(self, other: Disc, turn: float) -> np.ndarray:
        """(3, 3): the motion to another disc, turned by `turn` radians."""
        out = np.eye(3)
        out[:2, :2] = other.shape @ rotation(turn, np.zeros(2))[:2, :2] @ np.linalg.inv(self.shape)
        out[:2, 2] = other.centre - out[:2, :2] @ self.centre
        return out

    def unrolled(self, picture: np.ndarray) -> np.ndarray:
        """(radii, TURNS, 4): the inside of the disc by radius and angle, weighted by the area of each place."""
        angle = np.arange(TURNS) * 2 * math.pi / TURNS
        radius = np.linspace(0.15, 0.9, max(4, round(self.radius)))
        places = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], 1) @ self.shape + self.centre - 0.5
        x, y = np.moveaxis(places.astype(np.float32), 2, 0)
        return cv2.remap(picture, x, y, cv2.INTER_LINEAR) * np.sqrt(radius)[:, None, None]
