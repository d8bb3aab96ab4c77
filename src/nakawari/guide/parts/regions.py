"""Segment a key drawing into regions of one colour and lines, with subpixel resolution.

Anti-aliased pixels are mixtures of the surrounding colours. Each is unmixed into shares, which are distributed
over `fine` x `fine` subpixels, so that edges have subpixel accuracy and every
subpixel has one colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from .bold import LONG, WIDEST, blobs_apart, bold_lines
from .components import components_of, depths, filled, solid
from .discs import Disc
from .filters import LEFT, MEAN, Filter, averaged, calmed, filter_of, rings
from .inks import MOST_INKS, RINGING, Ink, in_ink, inks_in, specks_in, unmixed
from .lines import APART, lined, lines_in
from .mixtures import FLAT, KNOWN, laid_out, mixtures
from .strips import strips

THIN = 0.9
"""Maximum mean distance to the border, in pixels, for a long region to be a line."""
HAIR = 0.75
"""The same for any region, however short."""
LINE = 48.0
"""Tolerance in levels for pixels of a thin line, few of which are fully covered by its ink."""


AGAIN = 2
"""How often keys that were scaled down by a sharp filter are segmented again."""
ALIASED = 0.0005
"""A drawing with a smaller share of mixed pixels counts as aliased."""


@dataclass(frozen=True)
class Cel:
    """A key drawing as labels.

    Args:
        fine: subpixels along a pixel's side.
        labels: (H·fine, W·fine) int32; 0 ... areas - 1 are areas, higher ones are lines.
        paints: (N, 4) float32, premultiplied RGBA in [0, 255] of every label.
        areas: number of labels that are areas.
        known: (H, W) bool, where the shares explain the pixel's colour.
        colours: (H, W, 4) float32, the pixels that were cut up, premultiplied.
        bold: whether lines are as wide as narrow areas.
        hard: whether edges are not anti-aliased.
        way: the filter that makes the key's pixels of subpixels.
        wheels: areas that are wheels, with all that is in them.
        shaded: areas of several paints.
        within: the labels of what is in wheels and shaded areas, too; None if there are none.
    """

    fine: int
    labels: np.ndarray
    paints: np.ndarray
    areas: int
    known: np.ndarray
    colours: np.ndarray
    bold: bool = False
    hard: bool = False
    way: Filter = MEAN
    wheels: Mapping[int, Disc] = field(default_factory=dict)
    shaded: frozenset[int] = frozenset()
    within: np.ndarray | None = None

    @property
    def shown(self) -> np.ndarray:
        """(H·fine, W·fine) the labels of all that is drawn."""
        return self.labels if self.within is None else self.within

    @property
    def line(self) -> np.ndarray:
        """(H·fine, W·fine) bool: the lines."""
        return self.labels >= self.areas


def premultiplied(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3 or 4) as float32 (H, W, 4), colour multiplied by alpha, in [0, 255]."""
    flat = pixels.astype(np.float32)
    if flat.shape[2] == 3:
        return np.concatenate([flat, np.full_like(flat[..., :1], 255)], 2)
    flat[..., :3] *= flat[..., 3:] / 255
    return flat


def cut_up(keys: Sequence[np.ndarray], fine: int) -> list[Cel]:
    """The regions and lines of keys of one scene, uint8 (H, W, 3 or 4) each; the keys share their inks."""
    colours = [premultiplied(key) for key in keys]
    if not all(map(rings, colours)):
        return cels_of(colours, fine)
    cut = _cut([calmed(own) for own in colours], RINGING)
    drawn = [one.drawn(fine) for one in cut]
    way = filter_of(colours, drawn)
    if way == MEAN:
        return cels_of(colours, fine)
    for _ in range(AGAIN):
        soft = [averaged(own, fill, way) for own, fill in zip(colours, drawn, strict=True)]
        cut = _cut([calmed(own, LEFT) for own in soft])
        drawn = [one.drawn(fine) for one in cut]
    return [replace(_cel(one, own, fine), way=way) for one, own in zip(cut, soft, strict=True)]


def cels_of(colours: Sequence[np.ndarray], fine: int, way: Filter = MEAN) -> list[Cel]:
    """The regions and lines of keys of one scene, premultiplied (H, W, 4) each, whose pixels are the mean of what they
    cover; `way` is the filter of the keys themselves."""
    return [replace(_cel(one, own, fine), way=way) for one, own in zip(_cut(colours), colours, strict=True)]


