"""Two-layer drawing of pictures with flat-coloured figures over a textured or painted background.

Each key is split into two layers: the figures, with a matte, and the background without them. Figures move by their
parts, the background is drawn by the model, and the figures are composited over it. Areas of one colour up to an edge,
with the lines around them, are figure; the matte of a pixel between figure and background follows from its colour.
Where a figure covers the background, the other key's background is used if it is static, otherwise it is filled from
its surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .by_parts import frames_by_parts
from .drawn import Pair
from .keys import bled_colour

EVEN = 4
"""Maximum difference in levels between a pixel and its eight neighbours in an area."""
ONE_COLOUR = 3.0
"""Maximum standard deviation in levels of an area of one colour; gradients and texture have more."""
LEAST_AREA = 3e-4
"""Minimum share of the picture of an area."""
WITHIN = 16
"""Maximum difference in levels between an adjacent pixel and its area or line."""
LINE_REACH = 4
"""Maximum distance in pixels of a line from its area."""
INK_SHARE = 0.15
"""Minimum share of a line's colour among the pixels around the areas."""
INK_APART = 48
"""Minimum difference in levels of a line from all areas of other colours; closer ones are edges."""
LEAST, MOST = 0.01, 0.9
"""Allowed share of a picture covered by figures."""
STILL = 2.0
"""Maximum mean difference in levels of a static background between the keys."""

Plane = NDArray[np.uint8]
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Layers:
    """A gap in two layers.

    Args:
        figures: in-betweens of the figures by their parts, RGBA (H, W, 4) each.
        grounds: the keys' backgrounds without figures, RGB (H, W, 3) each.
    """

    figures: list[Plane]
    grounds: Pair

    def joined(self, grounds: Sequence[Plane]) -> list[Plane]:
        """The figures composited over in-betweens of the backgrounds."""
        return [over(figure, ground) for figure, ground in zip(self.figures, grounds, strict=True)]


def in_layers(pair: Pair, shares: Sequence[float]) -> Layers | None:
    """Two keys, uint8 (H, W, 3 or 4), whose figures are drawn by their parts at shares in (0, 1); None if there are
    no flat figures over another background, if parts do not explain them, and for transparent keys."""
    found = split(pair)
    if found is None:
        return None
    figures, grounds = found
    frames = frames_by_parts(figures, shares)
    return None if frames is None else Layers(frames, grounds)


def split(pair: Pair) -> tuple[Pair, Pair] | None:
    """Two opaque keys, uint8 (H, W, 3), as figures, (H, W, 4) each, and backgrounds, (H, W, 3) each.

    None if they are not flat figures over a painted background.
    """
    if pair[0].shape[2] != 3 or min(pair[0].shape[:2]) < 16:
        return None
    solid = []
    for key in pair:
        solid.append(_solid(key))
        if not LEAST <= float(solid[-1].mean()) <= MOST:
            return None
    figures = matted(pair[0], solid[0]), matted(pair[1], solid[1])
    return figures, _grounds(pair, figures)


def over(figure: Plane, ground: Plane) -> Plane:
    """A figure (H, W, 4) composited over a background (H, W, 3)."""
    matte = figure[..., 3:].astype(np.float32) / 255
    return np.rint(figure[..., :3] * matte + ground * (1 - matte)).astype(np.uint8)


def _solid(key: Plane) -> NDArray[np.bool_]:
    """(H, W): areas of one colour, and the lines around them."""
    areas, means = _areas(key)
    if not areas.any():
        return areas
    whole = areas | _lines(key, areas, means)
    return cv2.morphologyEx(whole.astype(np.uint8), cv2.MORPH_CLOSE, _SQUARE).astype(bool)


def areas_of_one_colour(key: Plane) -> NDArray[np.bool_]:
    """(H, W): areas of one colour, up to their edges, of a picture (H, W, 3)."""
    return _areas(key)[0]


