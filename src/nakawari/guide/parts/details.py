"""What a key shows and the drawing of it by its parts does not, carried along with the parts.

Drawn from itself by its parts, a key is not quite itself: corners are rounder, a line is a trace too wide or too light,
a speck is left out. What is missing moves as the part that it lies on or beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

BESIDE = 1
"""Pixels beyond a part's border within which what is missing belongs to it."""
LEAST = 2.0
"""Minimum difference in levels; areas of one colour keep it exactly."""
MOST = 64.0
"""Maximum difference in levels, since where more is missing it may be that parts do not explain the keys."""
APART = 32.0
"""Maximum difference in levels between the details of the two keys at one place; with more, parts draw it wrong."""


@dataclass(frozen=True)
class Detail:
    """What a drawing of a key by its parts misses.

    Args:
        levels: (H, W, 4) float32, premultiplied.
        owner: (H, W) int16, the part that it moves with.
    """

    levels: np.ndarray
    owner: np.ndarray


def detail_of(key: np.ndarray, drawn: np.ndarray, owner: np.ndarray) -> Detail:
    """What a key, premultiplied (H, W, 4), has beyond a drawing of it; `owner` (H, W) as from `owners_at`."""
    levels = (key - drawn).clip(-MOST, MOST)
    levels[np.maximum.reduce(cv2.split(np.abs(levels))) < LEAST] = 0
    return Detail(levels, owner)


def owners_at(parts: np.ndarray, rank: np.ndarray, shape: tuple[int, ...], beside: int = BESIDE) -> np.ndarray:
    """(H, W): the uppermost part in each pixel of a picture of a shape or within `beside` pixels of it, of the visible
    parts (h, w) and their depth order `rank`."""
    height, width = shape
    upper, fine = rank.astype(np.int16)[parts], max(1, parts.shape[0] // height)
    if parts.shape != (height * fine, width * fine):
        square = np.ones((fine // 2 * 2 + 1,) * 2, np.uint8)
        upper = cv2.resize(cv2.dilate(upper, square), (width, height), interpolation=cv2.INTER_NEAREST)
    elif fine > 1:
        upper = upper.reshape(height, fine, width, fine).max((1, 3))
    return np.argsort(rank).astype(np.int16)[cv2.dilate(upper, np.ones((2 * beside + 1,) * 2, np.uint8))]


def carried(
    details: Sequence[Detail], owner: np.ndarray, sources: Sequence[Sequence[np.ndarray]], shares: Sequence[float]
) -> np.ndarray:
    """The details of two keys in an in-between, (H, W, 4): their mean by `shares`, or of one where the other is hidden.

    Args:
        owner: (H, W) as from `owners_at`.
        sources: per part, the motion (3, 3) in pixels from the in-between to each key.
    """
    height, width = owner.shape
    x, y = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    total, weight = np.zeros((height, width, 4), np.float32), np.zeros((height, width, 1), np.float32)
    seen, found = [], []
    for side, (detail, share) in enumerate(zip(details, shares, strict=True)):
        back = np.moveaxis(np.array([ways[side][:2] for ways in sources], np.float32)[owner], (2, 3), (0, 1))
        places = [row[0] * x + row[1] * y + row[2] - 0.5 for row in back]
        there = cv2.remap(detail.owner, *places, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=-1)
        seen.append(there == owner)
        found.append(cv2.remap(detail.levels, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT))
        part = share * seen[side][..., None].astype(np.float32)
        total += part * found[side]
        weight += part
    apart = np.maximum.reduce(cv2.split(cv2.absdiff(*found)))
    total[seen[0] & seen[1] & (apart > APART)] = 0
    return total / np.maximum(weight, 1e-6)