def _cut(colours: Sequence[np.ndarray], least: float = APART) -> list[_Apart]:
    """Keys, premultiplied (H, W, 4), whose pixels are the mean of what they cover, unmixed.

    `least`: levels by which two lines' colours differ at least.
    """
    found = [_areas(own) for own in colours]
    known = [paints for _, paints, _ in found]
    found = [_areas(own, np.concatenate(known)) for own in colours]
    bold = any(bold for _, _, bold in found)
    keys = [(own, pure, paints) for own, (pure, paints, _) in zip(colours, found, strict=True)]
    lines = lines_in(keys, least)
    seen: list[Ink] = []
    for own, (pure, paints, _) in zip(colours, found, strict=True):
        inner, all_paints = lined(own, pure, len(paints), lines), np.concatenate([paints, lines])
        left = mixtures(own, inner, len(paints), all_paints, len(lines))[2]
        for new in inks_in(own, inner, all_paints, left, len(lines)):
            twin = next((k for k, old in enumerate(seen) if np.abs(old.paint - new.paint).max() <= KNOWN), None)
            if twin is None:
                seen.append(new)
            else:
                seen[twin] = seen[twin].joined(new)
    seen.sort(key=lambda ink: -ink.count)
    inks = unmixed(seen, np.concatenate([paints for _, paints, _ in found]), lines)[: len(lines) + MOST_INKS]
    apart = [
        _Apart.of(own, pure, paints, inks, bold, len(lines))
        for own, (pure, paints, _) in zip(colours, found, strict=True)
    ]
    if len(inks) and not len(lines):
        specks = specks_in(
            np.concatenate([own[one.left > KNOWN] for own, one in zip(colours, apart, strict=True)]), inks
        )
        apart = [one.speckled(own, specks) for own, one in zip(colours, apart, strict=True)]
    return apart


@dataclass(frozen=True)
class _Apart:
    """A key's unmixed pixels.

    Args:
        pure: (H, W) the label of pixels of one colour, -1 for the others.
        ids, shares: (H, W, 3) the labels mixed in a pixel (-1 for none), and their shares.
        left: (H, W) residual in levels.
        paints: (N, 4) of every label.
        areas: how many labels are areas.
        bold: whether some lines are as wide as narrow areas.
        lines: how many of the further labels, the first, are lines; 0 if the first may be one.
    """

    pure: np.ndarray
    ids: np.ndarray
    shares: np.ndarray
    left: np.ndarray
    paints: np.ndarray
    areas: int
    bold: bool
    lines: int = 0

    @classmethod
    def of(
        cls, colours: np.ndarray, pure: np.ndarray, paints: np.ndarray, inks: np.ndarray, bold: bool, lines: int
    ) -> _Apart:
        areas = len(paints)
        if lines:
            pure, paints = lined(colours, pure, areas, inks), np.concatenate([paints, inks])
        elif len(inks):
            paints = np.concatenate([paints, inks])
            rest = pure < 0
            gap = np.abs(colours[rest][:, None] - inks).max(2)
            pure = pure.copy()
            pure[rest] = np.where(gap.min(1) <= 2 * FLAT, areas + gap.argmin(1), -1)
        return cls(pure, *mixtures(colours, pure, areas, paints, lines), paints, areas, bold, lines)

    def laid_out(self, fine: int) -> np.ndarray:
        """(H·fine, W·fine) labels."""
        return filled(laid_out(self.pure, self.ids, self.shares, self.areas, fine))

    def drawn(self, fine: int) -> np.ndarray:
        """(H·fine, W·fine, 4) colours."""
        return self.paints[self.laid_out(fine)]

    def speckled(self, colours: np.ndarray, specks: np.ndarray) -> _Apart:
        """The same, with unexplained pixels assigned to specks (N, 4) in the first ink where that explains them."""
        ys, xs = np.nonzero(self.left > KNOWN)
        if len(ys) == 0 or len(specks) == 0:
            return self
        ids, shares = self.ids.copy(), self.shares.copy()
        ink = self.paints[self.areas]
        weights, gaps = zip(*(in_ink(colours[ys, xs], speck, ink) for speck in specks), strict=True)
        best = np.argmin(gaps, 0)
        weight, gap = (np.stack(values, 1)[np.arange(len(ys)), best] for values in (weights, gaps))
        good = gap < KNOWN / 2
        rows, columns = ys[good], xs[good]
        ids[rows, columns] = np.stack([len(self.paints) + best, np.full(len(ys), self.areas), np.full(len(ys), -1)], 1)[
            good
        ]
        shares[rows, columns] = np.stack([weight, 1 - weight, np.zeros(len(ys))], 1)[good]
        return replace(self, ids=ids, shares=shares, paints=np.concatenate([self.paints, specks]))


def _cel(apart: _Apart, colours: np.ndarray, fine: int) -> Cel:
    labels, paints, areas = _marks(
        apart.laid_out(fine), apart.paints, apart.areas, fine, WIDEST if apart.bold else THIN + 0.2, max(apart.lines, 1)
    )
    mixed = float((apart.shares.max(2) < 0.98).mean())
    return Cel(fine, labels, paints, areas, apart.left < KNOWN, colours, apart.bold, mixed < ALIASED)


