"""Check the parts: draw each key from the other alone, and compare it with the real one."""

from __future__ import annotations

import numpy as np

from .compose import Stage, whole
from .contours import mapped

RIGHT = 24.0
"""Maximum error in levels of a correct pixel."""
SEEN = 8.0
"""Minimum difference in levels between the keys for a pixel to count as moved."""
GREY = 127.0


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


def explained(stage: Stage) -> float:
    """The share of the moved pixels that are correct when each key is drawn from the other, 0 ... 1; 1 if nothing
    moved. What stands still does not count: it is drawn from both keys."""
    keys = [over_grey(key) for key in stage.keys]
    moved = _moved(*keys)
    shares = []
    for only, time in ((1, 0.0), (0, 1.0)):
        board = stage.board_at(time, only=only)
        made = over_grey(stage.painted(board))
        owners = stage.layers.owners[1 - only]
        counted = moved & _framed(stage, 1 - only) & ~_bent(stage, board.parts, owners) & ~_standing(stage, owners)
        shares.append(_share(right(made, keys[1 - only]), counted))
    return float(np.mean(shares))


def _standing(stage: Stage, owners: np.ndarray) -> np.ndarray:
    """(H, W) bool: what shows nothing but parts that stand still, without the background; `owners` as in `_bent`."""
    still = stage.still.copy()
    still[0] = False
    return whole(still[owners], stage.fine)


def _bent(stage: Stage, *owners: np.ndarray) -> np.ndarray:
    """(H, W) bool: where one of some boards of parts (H·fine, W·fine) shows a part that is bent. One key alone shows it
    roughly; its outlines were checked when it was matched."""
    bent = np.array([part.bend is not None for part in stage.parts])
    shown = np.logical_or.reduce([bent[owner] for owner in owners])
    return ~whole(~shown, stage.fine)


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
