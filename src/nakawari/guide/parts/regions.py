"""A key drawing cut into regions of one colour and lines, finer than its pixels.

Anti-aliased pixels are mixtures of the colours round them. Each is taken apart into shares, and its shares are laid
out over `fine` x `fine` subpixels, so that an edge lies where it was drawn to a fraction of a pixel and every
subpixel is of one colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .mixtures import candidates, laid_out, mixtures, shares_in

FLAT = 3.0
"""Neighbours that differ by no more than this many levels belong to one region."""
THIN = 0.9
"""Mean distance to the border, in pixels, up to which a long region is a line."""
HAIR = 0.75
"""The same for any region, however short."""
LINE = 48.0
"""Levels from an ink within which the pixels of a thin line lie, few of which are wholly covered."""


KNOWN = 16.0
"""A mixture explains a colour to within this many levels."""
RINGING = 36.0
"""A colour this near to an area beside it is that area's, overshot by a sharp resampling, not an ink."""
ALIASED = 0.0005
"""Share of mixed pixels below which a drawing is taken for aliased."""
MOST_INKS = 6
MOST_SPECKS = 4
LEAST_SPECK = 3
"""Pixels of both keys that a speck must explain."""
SAMPLED = 1500
"""How many unexplained pixels the inks are found from."""


@dataclass(frozen=True)
class Cel:
    """A key drawing as labels.

    Args:
        fine: subpixels along a pixel's side.
        labels: (H·fine, W·fine) int32; 0 ... areas - 1 are areas, what follows are lines.
        paints: (N, 4) float32, premultiplied RGBA in [0, 255] of every label.
        areas: how many labels are areas.
        known: (H, W) bool, where the shares explain the pixel's colour.
        hard: whether no pixel is a mixture: edges are not anti-aliased.
    """

    fine: int
    labels: np.ndarray
    paints: np.ndarray
    areas: int
    known: np.ndarray
    hard: bool = False

    @property
    def line(self) -> np.ndarray:
        """(H·fine, W·fine) bool: where a line is."""
        return self.labels >= self.areas


