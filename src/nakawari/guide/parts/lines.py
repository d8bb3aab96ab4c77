"""The colours of lines where a drawing has several, as where each shape is outlined in a darker shade of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from .components import components_of, filled
from .mixtures import FLAT, KNOWN, NEAR, candidates, shares_in

RUN = 3
"""Minimum number of connected pixels of exactly one colour: mixtures seldom repeat."""
LEAST = 12
"""Minimum number of such pixels of a line's colour in all keys."""
SAME = 6.0
"""Levels by which a line's colour may differ between two of its runs."""
APART = 16.0
"""Levels by which two lines' colours differ at least."""
MANY = 60
"""Number of pixels of a colour from which it is a line's, though all its runs are straight."""
MOST = 16
"""Maximum number of lines' colours."""
MIXED = 0.5
"""Share of a colour's pixels that are mixtures of what is around them from which it is none of its own."""
BESIDE = 0.65
"""Minimum share of the borders of a line's colour that areas take; narrow areas lie between lines."""
BROAD = 0.25
"""Minimum share of a colour's pixels in runs of at least `RUN` rows and columns from which it is no mixture: along a
slanted edge mixtures change."""
HOME = 4
"""Pixels from a run of a line's colour within which a single pixel of that colour is line, too."""
NARROW = 0.35
"""Maximum share of the borders of a narrow area's colour that areas take."""

