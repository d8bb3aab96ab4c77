"""Lines that are as wide as narrow areas: told from areas by what they bound, not by their width."""

from __future__ import annotations

import cv2
import numpy as np

from .components import filled
from .mixtures import FLAT, KNOWN, shares_in

WIDEST = 2.5
"""Maximum mean distance to the border, in pixels, for a region to be a line."""
LONG = 60.0
"""Minimum size of a line, relative to the square of that distance."""
BOUNDS = 0.65
"""Share of the borders of figures' regions that lines must take."""
PLAIN = 0.7
"""Share of the borders of lines with nothing between them and what they bound: a rim has a line on either side."""
INNER = 0.25
"""Share of the borders of lines that must face such regions: limbs in a line's colour mostly face the background."""
HALF = (1.2, 5.0)
"""Depth in pixels along the middle of a bold line, at least and at most."""
BLOB = 2.5
"""How many times as deep as its lines a region must be for what is there to be an area of its own."""
DEEP = 6.5
"""Minimum depth in pixels of such an area: where lines meet it is deep, too."""


def blobs_apart(components: np.ndarray, inside: np.ndarray, is_area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Regions (H, W) with filled shapes that touch lines of their colour, as hair and tyres, as further regions; and
    the regions (N,) that have lost some, which may be lines.

    `inside` (H, W) are the distances to the regions' borders.
    """
    ridge = (inside >= cv2.dilate(inside, np.ones((3, 3), np.uint8))) & is_area[components]
    own, depth = components[ridge], inside[ridge].astype(np.float64)
    order = np.lexsort((depth, own))
    labels, starts, counts = np.unique(own[order], return_index=True, return_counts=True)
    half = depth[order][starts + counts // 2]
    most = depth[order][starts + counts - 1]
    may = (half >= HALF[0]) & (half <= HALF[1]) & (most > np.maximum(BLOB * half + 1, DEEP))
    parted, lines, count = components.copy(), [], len(is_area)
    for k, middle in zip(labels[may], half[may], strict=True):
        rows, columns = np.nonzero(components == k)
        spot = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        mine, reach = components[spot] == k, BLOB * middle + 0.5
        core = mine & (inside[spot] > reach)
        blob = mine & (cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5) < reach)
        pieces = cv2.connectedComponents(blob.astype(np.uint8), connectivity=4)[1]
        deep = np.unique(pieces[mine & (inside[spot] > DEEP)])
        blob &= np.isin(pieces, deep)
        parted[spot][blob] = count + pieces[blob] - 1
        count += int(pieces.max())
        lines.append(k)
    return parted, np.array(lines, np.int64)


def bold_lines(
    colours: np.ndarray,
    components: np.ndarray,
    means: np.ndarray,
    sizes: np.ndarray,
    depth: np.ndarray,
    is_area: np.ndarray,
) -> np.ndarray:
    """(N,) bool: the areas that are lines.

    `components` (H, W) are regions of one colour of a picture (H, W, 4); per region `means` (N, 4) are the colours,
    `sizes` the pixels, and `depth` the mean distances to the border, pixels.
    """
    found = np.zeros(len(sizes), bool)
    narrow = is_area & (depth <= WIDEST) & (sizes >= LONG * depth**2)
    if not narrow.any():
        return found
    pairs, plain = _borders(colours, components, means, is_area)
    behind = _behind(components, means, is_area)
    left = narrow.copy()
    while left.any():
        first = int(np.argmax(np.where(left, sizes, 0)))
        alike = np.abs(means - means[first]).max(1) <= FLAT
        group = left & alike
        left &= ~group
        apart = ~alike[pairs].all(1)  # not where a filled shape was cut off
        if _bounds(pairs[apart], plain[apart], group, ~behind & ~alike):
            found |= group
    return found


def _borders(
    colours: np.ndarray, components: np.ndarray, means: np.ndarray, is_area: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(M, 2) the two areas of every place where two of them meet, or are nearest to each other; and (M,) bool whether
    the pixels there are mixtures of these two alone."""
    near = filled(np.where(is_area[components], components, -1))
    pairs, plain = [], []
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        met = near[here] != near[there]
        pair = np.stack([near[here][met], near[there][met]], 1)
        left = [shares_in(colours[side][met], means[pair])[1] for side in (here, there)]
        pairs.append(pair)
        plain.append(np.maximum(*left) <= KNOWN)
    return np.concatenate(pairs), np.concatenate(plain)


def _behind(components: np.ndarray, means: np.ndarray, is_area: np.ndarray) -> np.ndarray:
    """(N,) bool: the background, as far as the picture's border tells: areas in the colour of one of its sides."""
    sides = [components[0], components[-1], components[:, 0], components[:, -1]]
    most = {int(np.bincount(side[is_area[side]]).argmax()) for side in sides if is_area[side].any()}
    found = np.zeros(len(means), bool)
    for k in most:
        found |= np.abs(means - means[k]).max(1) <= FLAT
    return found & is_area


def _bounds(pairs: np.ndarray, plain: np.ndarray, group: np.ndarray, figure: np.ndarray) -> bool:
    """Whether regions of one colour bound most of the figures' regions, as lines do."""
    lined = group[pairs].sum(1) == 1
    faced = figure[pairs].any(1)
    inner = int((lined & faced).sum())
    bounds = inner >= INNER * lined.sum() and inner >= BOUNDS * faced.sum() and inner > 0
    return bool(bounds and plain[lined].mean() >= PLAIN)