def premultiplied(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3 or 4) as float32 (H, W, 4), colour multiplied by alpha, in [0, 255]."""
    flat = pixels.astype(np.float32)
    if flat.shape[2] == 3:
        return np.concatenate([flat, np.full_like(flat[..., :1], 255)], 2)
    flat[..., :3] *= flat[..., 3:] / 255
    return flat


def cut_up(keys: Sequence[np.ndarray], fine: int) -> list[Cel]:
    """The regions and lines of keys of one scene, uint8 (H, W, 3 or 4) each; they share their inks."""
    colours = [premultiplied(key) for key in keys]
    found = [_areas(own) for own in colours]
    known = [paints for _, paints in found]
    found = [_areas(own, np.concatenate(known)) for own in colours]
    support: list[tuple[float, np.ndarray]] = []
    for own, (pure, paints) in zip(colours, found, strict=True):
        left = mixtures(own, pure, len(paints), paints)[2]
        for count, ink in _inks(own, pure, paints, left):
            twin = next((k for k, (_, other) in enumerate(support) if np.abs(other - ink).max() <= KNOWN), None)
            if twin is None:
                support.append((count, ink))
            else:
                support[twin] = (support[twin][0] + count, support[twin][1])
    support.sort(key=lambda item: -item[0])
    inks = _unmixed([ink for _, ink in support], np.concatenate([paints for _, paints in found]))[:MOST_INKS]
    apart = [_Apart.of(own, pure, paints, inks) for own, (pure, paints) in zip(colours, found, strict=True)]
    if len(inks):
        specks = _specks(np.concatenate([own[one.left > KNOWN] for own, one in zip(colours, apart, strict=True)]), inks)
        apart = [one.speckled(own, specks) for own, one in zip(colours, apart, strict=True)]
    return [_cel(one, fine) for one in apart]


@dataclass(frozen=True)
class _Apart:
    """A key's pixels taken apart.

    Args:
        pure: (H, W) the label of pixels of one colour, -1 for the others.
        ids, shares: (H, W, 3) the labels that mix in a pixel (-1 for none), and how much of each.
        left: (H, W) levels that they do not explain.
        paints: (N, 4) of every label.
        areas: how many labels are areas.
    """

    pure: np.ndarray
    ids: np.ndarray
    shares: np.ndarray
    left: np.ndarray
    paints: np.ndarray
    areas: int

    @classmethod
    def of(cls, colours: np.ndarray, pure: np.ndarray, paints: np.ndarray, inks: np.ndarray) -> _Apart:
        areas = len(paints)
        if len(inks):
            paints = np.concatenate([paints, inks])
            rest = pure < 0
            gap = np.abs(colours[rest][:, None] - inks).max(2)
            pure = pure.copy()
            pure[rest] = np.where(gap.min(1) <= 2 * FLAT, areas + gap.argmin(1), -1)
        return cls(pure, *mixtures(colours, pure, areas, paints), paints, areas)

    def speckled(self, colours: np.ndarray, specks: np.ndarray) -> _Apart:
        """The same with what is unexplained taken for specks (N, 4) in the first ink where that explains it."""
        ys, xs = np.nonzero(self.left > KNOWN)
        if len(ys) == 0 or len(specks) == 0:
            return self
        ids, shares = self.ids.copy(), self.shares.copy()
        ink = self.paints[self.areas]
        weights, gaps = zip(*(_in_ink(colours[ys, xs], speck, ink) for speck in specks), strict=True)
        best = np.argmin(gaps, 0)
        weight, gap = (np.stack(values, 1)[np.arange(len(ys)), best] for values in (weights, gaps))
        good = gap < KNOWN / 2
        rows, columns = ys[good], xs[good]
        ids[rows, columns] = np.stack([len(self.paints) + best, np.full(len(ys), self.areas), np.full(len(ys), -1)], 1)[
            good
        ]
        shares[rows, columns] = np.stack([weight, 1 - weight, np.zeros(len(ys))], 1)[good]
        return replace(self, ids=ids, shares=shares, paints=np.concatenate([self.paints, specks]))


def _specks(left: np.ndarray, inks: np.ndarray) -> np.ndarray:
    """The paints (N, 4) of what is too small for a pixel of one colour and lies within lines, as the pupil of an eye.

    `left` are the colours (M, 4) that areas and inks do not explain. A speck is the most foreign of them if it, mixed
    with the first ink, explains another.
    """
    found: list[np.ndarray] = []
    while len(left) >= LEAST_SPECK and len(found) < MOST_SPECKS:
        speck = left[np.argmax(np.abs(left - inks[0]).max(1))]
        own = _in_ink(left, speck, inks[0])[1] < KNOWN / 2
        if own.sum() >= LEAST_SPECK:
            found.append(speck)
        left = left[~own]
    return np.array(found, np.float32).reshape(-1, 4)


def _in_ink(colours: np.ndarray, speck: np.ndarray, ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much of a speck's paint (4,) is in colours (N, 4), the rest ink, and the levels that this leaves."""
    both = np.broadcast_to(np.stack([speck, ink]), (len(colours), 2, 4))
    weight, left = shares_in(colours, both)
    return weight[:, 0], left


def _cel(apart: _Apart, fine: int) -> Cel:
    pure, ids, shares, left, paints, areas = (getattr(apart, one.name) for one in fields(apart))
    labels = laid_out(pure, ids, shares, areas, fine)
    labels = _filled(labels)
    labels, paints, areas = _marks(labels, paints, areas, fine)
    mixed = float((shares.max(2) < 0.98).mean())
    return Cel(fine, labels, paints, areas, left < KNOWN, hard=mixed < ALIASED)


def _filled(labels: np.ndarray) -> np.ndarray:
    """Every subpixel without a label takes the nearest one's; there must be one."""
    lost = labels < 0
    if not lost.any() or lost.all():
        return labels
    _, index = cv2.distanceTransformWithLabels(lost.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(index.max()) + 1, labels.dtype)
    table[index[~lost]] = labels[~lost]
    return table[index]


