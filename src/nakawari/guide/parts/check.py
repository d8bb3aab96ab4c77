"""Check the parts: draw each key from the other alone, and compare it with the real one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .compose import Stage
from .contours import mapped

RIGHT = 24.0
"""Maximum error in levels of a correct pixel."""
SEEN = 8.0
"""Minimum difference in levels between the keys for a pixel to count as moved."""
GREY = 127.0


@dataclass(frozen=True)
class Check:
    """How well each key can be drawn from the other.

    Args:
        explained: share of the moved pixels that are correct, 0 ... 1; 1 if nothing moved.
        flat: share of the picture covered by areas and lines.
        rights: per key (H, W) bool, the pixels drawn correctly from the other.
    """

    explained: float
    flat: float
    rights: tuple[np.ndarray, np.ndarray]


def over_grey(frame: np.ndarray) -> np.ndarray:
    """Premultiplied (H, W, 4) composited over mid-grey, (H, W, 3)."""
    return frame[..., :3] + GREY * (1 - frame[..., 3:] / 255)


def right_share(made: np.ndarray, truth: np.ndarray, other: np.ndarray) -> float:
    """The share of correct pixels among those where `truth` differs from `other`; all (H, W, 3)."""
    return _share(right(made, truth), _moved(truth, other))


def right(made: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, W) bool: where two pictures (H, W, 3) agree."""
    return np.abs(made - truth).max(2) <= RIGHT


def _moved(truth: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(truth - other).max(2) > SEEN


def _share(good: np.ndarray, counted: np.ndarray) -> float:
    return float(good[counted].mean()) if counted.any() else 1.0


def checked(stage: Stage, flat: float) -> Check:
    """Draw the last key from the first and the first from the last."""
    keys = [over_grey(key) for key in stage.keys]
    rights = []
    for only, time in ((1, 0.0), (0, 1.0)):
        made = stage.painted(stage.board_at(time, only=only))
        rights.append(right(over_grey(made), keys[1 - only]))
    moved = _moved(*keys)
    shares = [_share(rights[side], moved & _framed(stage, side)) for side in (0, 1)]
    return Check(float(np.mean(shares)), flat, (rights[0], rights[1]))


def _framed(stage: Stage, side: int) -> np.ndarray:
    """(H, W) bool: what of a key does not come from beyond the other key's border."""
    owner = stage.layers.owners[side][stage.fine // 2 :: stage.fine, stage.fine // 2 :: stage.fine]
    height, width = owner.shape
    out = np.ones(owner.shape, bool)
    for k in np.unique(owner):
        motion = stage.parts[k].motion if side == 0 else np.linalg.inv(stage.parts[k].motion)
        rows, columns = np.nonzero(owner == k)
        points = mapped(motion, np.stack([columns, rows], 1) + 0.5)
        out[rows, columns] = ((points >= 0) & (points < (width, height))).all(1)
    return out
