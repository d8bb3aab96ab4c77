"""Parts of one colour in a row, each in contact with the next, such as the links of a snake: their order holds in both
keys."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from .graph import Graph, Region
from .held import NOTHING, Held
from .pairing import alike

SHORTEST = 5
"""Number of parts from which on a row is told from limbs of one colour that touch by chance."""
LEAST = 6.0
"""Regions with fewer pixels are no part of a row, and tell nothing about its ends."""
CLEAR = 0.1
"""By how much a row must fit better one way than the other."""


@dataclass(frozen=True)
class Order:
    """Which regions may be one part, where these are in rows.

    Args:
        rows: label in the first key -> labels in the last, of those in rows.
        held: what is held may only be what is at its place.
    """

    rows: dict[int, set[int]]
    held: Held = NOTHING

    @cached_property
    def _may(self) -> dict[int, set[int]]:
        return {**self.rows, **self.held.pairs}

    @cached_property
    def _taken(self) -> set[int]:
        """All labels of the last key in rows or held."""
        return set().union(*self._may.values())

    def allows(self, a: int, b: int) -> bool:
        return b in self._may[a] if a in self._may else b not in self._taken


def order_of(first: Graph, last: Graph, ground: tuple[set[int], set[int]], held: Held = NOTHING) -> Order:
    """The order that holds in both keys: of every colour of which each key has one row, equally long.

    A row's ends are told by what else is in contact with them and by its parts' sizes; where these do not decide, it
    may go either way.
    """
    may: dict[int, set[int]] = {}
    sides = [[r for r in graph.regions if r.label not in k] for graph, k in zip((first, last), ground, strict=True)]
    for ours, theirs in _colours(*sides):
        rows, others = _rows(first, ours), _rows(last, theirs)
        if len(rows) != 1 or len(others) != 1 or len(rows[0]) != len(others[0]):
            continue
        row, ahead = rows[0], others[0]
        ways = [(_unlike(first, last, ground, row, way), way) for way in (ahead, ahead[::-1])]
        least = min(cost for cost, _ in ways)
        for cost, way in ways:
            if cost <= least + CLEAR:
                for a, b in zip(row, way, strict=True):
                    may.setdefault(a, set()).add(b)
    return Order(may, held)


def _colours(ours: list[Region], theirs: list[Region]) -> Iterator[tuple[list[Region], list[Region]]]:
    """The regions of each colour of which either key has enough for a row."""
    rest = [one for one in ours if one.size >= LEAST]
    while len(rest) >= SHORTEST:
        one = rest[0]
        group = [other for other in rest if alike(one, other)]
        met = [two for two in theirs if two.size >= LEAST and alike(one, two)]
        rest = [other for other in rest if not alike(one, other)]
        if min(len(group), len(met)) >= SHORTEST:
            yield group, met


def _rows(graph: Graph, regions: list[Region]) -> list[list[int]]:
    """The labels of the regions that are in contact one after the other, from one end to the other."""
    left = {region.label for region in regions}
    near = {k: [n for n in graph.neighbours(k) if n in left] for k in sorted(left)}
    found = []
    for end in near:
        if end not in left or len(near[end]) != 1:
            continue
        row, ahead = [end], near[end]
        while ahead and len(near[ahead[0]]) <= 2:
            row.append(ahead[0])
            ahead = [n for n in near[row[-1]] if n != row[-2]]
        left.difference_update(row)
        if not ahead and len(row) >= SHORTEST:
            found.append(row)
    return found


def _unlike(first: Graph, last: Graph, ground: tuple[set[int], set[int]], row: list[int], other: list[int]) -> float:
    """How much two rows differ: in what hangs at their ends, 0 ... 2, and in their parts' sizes."""
    ends = sum(
        1 - _shared(_hanging(first, ground[0], row, row[k]), _hanging(last, ground[1], other, other[k]))
        for k in (0, -1)
    )
    sizes = [abs(math.log(first.regions[a].size / last.regions[b].size)) for a, b in zip(row, other, strict=True)]
    return ends + sum(sizes) / len(sizes)


def _hanging(graph: Graph, ground: set[int], row: list[int], end: int) -> list[Region]:
    near = [graph.regions[n] for n in graph.neighbours(end) if n not in ground and n not in row]
    return [region for region in near if region.size >= LEAST]


def _shared(ours: list[Region], theirs: list[Region]) -> float:
    """The share of two lists of regions that are of the same colours, 1 for two empty ones."""
    rest = list(theirs)
    for one in ours:
        twin = next((k for k, two in enumerate(rest) if alike(one, two)), None)
        if twin is not None:
            rest.pop(twin)
    total = len(ours) + len(theirs)
    return 2 * (len(theirs) - len(rest)) / total if total else 1.0