def _areas(colours: np.ndarray, known: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels of pixels that lie in areas of one colour, -1 elsewhere; the paint of every label.

    `known` are paints (N, 4) of areas of the other keys, too.
    """
    components = _components(colours)
    count = int(components.max()) + 1
    sizes = np.bincount(components.ravel(), minlength=count)
    means = np.stack([np.bincount(components.ravel(), c.ravel(), count) for c in np.moveaxis(colours, 2, 0)], 1)
    means /= sizes[:, None]
    depth = _mean_depth(components, count, sizes)
    whole = _solid(components, count) & (sizes >= 5)
    is_area = whole & ((depth > THIN) | ((depth > HAIR) & (sizes < 100 * depth**2)))
    thin = whole & ~is_area
    # A narrow strip in the colour of an area is a glimpse of such an area, not a line, unless lines own that colour.
    pool = means[is_area] if known is None else np.concatenate([means[is_area], known])
    weight = sizes[is_area] if known is None else np.concatenate([sizes[is_area], np.full(len(known), 40)])
    loose, loose_sizes = means[~is_area], sizes[~is_area]
    for k in np.flatnonzero(thin):
        alike = np.abs(pool - means[k]).max(1, initial=0) <= FLAT
        rivals = np.abs(loose - means[k]).max(1) <= LINE
        if alike.any() and loose_sizes[rivals].sum() < weight[alike].sum():
            is_area[k] = True
    order = np.flatnonzero(is_area)
    table = np.full(count, -1, np.int32)
    table[order] = np.arange(len(order))
    return table[components], means[order].astype(np.float32)


def _inks(
    colours: np.ndarray, pure: np.ndarray, paints: np.ndarray, left: np.ndarray
) -> list[tuple[float, np.ndarray]]:
    """The paints (4,) of lines, with how many pixels each explains.

    They are colours that, mixed with the areas round them, explain most of what areas alone cannot.
    """
    ys, xs = np.nonzero(left > KNOWN)
    step = max(1, len(ys) // SAMPLED)
    ys, xs, far = ys[::step], xs[::step], left[ys, xs][::step]
    round_them = candidates(pure, len(paints), paints, ys, xs)[:, :2]
    pool = colours[ys, xs]
    table = np.concatenate([paints, np.full((1, 4), 1e4, np.float32)])
    near = table[round_them]
    true = np.abs(near - pool[:, None]).max(2).min(1) > RINGING
    pool, near, far = pool[true], near[true], far[true]
    inks: list[tuple[float, np.ndarray]] = []
    while len(inks) < MOST_INKS and len(pool) >= 3:
        tries = _tries(pool, far)
        taken = np.array([ink for _, ink in inks], np.float32).reshape(-1, 4)
        tries = tries[np.abs(tries[:, None] - taken).max(2).min(1, initial=255) > RINGING]
        if len(tries) == 0:
            break
        explained = [_explained(pool, ink, near) for ink in tries]
        best = int(
            np.argmax(
                [
                    found.sum() + 0.2 * (np.abs(pool - ink).max(1) < 1).sum()
                    for ink, found in zip(tries, explained, strict=True)
                ]
            )
        )
        if explained[best].sum() < max(3, 0.003 * len(ys)):
            break
        inks.append((float(explained[best].sum() * step), tries[best]))
        keep = ~explained[best]
        pool, near, far = pool[keep], near[keep], far[keep]
    return inks


def _unmixed(inks: list[np.ndarray], paints: np.ndarray) -> np.ndarray:
    """Inks (N, 4) without those that are a stronger one mixed with an area: a line beside no area."""
    kept: list[np.ndarray] = []
    for ink in inks:
        alone = bool((np.abs(paints - ink).max(1) <= FLAT).any())
        target = np.broadcast_to(ink, paints.shape)
        mixed = any(
            (shares_in(target, np.stack([np.broadcast_to(other, paints.shape), paints], 1))[1] < KNOWN / 2).any()
            for other in kept
        )
        if alone or not mixed:
            kept.append(ink)
    return np.array(kept, np.float32).reshape(-1, 4)


def _tries(pool: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Colours that may be an ink: the commonest, the most foreign and the darkest of those unexplained."""
    values, counts = np.unique(np.rint(pool).astype(np.int32), axis=0, return_counts=True)
    common = values[np.argsort(-counts, kind="stable")[:8]]
    dark = pool[np.argsort(pool[:, :3].sum(1) - pool[:, 3] * 3, kind="stable")[:2]]
    return np.concatenate([common, pool[np.argsort(-far, kind="stable")[:4]], dark]).astype(np.float32)


def _explained(pool: np.ndarray, ink: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Which colours (N, 4) the ink makes, alone or mixed with one or both of the areas (N, 2, 4) round them."""
    inks = np.broadcast_to(ink, (len(pool), 1, 4))
    found = np.zeros(len(pool), bool)
    for areas in (near[:, :1], near[:, 1:], near):
        weight, left = shares_in(pool, np.concatenate([inks, areas], 1))
        found |= (left < KNOWN / 2) & (weight[:, 0] > 0.05)
    return found


def _marks(labels: np.ndarray, paints: np.ndarray, areas: int, fine: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Patches of an ink that are no part of the network of lines become areas: an eye, a spoke, a narrow limb.

    The first ink draws the lines if what it draws is thin; of every other ink, and of a first one that is not thin,
    each patch is an area.
    """
    fresh: list[np.ndarray] = []
    taken = np.full(labels.shape, -1, np.int32)
    for ink in range(areas, len(paints)):
        mask = (labels == ink).astype(np.uint8)
        # A thin line may be laid out with gaps: its pieces are one patch.
        whole = cv2.dilate(mask, np.ones((fine // 2 * 2 + 1,) * 2, np.uint8))
        count, patches, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=4)
        patches[mask == 0] = 0
        stats[:, cv2.CC_STAT_AREA] = np.bincount(patches.ravel(), minlength=count)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
        mean = np.bincount(patches.ravel(), depth.ravel(), count) / np.maximum(stats[:, cv2.CC_STAT_AREA], 1) / fine
        for k in range(1, count):
            size = stats[k, cv2.CC_STAT_AREA] / fine**2
            network = ink == areas and (mean[k] <= THIN + 0.2 and size > 60 * mean[k] ** 2)
            if size >= 4 and not network and mean[k] > 0.3:
                x, y, width, height = stats[k, :4]
                spot = np.s_[y : y + height, x : x + width]
                taken[spot][patches[spot] == k] = areas + len(fresh)
                fresh.append(paints[ink])
    if not fresh:
        return labels, paints, areas
    moved = np.where(labels >= areas, labels + len(fresh), labels)
    labels = np.where(taken >= 0, taken, moved)
    paints = np.concatenate([paints[:areas], np.array(fresh, np.float32), paints[areas:]])
    return labels, paints, areas + len(fresh)


def _components(colours: np.ndarray) -> np.ndarray:
    height, width = colours.shape[:2]
    index = np.arange(height * width).reshape(height, width)
    across = np.abs(np.diff(colours, axis=1)).max(2) <= FLAT
    down = np.abs(np.diff(colours, axis=0)).max(2) <= FLAT
    first = np.concatenate([index[:, :-1][across], index[:-1][down]])
    last = np.concatenate([index[:, 1:][across], index[1:][down]])
    graph = coo_matrix((np.ones(len(first), bool), (first, last)), shape=(index.size, index.size))
    return connected_components(graph, directed=False)[1].reshape(height, width)


def _solid(components: np.ndarray, count: int) -> np.ndarray:
    """Which components hold a 2 x 2 block, or a straight run of three."""
    c = components
    block = c[:-1, :-1][(c[:-1, :-1] == c[1:, 1:]) & (c[:-1, :-1] == c[:-1, 1:]) & (c[:-1, :-1] == c[1:, :-1])]
    rows = c[:, 1:-1][(c[:, :-2] == c[:, 1:-1]) & (c[:, 1:-1] == c[:, 2:])]
    columns = c[1:-1][(c[:-2] == c[1:-1]) & (c[1:-1] == c[2:])]
    found = np.zeros(count, bool)
    for kind in (block, rows, columns):
        found[kind] = True
    return found


def _mean_depth(components: np.ndarray, count: int, sizes: np.ndarray) -> np.ndarray:
    """Mean distance of a component's pixels to what is not in it."""
    c = np.pad(components, 1, mode="edge")
    edge = np.zeros(components.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge |= c[dy : dy + edge.shape[0], dx : dx + edge.shape[1]] != components
    inside = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3) + 0.5
    return np.bincount(components.ravel(), inside.ravel(), count) / sizes
