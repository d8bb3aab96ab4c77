"""Hold static areas: where both keys are equal, the in-between gets their pixels, bit for bit.

A model draws even static areas with errors of a few levels, and a flow that follows a moving background drags along a
title in front of it. Equal keys at a pixel do not show whether an object passes over it between
them; the drawn pixels do, unless they are a torn part of the static object itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAR = 8
"""Maximum error in levels of a static pixel that is corrected; larger differences are objects that pass over it."""
EDGE = 16
"""Minimum difference in levels between neighbours at an edge."""
WINDOW = 17
"""Pixels along the side of the square in which edges are counted."""
MOVES = 0.7
"""Minimum moving share of the rest, in such a square and in the picture, for a static piece to be a figure before a
moving background."""
STANDING = 0.8
"""Minimum share of the edges of static pixels that are in both keys; a moving object has its edges at two positions."""
FIGURE = 0.2
"""Maximum share of the picture of a static figure; a larger piece is background."""
PIECE = 5
"""Side in pixels of the square within which static pixels count as connected, despite noise."""


def hold(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], frame: NDArray[np.uint8], torn: bool = True
) -> NDArray[np.uint8]:
    """An in-between (H, W, 3 or 4) of two keys of its shape, with static areas taken from the first key.

    `torn`: whether a static object may have been torn, as by a model or a flow; moving parts never tear one, so
    differences there are objects that pass over it.
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
    """(H, W): where two drawings look bit-equal; colour under zero alpha is ignored."""
    same = (first == last).all(axis=2)
    if first.shape[2] == 4:
        same |= (first[..., 3] == 0) & (last[..., 3] == 0)
    return same


def standing(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], still: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W): static figures before a moving background, over which nothing passes.

    Around such a position much moves, and the edges of the static pixels are edges in both keys. Beside a passing
    object they are edges in only one of the two, as the object is elsewhere in the other. A static background with many
    edges, over which an object passes, is one large piece.
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
    """(H, W): static pieces that are small enough for a figure."""
    import cv2

    whole = cv2.morphologyEx(still.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((PIECE, PIECE), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= FIGURE * still.size
    return still & small[labels]


def _seen(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The visible colours of a frame: (H, W, 3) unchanged, (H, W, 4) premultiplied."""
    flat = frame.astype(np.float32)
    if frame.shape[2] == 4:
        flat[..., :3] *= flat[..., 3:] / 255
    return flat
