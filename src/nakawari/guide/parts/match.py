"""Match the regions of the first key to those of the last, with their motions: from the best match outwards along
contacts."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from .contours import mapped
from .graph import Graph, Region
from .pairing import ENOUGH, MOST_TURN, Match, Matching, alike, angle, beside, by_centres, tried
from .pieces import match_pieces

AWAY = 0.5
"""What it costs that a root moves by the picture's diagonal: of regions that look alike, the nearer one."""
MOST_ROOTS = 3
DEAR = 1.1
"""Maximum cost of a match."""
SURE = 0.6
"""Matches below this cost are accepted before more expensive ones are re-evaluated."""


def match(first: Graph, last: Graph, ground: tuple[set[int], set[int]]) -> Matching:
    """Match the regions of two keys, without background.

    Figure by figure: several likely matches of large regions are each assumed in turn and grown; the one whose
    figure explains most is kept.
    """
    found = Matching()
    free = [
        {r.label for r in graph.regions if r.label not in still and len(r.outline.points) >= 4}
        for graph, still in zip((first, last), ground, strict=True)
    ]
    while free[0] and free[1]:
        grown = []
        for root in _roots(first, last, *free):
            trial, rest = Matching(), [set(side) for side in free]
            trial.take(root, *rest)
            _grow(first, last, trial, root, *rest)
            worth = sum(
                (1.4 - match.cost) * min(first.regions[a].size, last.regions[match.last].size) ** 0.7
                for a, match in trial.matches.items()
            )
            grown.append((worth, trial, rest))
        if not grown:
            break
        _, trial, free = max(grown, key=lambda item: item[0])
        found.matches |= trial.matches
    match_pieces(first, last, ground, found, *free)
    return found


def _roots(first: Graph, last: Graph, open_first: set[int], open_last: set[int]) -> list[Match]:
    """Likely matches of large regions as seeds of a figure, best first."""
    order = sorted(open_first, key=lambda k: -first.regions[k].size)
    if first.regions[order[0]].size < 6:
        return []
    found: list[Match] = []
    diagonal = math.hypot(*first.cel.line.shape) / first.cel.fine
    for a in order[:5]:
        one = first.regions[a]
        if one.size < 0.2 * first.regions[order[0]].size:
            break
        for b in open_last:
            two = last.regions[b]
            if not alike(one, two) or not 0.25 < two.size / one.size < 4:
                continue
            new = tried(one, two, by_centres(one, two))
            new.cost = 1 - new.quality + 0.25 * abs(angle(new.motion)) + AWAY * _moved(new.motion, one) / diagonal
            if new.quality >= ENOUGH and abs(angle(new.motion)) < MOST_TURN:
                found.append(new)
    found.sort(
        key=lambda new: (0.2 + new.cost) / math.sqrt(min(first.regions[new.first].size, last.regions[new.last].size))
    )
    return found[:MOST_ROOTS]


def _moved(motion: np.ndarray, one: Region) -> float:
    """Pixels that a motion moves a region's centre."""
    return float(np.linalg.norm(mapped(motion, one.centre[None])[0] - one.centre))


def _grow(first: Graph, last: Graph, found: Matching, root: Match, open_first: set[int], open_last: set[int]) -> None:
    """Match the neighbours of matched regions, wave by wave, each wave by linear assignment."""
    members = {root.first}
    tried: dict[tuple[int, int], Match] = {}
    while True:
        rows = _reachable(first, members, open_first)
        pairs = [(a, b) for a in rows for b in sorted(open_last) if alike(first.regions[a], last.regions[b])]
        for a, b in pairs:
            if (a, b) not in tried:
                new = beside(first, last, found, members, a, b)
                if new is not None:
                    tried[a, b] = new
        good = {pair: tried[pair] for pair in pairs if pair in tried and tried[pair].quality >= ENOUGH}
        if not good:
            return
        new = _assigned(good)
        if not new:
            return
        # The better half first, as initial estimates for the others.
        new.sort(key=lambda item: item.cost)
        sure = [item for item in new[: (len(new) + 1) // 2] if item.cost < SURE]
        for item in sure or new[:1]:
            found.take(item, open_first, open_last)
            members.add(item.first)
            for a, b in list(tried):
                if a == item.first or b == item.last or item.first in first.neighbours(a):
                    del tried[a, b]


def _reachable(graph: Graph, members: set[int], free: set[int]) -> list[int]:
    """The free regions connected to a member by contacts."""
    found: set[int] = set()
    edge = set(members)
    while edge:
        edge = {n for k in edge for n in graph.neighbours(k)} & free - found
        found |= edge
    return sorted(found)


def _assigned(good: dict[tuple[int, int], Match]) -> list[Match]:
    rows = sorted({a for a, _ in good})
    columns = sorted({b for _, b in good})
    cost = np.full((len(rows), len(columns) + len(rows)), DEAR)
    for (a, b), item in good.items():
        cost[rows.index(a), columns.index(b)] = item.cost
    chosen = zip(*linear_sum_assignment(cost), strict=True)
    return [good[rows[r], columns[c]] for r, c in chosen if c < len(columns) and (rows[r], columns[c]) in good]
