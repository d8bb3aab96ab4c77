"""Detect scene cuts: one drawing matches little of the previous one, abruptly.

Optical flow and colour measure the dissimilarity of two drawings. A fast figure, a panel that slides in or a background
that changes its colour also makes them dissimilar; but then adjacent drawings are dissimilar as well, or the edges
stay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Small = NDArray[np.uint8]
"""A downscaled picture, (h, 128, 3)."""

_ACROSS = 128  # width in pixels for comparing scenes
_CUT = 0.08  # minimum dissimilarity of a cut
_FAR, _ASTRAY = 24, 2.0  # colour difference in levels of 255 and flow error in pixels of a lost pixel
_STANDS_OUT = 3.0  # minimum ratio of a cut to adjacent steps; otherwise it is part of a movement
_NEAR = 2  # maximum distance in frames of adjacent steps
_EDGE = 60.0  # minimum gradient (Sobel, levels of 255) of an edge pixel
_FEW_EDGES = 0.005  # minimum share of edge pixels for using edges
_ALIGNED = 0.8  # minimum cosine of the gradients of one edge
_STAY = 0.5  # minimum share of persistent edges without a cut


def is_cut(step: float, *, before: tuple[float, int] | None, after: tuple[float, int] | None) -> bool:
    """Whether a scene begins with a drawing.

    Args:
        step: dissimilarity to the previous drawing (`unlikeness`).
        before, after: the adjacent steps, and their distance in frames.
    """
    beside = [other for other, frames in filter(None, (before, after)) if frames <= _NEAR]
    return step > _CUT and step > _STANDS_OUT * max(beside, default=0.0)


def reduced(pixels: NDArray[np.uint8]) -> Small:
    """A picture (H, W, 3) downscaled for `unlikeness`."""
    import cv2

    height, width = pixels.shape[:2]
    size = (_ACROSS, max(16, round(height * _ACROSS / width)))
    return cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def unlikeness(first: Small, second: Small) -> float:
    """Dissimilarity of two drawings, 0 to 1: the share of lost pixels times the share of changed colours; 0 if most
    edges of both persist."""
    if first.shape != second.shape:
        return 1.0
    unlike = _lost(first, second) * _recoloured(first, second)
    return 0.0 if unlike > _CUT and _edges_stay(first, second) else unlike


def _lost(first: Small, second: Small) -> float:
    """The share of pixels without a consistent match by optical flow."""
    import cv2

    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second)]
    forth, back = solver.calc(grey[0], grey[1], None), solver.calc(grey[1], grey[0], None)
    astray = np.linalg.norm(forth + _along(back, forth), axis=2) > _ASTRAY
    other = np.abs(_along(second, forth).astype(int) - first).max(axis=2) > _FAR
    # In flat colour the flow is arbitrary: pixels with an unchanged colour in place are not lost.
    moved = np.abs(second.astype(int) - first).max(axis=2) > _FAR
    return float(((astray & moved) | other).mean())


def _along(picture: NDArray, flow: NDArray[np.float32]) -> NDArray:
    import cv2

    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    places = x + flow[..., 0], y + flow[..., 1]
    return cv2.remap(picture, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _recoloured(first: Small, second: Small) -> float:
    """Difference of the colour histograms, 0 to 1."""
    one, other = (_histogram(picture) for picture in (first, second))
    return 1 - float(np.minimum(one, other).sum())


def _histogram(picture: Small) -> NDArray[np.float64]:
    """Histogram of 8 x 8 x 8 colours with linear binning, so that gradual changes stay small."""
    place = picture.reshape(-1, 3) / 32 - 0.5
    low = np.floor(place).astype(int)
    share = place - low
    counts = np.zeros(512)
    for corner in np.ndindex(2, 2, 2):
        bins = np.clip(low + corner, 0, 7) @ (64, 8, 1)
        weight = np.where(np.array(corner) == 1, share, 1 - share).prod(axis=1)
        counts += np.bincount(bins, weight, minlength=512)
    return counts / len(place)


def _edges_stay(first: Small, second: Small) -> bool:
    """Whether most edges of each picture are edges of equal direction and position in the other."""
    slopes = [_slopes(picture) for picture in (first, second)]
    steep = [np.linalg.norm(slope, axis=-1) for slope in slopes]
    edges = [length > _EDGE for length in steep]
    if min(edge.mean() for edge in edges) < _FEW_EDGES:
        return False
    aligned = (slopes[0] * slopes[1]).sum(-1) > _ALIGNED * steep[0] * steep[1]
    both = (edges[0] & edges[1] & aligned).sum()
    return bool(both > _STAY * max(edge.sum() for edge in edges))


def _slopes(picture: Small) -> NDArray[np.float32]:
    """The gradient of the grey picture, (h, w, 2)."""
    import cv2

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.stack([cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)], axis=-1)
