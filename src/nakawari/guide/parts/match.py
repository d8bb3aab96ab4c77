"""Match the regions of the first key to those of the last, with their motions: from the best match outwards along
contacts."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from .bending import match_bent
from .contours import mapped
from .exchange import exchange
from .fellows import match_fellows
from .graph import Graph, Region
from .held import NOTHING, Held, Labels, leave_hidden, match_held, settled
from .known import Known, leading
from .order import Order, order_of
from .pairing import ENOUGH, MOST_TURN, Match, Matching, angle, by_centres, nearest, readings
from .pieces import match_pieces

AWAY = 0.5
"""What it costs that a root moves by the picture's diagonal: of regions that look alike, the nearer one."""
AWAY_LED = 1.0
"""The same of a root beside figures that are matched, which moves as the nearest of them does or on its own."""
WITH = 4.0
"""Pixels within which a small region moves as what it touches."""
SLIVER = 40.0
"""Regions with fewer pixels that touch matched ones in both keys are no figures of their own, but limbs half hidden
behind these: without a joint they are taken for any sliver that looks alike."""
MOST_ROOTS = 3
LARGEST = 5
"""How many of the largest regions are tried as roots; further ones only while none of them fits."""
MANY, CLEAR = 30, 0.75
"""Number of a key's regions, and the share of them matched, from which no further root is tried."""
DEAR = 1.1
"""Maximum cost of a match."""
SURE = 0.6
"""Matches below this cost are accepted before more expensive ones are re-evaluated."""


def match(first: Graph, last: Graph, ground: Labels, held: Held = NOTHING) -> Matching:
    """Match the regions of two keys, without background.

    What is held and carries nothing first, then figure by figure: several likely matches of large regions are each
    assumed in turn and grown; the one whose figure explains most is kept.
    """
    found, known = Matching(), Known(held)
    free, behind = _free(first, last, ground), held.behind(ground)
    match_held(first, last, held.scenery, found, *free)
    for side, labels in zip(free, behind, strict=True):
        side -= labels
    leave_hidden(first, last, ground, held, found)
    chains = order_of(first, last, behind, held)
    match_fellows(first, last, behind, found, *free)
    sure = set(found.matches) | held.pairs.keys()
    while free[0] and free[1]:
        grown = []
        for root in _roots(first, last, *free, found, chains):
            trial, rest = Matching(), [set(side) for side in free]
            trial.take(root, *rest)
            _grow(first, last, trial, root, *rest, known, chains)
            worth = sum(
                (1.4 - match.cost) * min(first.regions[a].size, last.regions[match.last].size) ** 0.7
                for a, match in trial.matches.items()
            )
            grown.append((worth, trial, rest))
            if len(first.regions) >= MANY and len(trial.matches) >= CLEAR * len(first.regions):
                break
        if not grown:
            break
        _, trial, free = max(grown, key=lambda item: item[0])
        found.matches |= trial.matches
    exchange(first, last, found, known, chains, free[1], sure)
    match_held(first, last, held.pairs, found, *free)
    match_pieces(first, last, behind, found, *free)
    match_bent(first, last, behind, found, *free)
    return found


def _free(first: Graph, last: Graph, behind: Labels) -> Labels:
    """The regions of each key that may be matched, without what lies behind."""
    one, two = (
        {r.label for r in graph.regions if r.label not in still and len(r.outline.points) >= 4}
        for graph, still in zip((first, last), behind, strict=True)
    )
    return one, two


def _roots(
    first: Graph,
    last: Graph,
    open_first: set[int],
    open_last: set[int],
    known: Matching,
    chains: Order,
) -> list[Match]:
    """Likely matches of large regions as seeds of a figure beside what is `known`, best first."""
    order = sorted(open_first, key=lambda k: -first.regions[k].size)
    found: list[Match] = []
    diagonal = math.hypot(*first.cel.line.shape) / first.cel.fine
    for place, a in enumerate(order):
        one = first.regions[a]
        if one.size < 6 or (found and (place >= LARGEST or one.size < 0.2 * first.regions[order[0]].size)):
            break
        leads = _leads(first, known, one)
        at = [mapped(lead, one.centre[None])[0] for lead in leads]
        others = [last.regions[b] for b in sorted(open_last) if chains.allows(a, b)]
        for b in dict.fromkeys(b for spot in at for b in nearest(one, others, spot)):
            two = last.regions[b]
            stays = b in chains.held.pairs.get(a, ())
            if (not stays and not 0.25 < two.size / one.size < 4) or _is_sliver(first, last, known, one, two):
                continue
            for new in settled(readings(one, two, by_centres(one, two)), first, last, chains.held, a, b):
                new.cost = 1 - new.quality + _unlikely(new.motion, leads, one, diagonal)
                if new.quality >= ENOUGH and abs(angle(new.motion)) < MOST_TURN:
                    found.append(new)
    found.sort(
        key=lambda new: (0.2 + new.cost) / math.sqrt(min(first.regions[new.first].size, last.regions[new.last].size))
    )
    return found[:MOST_ROOTS]


