"""A fast test of pixel statistics whether a picture may be a flat-colour drawing."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .regions import Cel

EVEN = 3
"""Maximum difference in levels between a pixel and its eight neighbours in a flat area."""
LEAST = 0.35
"""Minimum share of pixels in flat areas; textured footage has less."""
COARSE = 8
"""Quantisation step in levels for counting colours."""
MOST_COLOURS = 48
"""Maximum number of colours of the flat areas; gradients have more."""
COVERED = 0.95
"""Share of the flat areas that these colours must cover."""

CLEAN = 0.9998
"""Minimum share of the pixels inside flat areas that equal the eight around them. In drawings all do; in film and JPEG
at most .9996 did."""
SHADE = 6.0
"""Levels from its area's colour from which a pixel is shaded."""
INSIDE = np.ones((5, 5), np.uint8)
"""The neighbourhood of one area inside which a pixel is not mixed with others."""
FILLS = 0.05
"""Pixels of areas in further colours than the paper's that a line drawing may have, relative to those of its lines."""
REACH = 3
"""Pixels from an edge within which a filter that resizes pictures leaves ripples."""


def is_flat(picture: np.ndarray) -> bool:
    """Whether uint8 (H, W, 3 or 4) may consist of a few flat colours. Two pictures of 1920 x 1080 take 0.25 s."""
    even = spread_of(picture) <= EVEN
    if even.mean() < LEAST:
        return False
    coarse = picture[even].astype(np.int64) // COARSE
    codes = coarse @ (256 ** np.arange(picture.shape[2]))
    counts = np.sort(np.unique(codes, return_counts=True)[1])[::-1]
    return bool(counts[:MOST_COLOURS].sum() >= COVERED * counts.sum())


def is_clean(picture: np.ndarray, coarse: int = 1) -> bool:
    """Whether the flat areas of uint8 (H, W, 3 or 4) are exactly of one colour, as drawn by a program and not filmed,
    scanned or compressed with losses. Transparent pixels do not count, nor do those near an edge.

    Args:
        coarse: pixels per pixel, along each side, of the smallest picture that this one may be an enlargement of.
    """
    spread = spread_of(picture)
    even = spread <= EVEN
    if picture.shape[2] == 4:
        even &= picture[..., 3] > 0
    near = 2 * REACH * coarse - 1  # a pixel's neighbours are part of its spread
    inside = cv2.erode(even.astype(np.uint8), np.ones((near, near), np.uint8), borderValue=1).astype(bool)
    return not inside.any() or bool((spread[inside] == 0).mean() >= CLEAN)


def shaded(keys: Sequence[np.ndarray], cels: Sequence[Cel]) -> float:
    """The share of the pixels inside areas that are not of their area's one colour, as in gradients; 0 ... 1, the mean
    of two keys, premultiplied (H, W, 4). Only what changes counts."""
    changed = (keys[0] != keys[1]).any(2)
    shares = []
    for key, cel in zip(keys, cels, strict=True):
        centre, whole = insides(cel)
        counted = changed & whole
        off = np.abs(key - cel.paints[centre]).max(2) >= SHADE
        shares.append(float(off[counted].mean()) if counted.any() else 0.0)
    return float(np.mean(shares))


def is_line_drawing(cel: Cel) -> bool:
    """Whether a key's areas are of one colour, that of the paper, but for small ones."""
    sizes = np.bincount(cel.labels.ravel(), minlength=len(cel.paints))
    paper = cel.paints[np.argmax(sizes[: cel.areas])]
    fills = sizes[: cel.areas][np.abs(cel.paints[: cel.areas] - paper).max(1) > SHADE].sum()
    return bool(fills <= FILLS * sizes[cel.areas :].sum())


def insides(cel: Cel) -> tuple[np.ndarray, np.ndarray]:
    """The label of every pixel (H, W), and where it and all around it are of one area."""
    centre = cel.labels[cel.fine // 2 :: cel.fine, cel.fine // 2 :: cel.fine]
    labels = centre.astype(np.float32)
    whole = cv2.dilate(labels, INSIDE) == cv2.erode(labels, INSIDE)
    return centre, whole & (centre < cel.areas) & (centre >= 0)


def spread_of(picture: np.ndarray) -> np.ndarray:
    """(H, W): levels by which each pixel and the eight around it differ, in the channel where they differ most."""
    square = np.ones((3, 3), np.uint8)
    return cv2.subtract(cv2.dilate(picture, square), cv2.erode(picture, square)).max(2)
