"""Regions that keep their place in the figure and change their shape: a cloak that swings, a mouth that opens.

Their outlines are registered without a common motion, coarse to fine (non-rigid iterative closest points); what is left
after the affine motion is spread over the region and travels in a straight line.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from scipy.spatial import cKDTree

from .bend import Bend
from .contours import Outline, agreement, joined, mapped, shifted, turned
from .graph import Graph, Region
from .pairing import SMALL, Match, Matching, alike, angle, by_moments, outer_border, score

SPREADS = (1.0, 1.0, 0.6, 0.6, 0.4, 0.4, 0.25, 0.25, 0.15, 0.15)
"""Reach of what one outline point moves along, per iteration, in sizes of the outline."""
BENT = 0.7
"""Minimum share of the outlines that must agree after bending."""
STIFF, BETTER = 0.8, 0.1
"""Share of the outlines that must agree for a region to be left as it moves; how much more must when it is bent."""
OPEN = 0.9
"""Mean weight of an outline from which on next to nothing covers it."""
MOST_GROWN = 16.0
"""Maximum ratio of the sizes of a region in two keys; of one that may be covered the next."""
MOST_HIDDEN = 2.0
MOST_STRETCHED = 12.0
"""Maximum ratio of a length in two keys where a bend starts from the second moments of the outer borders."""
MOST_PIECES = 4
"""Maximum number of pieces that a region may be cut into."""
BENDING = 0.3
"""Share of agreeing outlines that is worth bending by the outline's size."""
MOST_BENT = 0.6
"""Maximum root mean square of what is left after the affine motion, in sizes of the outline."""
EVEN = 2.5
"""Pixels over which the moves of outline points are evened out at last: single pairs of points are off by a pixel."""
FINEST = 1.5
"""Least reach in pixels of what one outline point moves along."""


def bend_of(one: Outline, two: Outline, motion: np.ndarray) -> tuple[Bend, float]:
    """What a motion (3, 3) leaves between two outlines, and the share of them that agrees after it, 0 ... 1."""
    start, first_ways = mapped(motion, one.points), turned(motion, one.normals)
    moved, ways = start.copy(), first_ways
    size = Outline(start, first_ways, one.weights).size
    for spread in np.maximum(np.array(SPREADS) * size, FINEST):
        reach = max(float(spread), 3.0)
        ahead = two.nearest(moved, ways, reach)
        tree = cKDTree(np.concatenate([moved, ways * reach], 1))
        behind = tree.query(np.concatenate([two.points, two.normals * reach], 1))[1]
        own = np.concatenate([np.arange(len(moved)), behind])
        other = np.concatenate([ahead, np.arange(len(two.points))])
        same = np.maximum((ways[own] * two.normals[other]).sum(1), 0) ** 2
        weight = same * one.weights[own] * two.weights[other]
        kernel = np.exp(-0.5 * ((start[:, None] - start[own]) ** 2).sum(2) / spread**2) * weight
        gap = two.points[other] - moved[own]
        moved = moved + kernel @ gap / (kernel.sum(1, keepdims=True) + 1e-3)
        ways = turned_along(start, moved, first_ways)
    quality = float(np.mean(agreement(Outline(moved, ways, one.weights), two, np.eye(3))))
    near = np.exp(-0.5 * ((start[:, None] - start) ** 2).sum(2) / EVEN**2)
    near *= np.maximum(first_ways @ first_ways.T, 0)  # the two lips of a closed mouth part
    near += np.diag(near.sum(1) == 0)  # an outline has no normal where it turns back on itself
    return Bend(one.points, near @ (moved - start) / near.sum(1, keepdims=True)), quality


