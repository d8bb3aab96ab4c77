"""How soft the edges of the keys are, and draw an in-between's edges equally soft.

A drawing that was resampled or blurred has edges wider than a pixel, with ripples where the filter was sharp. The stage
draws edges of one pixel, so that its lines would look darker and wider than the keys'. Each key is drawn from itself,
and the filter that makes the keys of these drawings is found by least squares, as a sum of Gaussian blurs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np

WIDTHS = (1.0, 2.0, 4.0)
"""Standard deviations in subpixels of the blurs."""
REACH = 3
"""Pixels on each side of an edge that the widest blur changes by more than rounding."""
EDGE = 2.0
"""Minimum change in levels by the widest blur for a pixel to count as near an edge."""
MOST = 20_000
"""Number of pixels per key that the filter is fitted to."""
WINDOW = 1600
"""Side in subpixels of the window that a larger board is fitted in."""
TRUSTED = 0.98
"""Share of these that count; the others differ by more than softness, as where a detail is not drawn."""
FAITHFUL = 3.0
"""Mean square in levels up to which the edges are the keys' as they are."""
GAIN = 0.9
"""Maximum share of that error which a filter must leave for the keys to count as soft."""


def softness(drawn: Iterable[np.ndarray], keys: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
    """The weights of the blurs in the filter that makes keys, premultiplied (H, W, 4), of the boards (h, w, 4) on which
    each was drawn from itself; None if their edges are hard."""
    changes, wanted = [], []
    for colours, key in zip(drawn, keys, strict=True):
        change, want = _samples(*_busiest(colours, key))
        if len(want) == 0 or _error(want) <= FAITHFUL:
            return None
        changes.append(change.reshape(-1, len(WIDTHS)))
        wanted.append(want.ravel())
    change, want = np.concatenate(changes), np.concatenate(wanted)
    weights = np.linalg.lstsq(change, want, rcond=None)[0]
    left = np.abs(change @ weights - want)
    near = left <= np.quantile(left, TRUSTED)
    weights = np.linalg.lstsq(change[near], want[near], rcond=None)[0]
    return weights if _error(change @ weights - want) <= GAIN * _error(want) else None


def _busiest(colours: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a board and its key that are large, the window with most edges."""
    height, width = key.shape[:2]
    fine = colours.shape[0] // height
    if colours.shape[0] * colours.shape[1] <= WINDOW**2 or colours.shape[:2] != (height * fine, width * fine):
        return colours, key
    size = min(WINDOW // fine, height), min(WINDOW // fine, width)
    edges = cv2.absdiff(cv2.blur(key, (3, 3)), key).max(2) > EDGE
    total = cv2.integral(edges.astype(np.uint8))
    counts = total[size[0] :, size[1] :] - total[: -size[0], size[1] :]
    counts = counts - total[size[0] :, : -size[1]] + total[: -size[0], : -size[1]]
    top, left = (int(at) for at in np.unravel_index(counts.argmax(), counts.shape))
    here = np.s_[top : top + size[0], left : left + size[1]]
    there = np.s_[top * fine : (top + size[0]) * fine, left * fine : (left + size[1]) * fine]
    return colours[there], key[here]


def softened(colours: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A board, premultiplied (h, w, 4), by the filter of some weights; flat areas keep their colour."""
    made = colours * np.float32(1 - weights.sum())
    for weight, blurred in zip(weights, _blurs(colours), strict=True):
        made += np.float32(weight) * blurred
    alpha = made[..., 3:].clip(0, 255)
    return np.concatenate([made[..., :3].clip(0, alpha), alpha], 2)


def _blurs(colours: np.ndarray) -> list[np.ndarray]:
    return [cv2.GaussianBlur(colours, (0, 0), width) for width in WIDTHS]


def _samples(colours: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At pixels near edges, what each blur changes (N, 4, B), and what the key differs by (N, 4)."""
    wide = cv2.GaussianBlur(colours, (0, 0), WIDTHS[-1])
    edge = (np.maximum.reduce(cv2.split(cv2.absdiff(wide, colours))) > EDGE).astype(np.uint8)
    height, width = key.shape[:2]
    ys, xs = np.nonzero(cv2.resize(edge, (width, height), interpolation=cv2.INTER_NEAREST))
    step = max(1, math.ceil(len(ys) / MOST))
    ys, xs = ys[::step], xs[::step]
    made = _at(colours, ys, xs, key.shape)
    want = key[ys, xs] - made
    if len(want) == 0 or _error(want) <= FAITHFUL:
        return np.zeros((*want.shape, len(WIDTHS)), np.float32), want
    return np.stack([_at(blurred, ys, xs, key.shape) - made for blurred in _blurs(colours)], -1), want


def _at(board: np.ndarray, ys: np.ndarray, xs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels (N, 4) of a board in a picture of a shape, as `Stage.frame` makes it."""
    height, width = shape[:2]
    if width < board.shape[1]:
        return cv2.resize(board, (width, height), interpolation=cv2.INTER_AREA)[ys, xs]
    x = (xs + 0.5) * (board.shape[1] / width) - 0.5
    y = (ys + 0.5) * (board.shape[0] / height) - 0.5
    places = x.astype(np.float32)[None], y.astype(np.float32)[None]
    return cv2.remap(board, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


def _error(difference: np.ndarray) -> float:
    """Mean square of differences without the largest."""
    squares = np.sort((difference**2).ravel())
    return float(squares[: max(1, int(TRUSTED * len(squares)))].mean())
