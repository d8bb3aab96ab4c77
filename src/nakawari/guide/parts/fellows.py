"""Match regions that look alike and shift by one vector, such as the windows of a train, also where something cuts
them."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from scipy.sparse.csgraph import connected_components

from .contours import Outline, joined, shifted
from .graph import Graph, Region
from .pairing import Match, Matching, alike, outer_border, score

FEWEST, MOST = 3, 40
"""Number of regions of one colour among which a common shift is sought."""
IN_PLACE, SAME_PLACE = 0.9, 0.8
"""Distance in pixels within which borders are the same, and the minimum share of that of what stands still."""
SAME = 0.1
"""Maximum logarithm of the ratio of the sizes of two regions that may be one, uncut."""
AGREES = 0.85
"""Minimum agreement of the outlines of such two, from which their shift is tried for all."""
MOST_TRIED = 24
"""Number of shifts that are tried, the shortest first."""
APART = 1.0
"""Minimum distance in pixels between them."""
FITS = 0.3
"""Minimum agreement of the outlines of a region and of what it meets, which may be cut."""
MOST_LEFT = 0.3
"""Maximum share of the regions of the colour, by size, that do not shift with the others."""
ABOUT = 0.9
"""Share of the most pixels that a common shift explains from which a shorter one is preferred."""
BARE = 0.25
"""Maximum share of a region that may land on its surroundings, of one that something hides."""
MEETS = 0.25
"""Minimum share of a region that lies on another, shifted, for both to be one."""


def match_fellows(
    first: Graph,
    last: Graph,
    ground: tuple[set[int], set[int]],
    found: Matching,
    open_first: set[int],
    open_last: set[int],
) -> None:
    """Match the open regions of each colour of which nearly all shift by one vector: the shortest of the vectors with
    which about as many agree as with any. Those that it carries behind something or out of the picture are
    `Matching.hidden`.

    Some of them must touch only what stands still in either key; limbs of a figure turn about their joints.
    """
    still = _still(first, last, ground)
    for ours, theirs in _groups(first, last, open_first, open_last):
        alone = (
            [one for one in ours if _alone(first, one, still[0])],
            [two for two in theirs if _alone(last, two, still[1])],
        )
        if min(map(len, alone)) < FEWEST:
            continue
        by, matches = _best(first, last, ours, theirs)
        hidden = _both_hidden(first, last, (ours, theirs), alone, matches, by)
        sides = (open_first, hidden[0], ours), (open_last, hidden[1], theirs)
        left = max(_left(_of_side(matches, k) | labels, mine) for k, (_, labels, mine) in enumerate(sides))
        if len(matches) < FEWEST or left > MOST_LEFT:
            continue
        for new in matches:
            found.take(new, open_first, open_last)
        for side, (free, labels, _) in zip(("first", "last"), sides, strict=True):
            found.hidden |= {(side, label): shifted(by) for label in labels}
            free -= labels


def _best(first: Graph, last: Graph, ours: list[Region], theirs: list[Region]) -> tuple[np.ndarray, list[Match]]:
    """The shortest vector (2,) with which about as many regions agree as with any, and their matches."""
    trials = [(by, _together(first, last, ours, theirs, by)) for by in _shifts(ours, theirs)]
    most = max((_worth(matches, ours) for _, matches in trials), default=0.0)
    return next((trial for trial in trials if _worth(trial[1], ours) >= ABOUT * most), (np.zeros(2), []))


def _both_hidden(
    first: Graph,
    last: Graph,
    fellows: tuple[list[Region], list[Region]],
    alone: tuple[list[Region], list[Region]],
    matches: list[Match],
    by: np.ndarray,
) -> tuple[set[int], set[int]]:
    """Labels of the unmatched regions of each key that a shift hides in the other."""
    ours, theirs = ({region.label for region in side} for side in fellows)
    ahead = _hidden(first, last, fellows[0], _of_side(matches, 0), _around(last, alone[1]) | theirs, by)
    # What one key alone shows of a thing that the border cuts may lie on what the other alone shows of it.
    back = _hidden(last, first, fellows[1], _of_side(matches, 1), _around(first, alone[0]) | (ours - ahead), -by)
    return ahead, back


def _still(first: Graph, last: Graph, ground: tuple[set[int], set[int]]) -> tuple[set[int], set[int]]:
    """The background, and the regions that have the same outer border in both keys."""
    same = [
        (one.label, two.label)
        for one in first.regions
        for two in last.regions
        if one.label not in ground[0] and alike(one, two) and (_share_border(one, two) or _share_border(two, one))
    ]
    return ground[0] | {one for one, _ in same}, ground[1] | {two for _, two in same}


def _share_border(one: Region, two: Region) -> bool:
    """Whether most of the outer border of a region is that of another, at the same place.

    The points of a large outline are too far apart for `in_place`, of one with many holes above all.
    """
    if not len(two.hull):
        return False
    points = outer_border(one).points
    away = [abs(cv2.pointPolygonTest(two.hull, (float(x), float(y)), True)) for x, y in points]
    return len(away) > 0 and float(np.mean(np.array(away) < IN_PLACE)) >= SAME_PLACE


def _alone(graph: Graph, region: Region, still: set[int]) -> bool:
    """Whether a region touches only what stands still."""
    return still.issuperset(graph.neighbours(region.label))


def _around(graph: Graph, alone: list[Region]) -> set[int]:
    """Labels of the colours that surround every one of some regions."""
    near = [[graph.regions[n] for n in graph.neighbours(region.label)] for region in alone]
    common = [one for one in near[0] if all(any(alike(one, two) for two in side) for side in near)]
    return {region.label for region in graph.regions if any(alike(region, one) for one in common)}


def _hidden(
    own: Graph, other: Graph, fellows: list[Region], matched: set[int], around: set[int], by: np.ndarray
) -> set[int]:
    """Labels of a key's unmatched regions of one colour that a shift carries behind something or out of the picture,
    where nothing of `around` in the other key is."""
    return {
        one.label
        for one in own.regions
        if one.size > 0 and one.label not in matched and alike(one, fellows[0])
        and np.isin(other.labels_at(one.inside + by), list(around)).mean() <= BARE
    }  # fmt: skip


def _labels(match: Match, side: int) -> list[int]:
    """The labels of a match in the first key (0) or the last (1)."""
    return [(match.first, match.last)[side], *match.others[side]]


def _of_side(matches: list[Match], side: int) -> set[int]:
    return {label for match in matches for label in _labels(match, side)}


def _groups(
    first: Graph, last: Graph, open_first: set[int], open_last: set[int]
) -> Iterator[tuple[list[Region], list[Region]]]:
    """The open regions of each colour in both keys, where there are neither few nor very many."""
    rest = sorted(open_first)
    while rest:
        one = first.regions[rest[0]]
        ours = [first.regions[k] for k in rest if alike(first.regions[k], one)]
        theirs = [last.regions[k] for k in sorted(open_last) if alike(last.regions[k], one)]
        rest = [k for k in rest if not alike(first.regions[k], one)]
        if all(FEWEST <= len(side) <= MOST for side in (ours, theirs)):
            yield ours, theirs


def _shifts(ours: list[Region], theirs: list[Region]) -> list[np.ndarray]:
    """Vectors (2,) that carry a region onto another, uncut, the shortest first, each once."""
    pairs = [
        (two.centre - one.centre, one, two) for one in ours for two in theirs if abs(np.log(two.size / one.size)) < SAME
    ]
    out: list[np.ndarray] = []
    for by, one, two in sorted(pairs, key=lambda pair: float(np.linalg.norm(pair[0]))):
        known = any(np.linalg.norm(by - other) < APART for other in out)
        if not known and score(one.outline, two.outline, shifted(by)) >= AGREES:
            out.append(by)
        if len(out) == MOST_TRIED:
            break
    return out


def _together(first: Graph, last: Graph, ours: list[Region], theirs: list[Region], by: np.ndarray) -> list[Match]:
    """The matches of some regions that shift by one vector; pieces of one thing that something cuts are one match."""
    back = [first.labels_at(two.inside - by) for two in theirs]
    meets = np.zeros((len(ours), len(theirs)), bool)
    for row, one in enumerate(ours):
        ahead = last.labels_at(one.inside + by)
        for column, two in enumerate(theirs):
            meets[row, column] = max(_share(ahead, two.label), _share(back[column], one.label)) >= MEETS
    out = []
    for rows, columns in _connected(meets):
        mine, met = ([side[k] for k in group] for side, group in ((ours, rows), (theirs, columns)))
        quality = score(_outline(mine), _outline(met), shifted(by))
        if quality >= FITS:
            (one, *rest), (two, *others) = (
                [region.label for region in sorted(side, key=lambda region: -region.size)] for side in (mine, met)
            )
            out.append(Match(one, two, shifted(by), quality, 1 - quality, (rest, others)))
    return out


def _share(landed: np.ndarray, label: int) -> float:
    """The share of points within the picture that land on a label."""
    within = landed[landed >= 0]
    return float(np.mean(within == label)) if len(within) else 0.0


def _connected(meets: np.ndarray) -> Iterator[tuple[list[int], list[int]]]:
    """Rows and columns that are connected in a table (N, M) bool, without those that meet nothing."""
    rows, columns = meets.shape
    graph = np.zeros((rows + columns, rows + columns), bool)
    graph[:rows, rows:] = meets
    count, labels = connected_components(graph, directed=False)
    for k in range(count):
        members = np.nonzero(labels == k)[0]
        if len(members) > 1:
            yield [int(n) for n in members if n < rows], [int(n) - rows for n in members if n >= rows]


def _outline(regions: list[Region]) -> Outline:
    return joined([region.outline for region in regions])


def _worth(matches: list[Match], ours: list[Region]) -> float:
    """Pixels of some regions of the first key that a common shift explains."""
    sizes = {one.label: one.size for one in ours}
    return sum(match.quality * sum(sizes[k] for k in _labels(match, 0)) for match in matches)


def _left(taken: set[int], regions: list[Region]) -> float:
    """The share of some regions, by size, whose labels are not `taken`."""
    return sum(r.size for r in regions if r.label not in taken) / sum(r.size for r in regions)
