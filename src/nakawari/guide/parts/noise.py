"""Read drawings that were compressed with losses, as JPEG or video, without the noise that this leaves beside edges."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from .filters import STEEP
from .flat import REACH, insides, spread_of
from .regions import Cel, premultiplied

UNEVEN = 10
"""Maximum difference in levels of such noise. The edge between two tones of a colour differs by more."""
BLOCK = 8
"""Pixels from an edge within which there is noise."""
LEVELS = ((0.25, 24.0), (0.05, 16.0))
"""Minimum share of uneven pixels beside edges -> levels that may be noise. On 36 own figures it was at most .001 as
drawn, .01 to .32 as JPEG of quality 95, .07 to .24 of quality 85, and .22 to .65 of quality 75 with half the colour."""
ENOUGH = 30
"""Minimum number of pixels inside an area from which its colour is told."""


def noise_of(picture: np.ndarray) -> float:
    """By how many levels the noise of lossy compression beside the edges of a drawing, uint8 (H, W, 3 or 4), changes
    its flat areas; 0 without such noise, as in drawings that a program made."""
    spread = spread_of(np.rint(premultiplied(picture)).astype(np.uint8))  # what is under transparency is not seen
    edge = (spread > STEEP).astype(np.uint8)
    near, beside = (cv2.dilate(edge, np.ones((2 * away + 1,) * 2, np.uint8)) > 0 for away in (REACH, BLOCK))
    beside &= ~near
    uneven = float(((spread > 0) & (spread <= UNEVEN))[beside].mean()) if beside.any() else 0.0
    return next((levels for least, levels in LEVELS if uneven >= least), 0.0)


def repainted(cel: Cel, key: np.ndarray) -> Cel:
    """The segments of a key with the colours that it shows, premultiplied (H, W, 4): the median inside each area of
    at least `ENOUGH` pixels. Where noise was taken out, colours on both sides of a faint edge were averaged."""
    centre, whole = insides(cel)
    paints = cel.paints.copy()
    for area, count in zip(*np.unique(centre[whole], return_counts=True), strict=True):
        if count >= ENOUGH:
            paints[area] = np.median(key[whole & (centre == area)], axis=0)
    return replace(cel, paints=paints)
