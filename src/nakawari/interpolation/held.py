"""What stands still is held: where both keys show the same, the in-between is them, bit for bit.

A model draws even what does not move a level or three off, and a flow that follows a moving ground drags along the
title that stands before it. Two keys that are equal at a pixel do not tell whether something passes over it between
them; what is drawn there does, unless it is the still thing itself that was torn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAR = 8
"""Levels by which a still pixel may be drawn wrong and is put right; what differs more was drawn over it."""
EDGE = 16
"""Levels between neighbours from which on there is an edge."""
WINDOW = 17
"""Pixels along the side of the square in which edges are counted."""
MOVES = 0.7
"""Least share of the rest, in such a square and in the picture, that moves for a still piece to be a figure before a
moving ground."""
STANDING = 0.8
"""Least share of the edges of still pixels that stand in both keys: a thing that moves has its edges at two places."""
FIGURE = 0.2
"""Share of the picture up to which what is still in one piece is a figure; a larger piece is a ground itself."""
PIECE = 5
"""Pixels along the side of the square within which still pixels are of one piece: noise may break it up."""


def hold(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], frame: NDArray[np.uint8], torn: bool = True
) -> NDArray[np.uint8]:
    """An in-between (H, W, 3 or 4) of two keys of its shape, with what stands still taken from the first key.

    `torn` says whether a still thing may have been torn, as a model or a flow does; parts that move never tear one, so
    that what differs there passes over it.
    """
    first, last = pair
    still = same_at(first, last)
    if still.all():
        return first.copy()
    near = np.abs(_seen(frame) - _seen(first)).max(axis=2) <= NEAR
    held = still & near
    if torn and (still & ~near).any():
        held |= still & standing(pair, still)
    return np.where(held[..., None], first, frame)


def same_at(first: NDArray[np.uint8], last: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W): where two drawings look the same to the bit; what stands under no matte is not seen."""
    same = (first == last).all(axis=2)
    if first.shape[2] == 4:
        same |= (first[..., 3] == 0) & (last[..., 3] == 0)
    return same


def standing(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], still: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W): where a still figure stands before a ground that moves, so that nothing passes over it.

    Around such a place much moves, and the edges of what is still are edges in both keys. Beside a thing that passes,
    they are edges in one of the two only: in the other the thing is elsewhere. A still ground of many edges, over which
    a thing passes, is of one large piece.
    """
    import cv2

    small = _small_pieces(still)
    if (~still).sum() < MOVES * (~small).sum():
        return np.zeros_like(still)
    both, one = (np.zeros(still.shape, np.float32) for _ in range(2))
    keys = [_seen(key) for key in pair]
    for axis in (0, 1):
        edges = [np.abs(np.diff(key, axis=axis)).max(axis=2) > EDGE for key in keys]
        low, high = (slice(None, -1), slice(1, None)) if axis == 0 else (np.s_[:, :-1], np.s_[:, 1:])
        for side, other in ((low, high), (high, low)):
            rim = still[side] & ~still[other]
            both[side] += rim & edges[0] & edges[1]
            one[side] += rim & (edges[0] ^ edges[1])
    size = (WINDOW, WINDOW)
    moving, around, both, one = (
        cv2.boxFilter(part, -1, size, borderType=cv2.BORDER_REPLICATE)
        for part in ((~still).astype(np.float32), (~small).astype(np.float32), both, one)
    )
    return small & (moving >= MOVES * around) & (both > 0) & (both >= STANDING * (both + one))


def _small_pieces(still: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W): what is still in pieces that are small enough for a figure."""
    import cv2

    whole = cv2.morphologyEx(still.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((PIECE, PIECE), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= FIGURE * still.size
    return still & small[labels]


def _seen(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What is seen of a frame: (H, W, 3) as it is, (H, W, 4) with its colour multiplied by the matte."""
    flat = frame.astype(np.float32)
    if frame.shape[2] == 4:
        flat[..., :3] *= flat[..., 3:] / 255
    return flat
