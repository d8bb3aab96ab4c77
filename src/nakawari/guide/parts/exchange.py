"""Exchange what look-alikes were matched to, once everything around them is matched.

A figure grows from one match outwards, so a region is matched before most of what is around it. Afterwards all of its
neighbours tell where it belongs, and another match of it may be far better.
"""

from __future__ import annotations

from collections.abc import Iterator

from .contours import mapped
from .graph import Graph
from .known import Known, leading
from .order import Order
from .pairing import ENOUGH, SMALL, Match, Matching, cost_beside, nearest

POOR = 0.4
"""From which cost beside all of its neighbours a match is doubted."""
BETTER = 0.2
"""By how much an exchange must lower the cost of the region in doubt, and that of both."""
AS_WELL = 0.05
"""By how much the outlines of both may agree less."""
MOST = 6
"""Maximum number of exchanges."""
READ = 16
"""Number of readings from which on no further region in doubt is tried."""
UNMATCHED = 1.5
"""What a match costs at most."""
LIKELIEST = 3
"""With how many regions each is tried."""


def exchange(
    first: Graph, last: Graph, found: Matching, known: Known, chains: Order, open_last: set[int], sure: set[int]
) -> None:
    """Exchange the matches of two regions that look alike, or match one to an open region, where that lowers their
    costs by much, the best first. What is in rows or `sure` (labels in the first key) stays."""
    free = [a for a in found.matches if not (a in sure or a in chains.rows or first.regions[a].size < SMALL)]
    enough = len(known) + READ
    for _ in range(MOST):
        may = {found.matches[a].last: a for a in free}
        costs = {a: _cost_now(first, last, found, a) for a in free}
        trials: list[tuple[float, list[Match]]] = []
        for a in sorted((a for a in free if costs[a] >= POOR), key=lambda a: -costs[a] * first.regions[a].size):
            if len(known) < enough:
                trials += _trials(first, last, found, known, chains, may, open_last, a)
        if not trials:
            break
        _, new = max(trials, key=lambda trial: trial[0])
        open_last.update(found.matches[match.first].last for match in new)
        for match in new:
            found.matches[match.first] = match
            open_last.discard(match.last)


def _cost_now(first: Graph, last: Graph, found: Matching, a: int) -> float:
    """What the match of a region costs beside all that is matched around it."""
    others = found.matches.keys() - {a}
    return cost_beside(first, last, *leading(first, found, others, a), found.matches[a]) if others else 0.0


def _trials(
    first: Graph,
    last: Graph,
    found: Matching,
    known: Known,
    chains: Order,
    may: dict[int, int],
    open_last: set[int],
    a: int,
) -> Iterator[tuple[float, list[Match]]]:
    """The exchanges of a region's match that lower the costs enough: by how much, and the new matches.

    Args:
        may: label in the last key -> label in the first of matches that may be given up.
    """
    one, old = first.regions[a], found.matches[a]
    at = mapped(old.motion, one.centre[None])[0]
    others = [last.regions[k] for k in sorted(open_last | may.keys()) if k != old.last and chains.allows(a, k)]
    for b in nearest(one, others, at)[:LIKELIEST]:
        new = {a: b, may[b]: old.last} if b in may else {a: b}
        around = found.matches.keys() - new.keys()
        if not around:
            continue
        leads = {k: leading(first, found, around, k) for k in new}
        gains, fit = [], []
        for k, there in new.items():
            before, after = (known.beside(first, last, *leads[k], k, n) for n in (found.matches[k].last, there))
            gains.append(_cost(before) - _cost(after))
            fit += [after] if after is not None and after.quality >= ENOUGH else []
            if gains[0] < BETTER or len(fit) < len(gains):
                break
        else:
            if sum(gains) >= BETTER and _as_well(found, fit):
                yield sum(gains), fit


def _cost(match: Match | None) -> float:
    """A match's cost, also of none and of a poor one."""
    return UNMATCHED if match is None or match.quality < ENOUGH else min(match.cost, UNMATCHED)


def _as_well(found: Matching, new: list[Match]) -> bool:
    """Whether outlines agree about as well as in the matches of the same regions so far."""
    return sum(found.matches[match.first].quality - match.quality for match in new) <= AS_WELL
