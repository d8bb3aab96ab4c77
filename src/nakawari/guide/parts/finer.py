"""The labels of a key at a finer grid: parts are matched in small copies of large keys, and drawn with the edges of the
keys themselves."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from .filters import STEEP
from .regions import Cel

MOST = 9_000_000
"""Maximum number of subpixels of a board."""
DENSE = 2
"""Subpixels along a pixel's side of a large key, if they are not too many."""
AROUND = 3
"""Distance in subpixels of the small copy within which an edge of the large key lies."""
SEVERAL = 4
"""Number of labels that may meet at one place."""
PAIRS = ((0, 1), (0, 2), (1, 2), (0, 3))
"""Which of them, by distance, may be mixed in a pixel."""
BETTER = 8.0
"""Levels by which such a pair must explain a pixel better than an earlier one."""
SAMPLED = 10_000
"""Number of pixels beside edges at which a key is compared with its copy."""
MOSTLY = 0.9
"""Share of the pixels beside edges where a magnified key is nearly its small copy, enlarged."""
SHARPER = 22.0
"""By how many levels others differ: a key of 1280 x 800 made larger from 320 x 200 by 16 to 19, from 640 x 400 by 29 or
more, and one drawn at that size by 60 or more."""
MIXED = 0.005
"""Minimum share of such pixels that equal none of their neighbours in an anti-aliased key: 0 in aliased keys, .02 and
more in others."""
ROWS = 256
"""Rows of the board that are looked at together."""


def fineness_for(small: tuple[int, int], times: int) -> int:
    """Subpixels along a pixel's side of a copy, (height, width), that is `times` smaller than its key."""
    pixels = small[0] * small[1]
    return next(
        (k * times for k in range(DENSE, 0, -1) if pixels * (k * times) ** 2 <= MOST), int((MOST / pixels) ** 0.5)
    )


def is_magnified(key: np.ndarray, small: np.ndarray) -> bool:
    """Whether a key, premultiplied (H, W, 4), shows no more than its small copy, as one that was made larger."""
    y, x = _beside_edges(key, small)
    if len(y) == 0:
        return True
    (height, width), (high, wide) = key.shape[:2], small.shape[:2]
    places = (x + 0.5) * (wide / width) - 0.5, (y + 0.5) * (high / height) - 0.5
    columns, rows = (at.astype(np.float32) for at in places)
    there = cv2.remap(small, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    off = np.abs(there.reshape(-1, 4) - key[y, x]).max(1)
    return float(np.quantile(off, MOSTLY)) < SHARPER


def is_aliased(key: np.ndarray, small: np.ndarray) -> bool:
    """Whether a key, premultiplied (H, W, 4), has edges without mixed pixels."""
    y, x = _beside_edges(key, small)
    padded = np.pad(key, ((1, 1), (1, 1), (0, 0)), mode="edge")
    lone = np.ones(len(y), bool)
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        lone &= np.abs(padded[y + 1 + dy, x + 1 + dx] - key[y, x]).max(1) >= 1
    return len(y) == 0 or float(lone.mean()) < MIXED


def _beside_edges(key: np.ndarray, small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a key's pixels in the middle of those of its copy beside edges, a sample of them."""
    spread = np.maximum.reduce(cv2.split(cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))))
    ys, xs = np.nonzero(spread > STEEP)
    step = max(1, math.ceil(len(ys) / SAMPLED))
    (height, width), (high, wide) = key.shape[:2], small.shape[:2]
    return (2 * ys[::step] + 1) * height // (2 * high), (2 * xs[::step] + 1) * width // (2 * wide)