def _areas(key: Plane) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Areas of one colour, and the colour of each, (N, 3)."""
    even = cv2.subtract(cv2.dilate(key, _SQUARE), cv2.erode(key, _SQUARE)).max(axis=2) <= EVEN
    count, labels, stats, _ = cv2.connectedComponentsWithStats(even.astype(np.uint8), connectivity=4)
    sizes = np.maximum(stats[:, cv2.CC_STAT_AREA], 1).astype(np.float64)
    means, deviations = _of_components(key, labels, count, sizes)
    good = (deviations.max(axis=1) <= ONE_COLOUR) & (sizes >= max(6, LEAST_AREA * even.size))
    good[0] = False  # the non-uniform rest
    areas = good[labels]
    return (_grown(key, areas) if areas.any() else areas), means[good]


def _of_components(
    key: Plane, labels: NDArray[np.int32], count: int, sizes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of every component's colour, (N, 3) each."""
    flat, places = key.reshape(-1, 3).astype(np.float64), labels.ravel()
    means = np.stack([np.bincount(places, flat[:, k], count) for k in range(3)], axis=1) / sizes[:, None]
    squares = np.stack([np.bincount(places, flat[:, k] ** 2, count) for k in range(3)], axis=1) / sizes[:, None]
    return means, np.sqrt(np.maximum(squares - means**2, 0))


def _grown(key: Plane, areas: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Areas extended by adjacent pixels of their colour."""
    near = colour_of_nearest(key, areas)
    ring = cv2.dilate(areas.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    return areas | (ring & (np.abs(key.astype(np.int16) - near).max(axis=2) <= WITHIN))


def _lines(key: Plane, areas: NDArray[np.bool_], colours: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels around the areas whose colour is a line colour."""
    size = 2 * LINE_REACH + 1
    band = cv2.dilate(areas.astype(np.uint8), np.ones((size, size), np.uint8)).astype(bool) & ~areas
    beside = cv2.dilate(areas.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & ~areas
    found = key[beside].astype(np.int32)
    out = np.zeros_like(areas)
    codes, counts = np.unique(found // 32 @ np.array([64, 8, 1]), return_counts=True)
    for code in codes[np.argsort(-counts)[:3]]:
        own = found[found // 32 @ np.array([64, 8, 1]) == code]
        ink = np.median(own, axis=0)
        if WITHIN < np.abs(colours - ink).max(axis=1).min() < INK_APART:
            continue
        if (np.abs(found - ink).max(axis=1) <= WITHIN).mean() < INK_SHARE:
            continue
        out |= band & (np.abs(key - ink).max(axis=2) <= 2 * WITHIN)
    return out


def matted(key: Plane, solid: NDArray[np.bool_]) -> Plane:
    """The figures of a key, (H, W, 4): opaque where solid, with a matte from the colour in the ring around."""
    inner = solid.astype(np.uint8)
    ring = cv2.dilate(inner, np.ones((3, 3), np.uint8)).astype(bool) & ~solid
    outside = ~cv2.dilate(inner, np.ones((5, 5), np.uint8)).astype(bool)
    front = colour_of_nearest(key, solid).astype(np.float32)
    back = colour_of_nearest(key, outside).astype(np.float32) if outside.any() else front
    way = front - back
    share = ((key - back) * way).sum(axis=2) / np.maximum((way**2).sum(axis=2), 1.0)
    matte = np.where(solid, 1.0, np.where(ring, share.clip(0, 1), 0.0))
    colour = np.where(solid[..., None], key, front)
    colour[matte == 0] = 0
    return np.dstack([colour, np.rint(matte * 255)]).astype(np.uint8)


def colour_of_nearest(key: Plane, where: NDArray[np.bool_]) -> NDArray[np.int16]:
    """(H, W, 3): the colour of the nearest pixel of a mask, which must have one."""
    _, index = cv2.distanceTransformWithLabels(
        (~where).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros((int(index.max()) + 1, 3), np.int16)
    table[index[where]] = key[where]
    return table[index]


def _grounds(pair: Pair, figures: Pair) -> Pair:
    """The keys' backgrounds without figures."""
    hidden = [cv2.dilate((one[..., 3] > 0).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) for one in figures]
    both = ~hidden[0] & ~hidden[1]
    still = both.any() and np.abs(pair[0][both].astype(np.int16) - pair[1][both]).mean() <= STILL
    out = []
    for own, other in ((0, 1), (1, 0)):
        ground, left = pair[own].copy(), hidden[own].copy()
        if still:
            shown = hidden[own] & ~hidden[other]
            ground[shown], left[shown] = pair[other][shown], False
        out.append(bled_colour(np.dstack([ground, np.where(left, 0, 255).astype(np.uint8)])))
    return out[0], out[1]
