"""Detect in-betweens that lack a static object of both keys: background where neither key shows it.

Unmatched parts are not drawn. If such a part moves, the check of the parts counts it; a static one is not counted by
that check, which covers only moved pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .drawn import Pair

SAME = 8
"""Maximum difference in levels of equal keys, and minimum difference of a changed in-between."""
GROUND = 3
"""Maximum difference in levels of a background pixel."""
MOST = 0.2
"""Tolerated erased pixels as a share of the moving ones: edges, holes in a passing object."""


def erases(pair: Pair, frames: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether any in-between, (H, W, 3 or 4) as the keys, lacks a static object; the background is the border's main
    colour.

    An object that passes over a static one covers it with its own colour, not with that of the background.
    """
    first, last = (_weighed(key) for key in pair)
    ground = _ground(first, last)
    still = np.abs(first - last).max(axis=2) <= SAME
    figure = still & (np.abs(first - ground).max(axis=2) > SAME) & (np.abs(last - ground).max(axis=2) > SAME)
    if not figure.any():
        return False
    most = MOST * max(int((~still).sum()), 1)
    return any(
        int((figure & (np.abs(_weighed(frame) - ground).max(axis=2) <= GROUND)).sum()) > most for frame in frames
    )


def _ground(*keys: NDArray[np.int16]) -> NDArray[np.int16]:
    """The most frequent colour along the borders of pictures (H, W, C): (C,)."""
    sides = [key[side].reshape(-1, key.shape[2]) for key in keys for side in (np.s_[[0, -1]], np.s_[:, [0, -1]])]
    colours, counts = np.unique(np.concatenate(sides), axis=0, return_counts=True)
    return colours[counts.argmax()]


def _weighed(frame: NDArray[np.uint8]) -> NDArray[np.int16]:
    """A frame with premultiplied colour."""
    if frame.shape[2] == 3:
        return frame.astype(np.int16)
    matte = frame[..., 3:].astype(np.float32) / 255
    return np.concatenate([np.rint(frame[..., :3] * matte), frame[..., 3:]], axis=2).astype(np.int16)