def turned_along(start: np.ndarray, moved: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """Normals (N, 2), each turned as the stretch of outline around its point is."""
    was, now = (np.roll(path, -2, 0) - np.roll(path, 2, 0) for path in (start, moved))
    far = np.linalg.norm(was, axis=1) > 12
    turn = np.arctan2(was[:, 0] * now[:, 1] - was[:, 1] * now[:, 0], (was * now).sum(1))
    c, s = np.cos(np.where(far, 0, turn)), np.sin(np.where(far, 0, turn))
    return np.stack([c * ways[:, 0] - s * ways[:, 1], s * ways[:, 0] + c * ways[:, 1]], 1)


def match_bent(
    first: Graph,
    last: Graph,
    ground: tuple[set[int], set[int]],
    found: Matching,
    open_first: set[int],
    open_last: set[int],
) -> None:
    """Match what is left of one colour, one region to one or to its pieces, if the outlines agree when one is bent to
    the other; and bend what nothing covers and no motion explains well."""
    for a, known in [(a, known) for a, known in found.matches.items() if not known.held]:
        sides = _sides(first, last, ground, [a], [known.last])
        if sides is None or not (_open(sides[0]) and _open(sides[1])):
            continue
        if score(sides[0].outline, sides[1].outline, known.motion) < STIFF:
            new = _bent(first, last, found, *sides)
            if new is not None and new.quality > known.quality + BETTER:
                found.matches[a] = new
    for ours, theirs in _groups(first, last, found, open_first, open_last):
        sides = _sides(first, last, ground, ours, theirs)
        new = _bent(first, last, found, *sides) if sides is not None else None
        if new is not None:
            new.others = ours[1:], theirs[1:]
            found.take(new, open_first, open_last)


def _sides(
    first: Graph, last: Graph, ground: tuple[set[int], set[int]], ours: list[int], theirs: list[int]
) -> tuple[Region, Region] | None:
    """What may be bent to what; None if it touches several regions in both keys. What lies between several seems to
    change its shape where these move: the sectors of a wheel between its spokes.

    The borders of holes count if nothing lies in them but lines, or what cuts the region to pieces in the other key.
    """
    inner = [{a for a, host in graph.enclosed if host in own} for graph, own in ((first, ours), (last, theirs))]
    if all(
        len({n for k in own for n in graph.neighbours(k)} - within - still - set(own)) > 1
        for graph, own, within, still in zip((first, last), (ours, theirs), inner, ground, strict=True)
    ):
        return None
    holes = len(ours) + len(theirs) > 2 or not any(inner)
    one, two = _joined(first, ours, holes), _joined(last, theirs, holes)
    return (one, two) if min(one.size, two.size) >= SMALL else None


Group = tuple[list[int], list[int]]
"""Labels of regions of one colour in both keys, the largest first."""


def _groups(first: Graph, last: Graph, found: Matching, open_first: set[int], open_last: set[int]) -> list[Group]:
    """Regions of one colour that are nearest to each other, of which one key has only one."""
    expected = {a: mapped(_lead(first, found, a), first.regions[a].centre[None])[0] for a in sorted(open_first)}
    away = {
        (a, b): float(np.linalg.norm(at - last.regions[b].centre))
        for a, at in expected.items()
        for b in sorted(open_last)
        if alike(first.regions[a], last.regions[b])
    }
    nearest = {
        min((p for p in away if p[side] == pair[side]), key=away.__getitem__) for pair in away for side in (0, 1)
    }
    groups: list[Group] = []
    for a, b in sorted(nearest):
        met = [group for group in groups if a in group[0] or b in group[1]]
        groups = [group for group in groups if group not in met]
        ours, theirs = ({label, *(k for group in met for k in group[side])} for side, label in enumerate((a, b)))
        groups.append((_by_size(first, ours), _by_size(last, theirs)))
    groups = [group for group in groups if min(map(len, group)) == 1 and max(map(len, group)) <= MOST_PIECES]
    return sorted(groups, key=lambda group: -first.regions[group[0][0]].size)


def _by_size(graph: Graph, labels: set[int]) -> list[int]:
    return sorted(labels, key=lambda k: (-graph.regions[k].size, k))


def _joined(graph: Graph, labels: list[int], holes: bool) -> Region:
    """Some regions as one, with the label of the first of them; with or without the borders of holes."""
    regions = [graph.regions[k] for k in labels]
    outline = joined([region.outline if holes else outer_border(region) for region in regions])
    size = sum(region.size for region in regions)
    centre = sum(region.size * region.centre for region in regions) / size
    hulls = [region.hull for region in regions]
    hull = hulls[0] if len(hulls) == 1 else cv2.convexHull(np.concatenate(hulls))[:, 0]
    return replace(regions[0], outline=outline, size=size, centre=centre, hull=hull)


def _open(region: Region) -> bool:
    weights = region.outline.weights
    return len(weights) > 0 and float(weights.mean()) > OPEN


def _lead(first: Graph, found: Matching, a: int) -> np.ndarray:
    """The motion (3, 3) of the matched region with the most contact to region a; none if it touches none."""
    held = [n for n in first.neighbours(a) if n in found.matches]
    return found.matches[max(held, key=lambda n: len(first.between(a, n)))].motion if held else np.eye(3)


def _bent(first: Graph, last: Graph, found: Matching, one: Region, two: Region) -> Match | None:
    most = MOST_GROWN if _open(one) and _open(two) else MOST_HIDDEN
    if max(one.size / two.size, two.size / one.size) > most:
        return None
    if min(len(part) for part in (one.outline.points, two.outline.points, one.hull, two.hull)) < 8:
        return None
    beside = [n for n in first.neighbours(one.label) if n in found.matches]
    if beside and not any(len(last.between(two.label, found.matches[n].last)) for n in beside):
        return None
    size = max(one.outline.size, two.outline.size)
    fits: list[tuple[float, Match]] = []
    for motion in _starts(one, two, _lead(first, found, one.label)):
        bend, quality = bend_of(one.outline, two.outline, motion)
        left = float(np.sqrt((bend.moves**2).sum(1).mean())) / size
        if quality >= BENT and left <= MOST_BENT:
            new = Match(one.label, two.label, motion, quality, 1 - quality, bend=bend)
            fits.append((quality - BENDING * left, new))
    return max(fits, key=lambda item: item[0])[1] if fits else None


def _starts(one: Region, two: Region, lead: np.ndarray) -> list[np.ndarray]:
    """As the region beside it moves, to the other's centre; and stretched as the other is."""
    straight = shifted(two.centre - mapped(lead, one.centre[None])[0]) @ lead
    stretched = by_moments(one, two, angle(lead))
    sizes = np.linalg.svd(stretched[:2, :2], compute_uv=False)
    likely = sizes[0] < MOST_STRETCHED and sizes[1] > 1 / MOST_STRETCHED
    return [straight, stretched] if likely else [straight]