def _areas(colours: np.ndarray, known: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, bool]:
    """Labels of pixels in areas of one colour, -1 elsewhere; the paint of every label; whether there are bold lines.

    `known`: paints (N, 4) of areas of the other keys.
    """
    components = components_of(colours)
    inside = depths(components)
    means, is_area, bold = _told(colours, components, inside, known)
    parted, lines = blobs_apart(components, inside, is_area)
    if len(lines):
        good = lines[_told(colours, parted, inside, known)[2][lines]]
        components = np.where(np.isin(components, good), parted, components)
        means, is_area, bold = _told(colours, components, inside, known)
    is_area &= ~bold
    order = np.flatnonzero(is_area)
    table = np.full(len(is_area), -1, np.int32)
    table[order] = np.arange(len(order))
    return table[components], means[order].astype(np.float32), bool(bold.any())


def _told(
    colours: np.ndarray, components: np.ndarray, inside: np.ndarray, known: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per component its colour (N, 4); whether it is an area, or a bold line; and whether it is a bold line."""
    count = int(components.max()) + 1
    sizes = np.bincount(components.ravel(), minlength=count)
    means = np.stack([np.bincount(components.ravel(), c.ravel(), count) for c in np.moveaxis(colours, 2, 0)], 1)
    means /= np.maximum(sizes, 1)[:, None]
    depth = np.bincount(components.ravel(), inside.ravel(), count) / np.maximum(sizes, 1)
    whole = solid(components, count) & (sizes >= 5)
    is_area = whole & ((depth > THIN) | ((depth > HAIR) & (sizes < 100 * depth**2)))
    thin = whole & ~is_area
    # A narrow strip in an area's colour is part of such an area, not a line, unless lines have that colour.
    pool = means[is_area] if known is None else np.concatenate([means[is_area], known])
    weight = sizes[is_area] if known is None else np.concatenate([sizes[is_area], np.full(len(known), 40)])
    loose, loose_sizes = means[~is_area], sizes[~is_area]
    for k in np.flatnonzero(thin):
        alike = np.abs(pool - means[k]).max(1, initial=0) <= FLAT
        rivals = np.abs(loose - means[k]).max(1) <= LINE
        if alike.any() and loose_sizes[rivals].sum() < weight[alike].sum():
            is_area[k] = True
    is_area[strips(colours, components, means, thin & ~is_area, is_area)] = True
    return means, is_area, bold_lines(colours, components, means, sizes, depth, is_area)


def _marks(
    labels: np.ndarray, paints: np.ndarray, areas: int, fine: int, widest: float, lines: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Turn patches of an ink that do not belong to the network of lines into areas: an eye, a spoke, a narrow limb.

    The first ink, or `lines` of them, are lines' colours if their patches are thin; of every other ink, and of a first
    one that is not thin, each patch is an area. Thin is up to `widest` pixels from the border in the mean.
    """
    fresh: list[np.ndarray] = []
    taken = np.full(labels.shape, -1, np.int32)
    for ink in range(areas, len(paints)):
        box = _box(labels == ink, fine)
        if box is None:
            continue
        mask = (labels[box] == ink).astype(np.uint8)
        # A thin line may have gaps between subpixels; its pieces are one patch.
        whole = cv2.dilate(mask, np.ones((fine // 2 * 2 + 1,) * 2, np.uint8))
        count, patches, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=4)
        patches[mask == 0] = 0
        stats[:, cv2.CC_STAT_AREA] = np.bincount(patches.ravel(), minlength=count)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
        mean = np.bincount(patches.ravel(), depth.ravel(), count) / np.maximum(stats[:, cv2.CC_STAT_AREA], 1) / fine
        for k in range(1, count):
            size = stats[k, cv2.CC_STAT_AREA] / fine**2
            network = ink < areas + lines and (mean[k] <= widest and size > LONG * mean[k] ** 2)
            if size >= 4 and not network and mean[k] > 0.3:
                x, y, width, height = stats[k, :4]
                spot = np.s_[y : y + height, x : x + width]
                taken[box][spot][patches[spot] == k] = areas + len(fresh)
                fresh.append(paints[ink])
    if not fresh:
        return labels, paints, areas
    moved = np.where(labels >= areas, labels + len(fresh), labels)
    labels = np.where(taken >= 0, taken, moved)
    paints = np.concatenate([paints[:areas], np.array(fresh, np.float32), paints[areas:]])
    return labels, paints, areas + len(fresh)


def _box(mask: np.ndarray, margin: int) -> tuple[slice, slice] | None:
    """Where a mask is set, with a margin; None if nowhere."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return None
    return np.s_[
        max(rows[0] - margin, 0) : rows[-1] + margin + 1, max(columns[0] - margin, 0) : columns[-1] + margin + 1
    ]
