"""Whether in-betweens lack something that stands still in both keys: the ground shows where neither key has it.

Parts that are not matched are not drawn. Where such a part moves, the check of the parts counts it; where it stands,
that check, which asks for what moved alone, does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .drawn import Pair

SAME = 8
"""Levels up to which two keys show the same, and from which on an in-between shows something else."""
GROUND = 3
"""Levels up to which a pixel is ground."""
MOST = 0.2
"""Erased pixels, as a share of those that move, up to which it may be chance: edges, holes in something that passes."""


def erases(pair: Pair, frames: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether any in-between, (H, W, 3 or 4) as the keys, lacks a still thing; the ground is the border's main colour.

    Something that passes over a still thing covers it with its own colour, not with the ground's.
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
    """A frame as it is seen, colour multiplied by the matte."""
    if frame.shape[2] == 3:
        return frame.astype(np.int16)
    matte = frame[..., 3:].astype(np.float32) / 255
    return np.concatenate([np.rint(frame[..., :3] * matte), frame[..., 3:]], axis=2).astype(np.int16)