def _is_sliver(first: Graph, last: Graph, known: Matching, one: Region, two: Region) -> bool:
    """Whether two small regions touch matched ones, not only wheels, but none that carries one of them to the other."""
    if min(one.size, two.size) >= SLIVER:
        return False
    there = {match.last for match in known.matches.values()}
    wheels = first.cel.wheels.keys()
    held = [known.matches[k] for k in first.neighbours(one.label) if k in known.matches and k not in wheels]
    away = [float(np.linalg.norm(mapped(match.motion, one.centre[None])[0] - two.centre)) for match in held]
    return bool(held and there & set(last.neighbours(two.label))) and min(away) > WITH


def _leads(first: Graph, known: Matching, one: Region) -> list[np.ndarray]:
    """How a region beside matched ones may be expected to move: not at all, or as the nearest of them."""
    gaps = {k: float(np.linalg.norm(first.regions[k].centre - one.centre)) for k in known.matches}
    if not gaps:
        return [np.eye(3)]
    near = min(gaps, key=lambda k: gaps[k] - first.regions[k].outline.size)
    return [np.eye(3), known.matches[near].motion]


def _unlikely(motion: np.ndarray, leads: list[np.ndarray], one: Region, diagonal: float) -> float:
    """What it costs that a region turns and moves otherwise than the lead that it follows most."""
    price = (AWAY if len(leads) == 1 else AWAY_LED) / diagonal
    own = [np.linalg.inv(lead) @ motion for lead in leads]
    return min(0.25 * abs(angle(left)) + price * _moved(left, one) for left in own)


def _moved(motion: np.ndarray, one: Region) -> float:
    """Pixels that a motion moves a region's centre."""
    return float(np.linalg.norm(mapped(motion, one.centre[None])[0] - one.centre))


def _grow(
    first: Graph,
    last: Graph,
    found: Matching,
    root: Match,
    open_first: set[int],
    open_last: set[int],
    known: Known,
    chains: Order,
) -> None:
    """Match the neighbours of matched regions, wave by wave, each wave by linear assignment."""
    members = {root.first}
    tried: dict[int, dict[int, Match]] = {}
    while True:
        rows = _reachable(first, members, open_first)
        left = [last.regions[b] for b in sorted(open_last)]
        for a in rows:
            if a not in tried:
                held, touching = leading(first, found, members, a)
                at = mapped(held[0].motion, first.regions[a].centre[None])[0]
                # What is in a row waits for the one before: it would be turned as a region farther away.
                may = [two for two in left if chains.allows(a, two.label)] if touching or a not in chains.rows else []
                options = {
                    b: known.beside(first, last, held, touching, a, b) for b in nearest(first.regions[a], may, at)
                }
                tried[a] = {b: new for b, new in options.items() if new is not None and new.quality >= ENOUGH}
        good = {(a, b): new for a in rows for b, new in tried[a].items() if b in open_last}
        if not good:
            return
        new = _assigned(good)
        if not new:
            return
        # The better half first, as initial estimates for the others.
        new.sort(key=lambda item: item.cost)
        sure = [item for item in new[: (len(new) + 1) // 2] if item.cost < SURE]
        # The order of a row is sure: it leads what else is beside it.
        in_rows = [item for item in sure if item.first in chains.rows]
        for item in in_rows or sure or new[:1]:
            found.take(item, open_first, open_last)
            members.add(item.first)
            stale = {item.first, *first.neighbours(item.first), *(a for a, own in tried.items() if item.last in own)}
            for a in stale:
                tried.pop(a, None)


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