def finer(cel: Cel, owners: np.ndarray, key: np.ndarray, fine: int) -> tuple[Cel, np.ndarray]:
    """A key's labels with `fine` subpixels along a pixel's side of its small copy, and the part that owns each.

    Args:
        cel: of the small copy; `owners` (H·cel.fine, W·cel.fine) of its subpixels.
        key: the large key, premultiplied float32 (H, W, 4).
    """
    seen = cel.shown
    height, width = (side // cel.fine * fine for side in seen.shape)
    places = np.empty((height, width), np.int32)
    table, choices = _choices(seen)
    y, x = ((2 * np.arange(size) + 1) * cel.fine // (2 * fine) for size in (height, width))
    for rows in (slice(top, min(top + ROWS, height)) for top in range(0, height, ROWS)):
        place = (y[rows, None] * seen.shape[1] + x).astype(np.int32)
        number = table.ravel()[place]
        edge = np.nonzero(number >= 0)
        colours = _band(key, rows, (height, width))[edge]
        place[edge] = _chosen(colours, choices[number[edge]], seen.ravel(), cel.paints)
        places[rows] = place
    within = None if cel.within is None else cel.within.ravel()[places]
    return replace(cel, fine=fine, labels=cel.labels.ravel()[places], within=within), owners.ravel()[places]


def _choices(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where labels meet: (H, W) a number per place, -1 inside a region; and per number, (N, SEVERAL) the places of the
    labels around, the nearest first, -1 for none."""
    square = np.ones((2 * AROUND + 1,) * 2, np.uint8)
    values = labels.astype(np.float32)
    ys, xs = np.nonzero(cv2.dilate(values, square) != cv2.erode(values, square))
    table = np.full(labels.shape, -1, np.int32)
    table[ys, xs] = np.arange(len(ys))
    height, width = labels.shape
    found, known = np.full((len(ys), SEVERAL), -1, np.int32), np.full((len(ys), SEVERAL), -1, labels.dtype)
    for dy, dx in _steps():
        row, column = (ys + dy).clip(0, height - 1), (xs + dx).clip(0, width - 1)
        label, new = labels[row, column], np.ones(len(ys), bool)
        for slot in range(SEVERAL):
            here = new & (known[:, slot] < 0)
            known[here, slot], found[here, slot] = label[here], (row * width + column)[here]
            new &= known[:, slot] != label
    return table, found


def _steps() -> list[tuple[int, int]]:
    steps = [(dy, dx) for dy in range(-AROUND, AROUND + 1) for dx in range(-AROUND, AROUND + 1)]
    return sorted((s for s in steps if s[0] ** 2 + s[1] ** 2 <= AROUND**2), key=lambda s: s[0] ** 2 + s[1] ** 2)


def _band(key: np.ndarray, rows: slice, shape: tuple[int, int]) -> np.ndarray:
    """Rows of a key (H, W, 4) that is resized to a shape (height, width)."""
    y = (np.arange(rows.start, rows.stop) + 0.5) * (key.shape[0] / shape[0]) - 0.5
    x = (np.arange(shape[1]) + 0.5) * (key.shape[1] / shape[1]) - 0.5
    grid = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return cv2.remap(key, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _chosen(colours: np.ndarray, choices: np.ndarray, labels: np.ndarray, paints: np.ndarray) -> np.ndarray:
    """(N,) of the places (N, SEVERAL) the one whose paint takes most of a colour (N, 4)."""
    table = np.concatenate([paints, np.full((1, 4), 1e4, np.float32)])
    own = table[np.where(choices >= 0, labels[choices], len(paints))]
    best, least = choices[:, 0].copy(), np.full(len(colours), np.inf, np.float32)
    for a, b in PAIRS:
        one, two = own[:, a], own[:, b]
        way = two - one
        length = np.maximum((way**2).sum(1), 1e-3)
        share = (((colours - one) * way).sum(1) / length).clip(0, 1)
        off = np.abs(colours - one - share[:, None] * way).max(1)
        off[choices[:, b] < 0] = np.inf
        better = off < least - BETTER
        least[better] = off[better]
        best[better] = np.where(share > 0.5, choices[:, b], choices[:, a])[better]
    return best