Key = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A key's colours (H, W, 4), the area of every pixel (H, W; -1 for none), and the areas' paints (N, 4)."""


@dataclass(frozen=True)
class _Runs:
    """The runs of one colour: (H, W) bool in every key."""

    paint: np.ndarray
    masks: list[np.ndarray]

    @cached_property
    def broad(self) -> bool:
        """Whether much of the colour is in runs that are more than straight."""
        share = 0
        for mask in self.masks:
            stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)[2][1:]
            across = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].min(1)
            share += int(stats[across >= RUN, cv2.CC_STAT_AREA].sum())
        return share >= BROAD * self.count

    @property
    def count(self) -> int:
        return sum(int(mask.sum()) for mask in self.masks)


def lines_in(keys: Sequence[Key], apart: float = APART) -> np.ndarray:
    """The colours (N, 4) of the lines in keys of one scene, the most frequent first; none where all have one colour.

    Colours of lines are those of runs of pixels that are no areas, no mixtures of what is around them, and that lie
    between areas. Two differ by at least `apart` levels.
    """
    kept: list[_Runs] = []
    for runs in _runs(keys):
        near = any(np.abs(runs.paint - other.paint).max() < apart for other in kept)
        if not near and (runs.broad or not _is_mixed(runs, kept, keys)):
            kept.append(runs)
    areas = np.concatenate([paints for *_, paints in keys])
    own = np.array([np.abs(areas - runs.paint).max(1).min(initial=255) > SAME for runs in kept], bool)
    facing = _facing(kept, keys)
    sure = own & (facing[:, -1] >= BESIDE)
    if sum(runs.broad or runs.count >= MANY for runs, good in zip(kept, sure, strict=True) if good) < 2:
        return np.zeros((0, 4), np.float32)
    beside = np.append(facing[:, -1] <= NARROW, True)
    for _ in range(2):  # narrow areas do not lie between narrow areas, as stripes do
        found = own & (facing[:, beside].sum(1) >= BESIDE)
        beside[:-1] &= ~found
    return np.array([runs.paint for runs, good in zip(kept, found, strict=True) if good][:MOST], np.float32)


def _runs(keys: Sequence[Key]) -> list[_Runs]:
    """Runs of pixels of one colour that are no areas, by colour, the most frequent first."""
    found = []
    for colours, pure, _ in keys:
        components = components_of(colours)
        sizes = np.bincount(components.ravel())
        may = (sizes[components] >= RUN) & (pure < 0)
        labels, index, counts = np.unique(components[may], return_inverse=True, return_counts=True)
        sums = np.stack([np.bincount(index, channel, len(labels)) for channel in colours[may].T], 1)
        found.append((components, labels, counts, sums / counts[:, None]))
    paints = np.concatenate([means for *_, means in found])
    counts = np.concatenate([sizes for _, _, sizes, _ in found])
    left, out = np.ones(len(paints), bool), []
    while left.any():
        paint = paints[np.argmax(np.where(left, counts, 0))]
        left &= np.abs(paints - paint).max(1) > SAME
        masks = [
            np.isin(components, labels[np.abs(means - paint).max(1) <= SAME]) for components, labels, _, means in found
        ]
        out.append(_Runs(paint, masks))
    return sorted((runs for runs in out if runs.count >= LEAST), key=lambda runs: -runs.count)


def _is_mixed(runs: _Runs, stronger: Sequence[_Runs], keys: Sequence[Key]) -> bool:
    """Whether a colour mostly lies where it is a mixture of two that are near, of areas or more frequent ones."""
    mixed = 0
    for k, (colours, pure, paints) in enumerate(keys):
        ys, xs = np.nonzero(runs.masks[k])
        if len(ys) == 0:
            continue
        tags = pure.copy()
        for n, other in enumerate(stronger):
            tags[other.masks[k]] = len(paints) + n
        table = np.array([*paints, *(other.paint for other in stronger), np.full(4, 1e4)], np.float32)
        near = table[candidates(tags, len(table) - 1, table, ys, xs)[:, :3]]
        target = np.broadcast_to(runs.paint, (len(ys), 4)).astype(np.float32)
        found = _has_purer(colours, pure, target, near[:, 0], ys, xs)
        for pair in ((0, 1), (0, 2), (1, 2)):
            found |= shares_in(target, near[:, pair])[1] < KNOWN / 2
        mixed += int(found.sum())
    return mixed >= MIXED * runs.count


def _has_purer(
    colours: np.ndarray, pure: np.ndarray, paint: np.ndarray, area: np.ndarray, ys: np.ndarray, xs: np.ndarray
) -> np.ndarray:
    """(N,) bool: whether near a pixel another has more of what is mixed there with an area's paint (N, 4).

    How much of a pixel a thin line covers changes along it; the colour of a line is the purest around.
    """
    way = paint - area
    square, length = (way**2).sum(1), np.abs(way).max(1)
    height, width = pure.shape
    found = np.zeros(len(ys), bool)
    for dy in range(-NEAR, NEAR + 1):
        for dx in range(-NEAR, NEAR + 1):
            y, x = (ys + dy).clip(0, height - 1), (xs + dx).clip(0, width - 1)
            seen = colours[y, x]
            share = ((seen - area) * way).sum(1) / np.maximum(square, 1e-3)
            off = np.abs(area + share[:, None] * way - seen).max(1)
            found |= (pure[y, x] < 0) & (off < KNOWN / 2) & ((share - 1) * length > SAME)
    return found


def _facing(kept: Sequence[_Runs], keys: Sequence[Key]) -> np.ndarray:
    """(N, N + 1) the shares of each colour's borders beyond which another is nearest, and, last, an area."""
    count = len(kept)
    facing = np.zeros((count + 1, count + 1))
    for k, (_, pure, _) in enumerate(keys):
        tags = np.where(pure >= 0, count, -1)
        for n, runs in enumerate(kept):
            tags[runs.masks[k]] = n
        near = filled(tags)
        for here, there in ((near[:, :-1], near[:, 1:]), (near[:-1], near[1:])):
            met = here != there
            np.add.at(facing, (here[met], there[met]), 1)
    both = (facing + facing.T)[:count]
    return both / np.maximum(both.sum(1, keepdims=True), 1)


def lined(colours: np.ndarray, pure: np.ndarray, areas: int, inks: np.ndarray) -> np.ndarray:
    """Labels of pixels (H, W) with those of inks where a run of at least `RUN` has an ink's colour, or is near."""
    if len(inks) == 0:
        return pure
    ys, xs = np.nonzero(pure < 0)
    gap = np.abs(colours[ys, xs][:, None] - inks).max(2)
    like = np.where(gap.min(1) <= 2 * FLAT, gap.argmin(1), -1)
    out = pure.copy()
    for k in range(len(inks)):
        mask = np.zeros(pure.shape, np.uint8)
        mask[ys[like == k], xs[like == k]] = 1
        _, runs, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        home = (mask > 0) & (stats[runs, cv2.CC_STAT_AREA] >= RUN)
        near = cv2.dilate(home.astype(np.uint8), np.ones((2 * HOME + 1,) * 2, np.uint8))
        out[(mask > 0) & (near > 0)] = areas + k
    return out
