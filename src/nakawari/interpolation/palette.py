"""Restrict in-betweens to the keys' colours: no new colours, and no soft edges on aliased lines."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Palette = Literal["auto", "keep", "free"]
PALETTES: tuple[Palette, ...] = ("auto", "keep", "free")
FEW = 256
"""Maximum number of colours of two keys for a palette, as in an indexed file."""
SHARED = 0.9
"""Minimum share of each key in colours of the other; keys between which the light changes share no palette."""
SURE = 6.0
"""Maximum difference in levels between a pixel and its palette colour; pixels between two colours are decided by their
neighbours."""
REACH = 2
"""Radius in pixels of the deciding neighbours."""

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def is_kept(pair: Pair, palette: Palette) -> bool:
    """Whether in-betweens of two keys, (H, W, 3 or 4), are restricted to the keys' colours.

    `auto`: if they have at most 256 colours together and share most of them.
    """
    if palette != "auto":
        return palette == "keep"
    colours = [_packed(key) for key in pair]
    if any(len(np.unique(colour[::4, ::4])) > FEW for colour in colours):
        return False  # cheap test first
    found = [np.unique(colour) for colour in colours]
    if len(np.union1d(*found)) > FEW:
        return False
    return all(np.isin(colours[k], found[1 - k]).mean() >= SHARED for k in (0, 1))


def in_colours(pair: Pair, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame in the colours of two keys: every pixel gets the nearest of them.

    If the keys' edges are hard, a pixel between colours gets the nearest of the certain colours around it,
    so that no edge between two colours shows a third. Soft edges have their own colours.
    """
    from scipy.spatial import cKDTree

    colours = _colours(pair)
    seen, places = np.unique(_packed(frame), return_inverse=True)
    apart, nearest = cKDTree(_weighed(colours)).query(_weighed(_unpacked(seen, frame.shape[2])))
    labels, apart = (part[places].reshape(frame.shape[:2]) for part in (nearest.astype(np.int64), apart))
    unsure = apart > SURE
    if unsure.any() and not unsure.all() and not has_soft_edges(pair):
        labels = _decided(frame, colours, labels, unsure)
    return colours[labels]


def has_soft_edges(pair: Pair) -> bool:
    """Whether most colours of two keys are isolated, as those of anti-aliased edges: rarely beside pixels of equal
    colour."""
    beside: list[NDArray[np.bool_]] = []
    for key in map(_packed, pair):
        own = np.zeros(key.shape, np.bool_)
        for one, other in (
            ((slice(1, None),), (slice(-1),)),
            ((slice(None), slice(1, None)), (slice(None), slice(-1))),
        ):
            same = key[one] == key[other]
            own[one] |= same
            own[other] |= same
        beside.append(own.ravel())
    _, places = np.unique(np.concatenate([_packed(key).ravel() for key in pair]), return_inverse=True)
    shares = np.bincount(places, weights=np.concatenate(beside)) / np.bincount(places)
    return bool(np.median(shares) < 0.5)


def _decided(
    frame: NDArray[np.uint8], colours: NDArray[np.uint8], labels: NDArray[np.int64], unsure: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Labels (H, W); uncertain pixels get the nearest of the certain labels around them."""
    rows, columns = np.nonzero(unsure)
    own, weighed = _weighed(frame[rows, columns]), _weighed(colours)
    known = np.pad(np.where(unsure, -1, labels), REACH, constant_values=-1)
    best, chosen = np.full(len(rows), np.inf), labels[rows, columns]
    for down in range(2 * REACH + 1):
        for right in range(2 * REACH + 1):
            there = known[rows + down, columns + right]
            apart = np.where(there < 0, np.inf, np.linalg.norm(own - weighed[there], axis=1))
            nearer = apart < best
            best[nearer], chosen[nearer] = apart[nearer], there[nearer]
    decided = labels.copy()
    decided[rows, columns] = chosen
    return decided


def _colours(pair: Pair) -> NDArray[np.uint8]:
    """(N, C): the colours of both keys; of the invisible ones only the most frequent."""
    packed = np.concatenate([_packed(key).ravel() for key in pair])
    found, counts = np.unique(packed, return_counts=True)
    colours = _unpacked(found, pair[0].shape[2])
    if colours.shape[1] == 3:
        return colours
    hidden = colours[:, 3] == 0
    kept = ~hidden
    if hidden.any():
        kept[np.flatnonzero(hidden)[counts[hidden].argmax()]] = True
    return colours[kept]


def _packed(frame: NDArray[np.uint8]) -> NDArray[np.uint32]:
    parts = frame.astype(np.uint32)
    return sum((parts[..., k] << np.uint32(8 * k) for k in range(frame.shape[2])), np.zeros(frame.shape[:2], np.uint32))


def _unpacked(colours: NDArray[np.uint32], channels: int) -> NDArray[np.uint8]:
    return np.stack([(colours >> np.uint32(8 * k)) & np.uint32(255) for k in range(channels)], axis=1).astype(np.uint8)


def _weighed(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, C) with premultiplied colour."""
    weighed = colours.astype(np.float64)
    if colours.shape[1] == 4:
        weighed[:, :3] *= weighed[:, 3:] / 255
    return weighed
