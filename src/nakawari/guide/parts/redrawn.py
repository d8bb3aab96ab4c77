"""What a part's motion leaves between two keys of which each was drawn anew by hand: a smooth change of a pixel or two.

Unlike a bend it is small beside the part, so the part is matched, moved and checked as others are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from .bend import Bend
from .bending import turned_along
from .contours import Outline, joined, mapped, turned
from .graph import Graph
from .motion import Part

SPREADS = (0.6, 0.6, 0.4, 0.4, 0.25, 0.25)
"""Reach of what one outline point moves along, per iteration, in sizes of the outline."""
FINEST = 2.0
"""Least reach in pixels of what one outline point moves along."""
REACH = 2.0
"""Distance in pixels at which a pair of points has half its weight."""
FEW = 12
"""Minimum number of outline points."""
WAVERS = 0.07
"""Median distance in pixels between outlines from which they are drawn anew; of figures that move rigidly it is .04 at
most, and .055 if their corners lie on a grid of a quarter of a pixel."""
SHADED = 0.14
"""The same of figures with shaded parts, whose outlines are known less well: of rigid ones it is .12 at most."""
OPEN = 0.9
"""Least weight of a point that surely nothing covers."""
LOST = 4.0
"""Distance in pixels from which a point counts as lost."""
COVERED = 0.02
"""Weight of a point that faces what lies above."""
TURN = 3.0
"""Pixels that a right angle between outlines is equivalent to."""


def is_redrawn(first: Graph, last: Graph, parts: Sequence[Part]) -> bool:
    """Whether outlines that nothing covers differ smoothly from key to key after the motions of their parts."""
    matched = _matched(parts)
    gaps = [gap for part in matched for gap in _gaps(*_outlines(first, last, part), part.motion)]
    most = SHADED if any(part.shaded for part in matched) else WAVERS
    return len(gaps) > 0 and float(np.median(np.concatenate(gaps))) > most


def _matched(parts: Sequence[Part]) -> list[Part]:
    """Parts that both keys show and that are neither held nor bent nor wheels."""
    return [
        part
        for part in parts
        if part.first and part.last and part.quality > 0 and part.bend is None
        and not (part.ground or part.held or part.wheel)
    ]  # fmt: skip


def _gaps(one: Outline, two: Outline, motion: np.ndarray) -> Iterator[np.ndarray]:
    """Distances in pixels across the outlines of what surely nothing covers, from either key."""
    for own, other, way in ((one, two, motion), (two, one, np.linalg.inv(motion))):
        if len(own.points) < FEW or len(other.points) < FEW:
            continue
        moved, ways = mapped(way, own.points), turned(way, own.normals)
        near = other.nearest(moved, ways, TURN)
        gap, normal = moved - other.points[near], other.normals[near]
        sure = (own.weights * other.weights[near] > OPEN) & ((ways * normal).sum(1) > 0.5)
        yield np.where(np.linalg.norm(gap, axis=1) < LOST, np.abs((gap * normal).sum(1)), LOST)[sure]


def redraw(first: Graph, last: Graph, parts: Sequence[Part], rank: np.ndarray) -> None:
    """Find what the motions of matched parts leave; `rank` (parts,) tells which lie above which."""
    above = [_ranks(graph, parts, side, rank) for graph, side in ((first, "first"), (last, "last"))]
    matched = {id(part) for part in _matched(parts)}
    for k, part in enumerate(parts):
        if id(part) not in matched:
            continue
        one, two = (
            _open(outline, graph, part_of, labels, rank[k])
            for outline, graph, part_of, labels in zip(
                _outlines(first, last, part), (first, last), above, (part.first, part.last), strict=True
            )
        )
        if len(one.points) >= FEW and len(two.points) >= FEW:
            part.redrawn = left_of(one, two, part.motion)


def _ranks(graph: Graph, parts: Sequence[Part], side: str, rank: np.ndarray) -> np.ndarray:
    """(labels + 1,) the rank of the part of every label; the last is of what lies beyond the picture."""
    out = np.zeros(len(graph.cel.paints) + 1, np.int64)
    for k, part in enumerate(parts):
        for label in getattr(part, side):
            out[label] = rank[k]
    return out


def _open(outline: Outline, graph: Graph, ranks: np.ndarray, labels: set[int], rank: int) -> Outline:
    """The outline with next to no weight where it faces what lies above."""
    faced = graph.faced(outline)
    covered = (ranks[faced] > rank) & ~np.isin(faced, list(labels))
    return replace(outline, weights=np.where(covered, COVERED, 1.0))


def _outlines(first: Graph, last: Graph, part: Part) -> tuple[Outline, Outline]:
    return _outline(first, part.first), _outline(last, part.last)


def _outline(graph: Graph, labels: Iterable[int]) -> Outline:
    return joined([graph.regions[k].outline for k in sorted(labels)])


def left_of(one: Outline, two: Outline, motion: np.ndarray) -> Bend:
    """What a motion (3, 3) leaves between two outlines, smooth along them; nothing where one has no counterpart."""
    start, first_ways = mapped(motion, one.points), turned(motion, one.normals)
    moved, ways = start.copy(), first_ways
    tree = cKDTree(np.concatenate([two.points, two.normals * TURN], 1))
    for spread in np.maximum(np.array(SPREADS) * one.size, FINEST):
        ahead = tree.query(np.concatenate([moved, ways * TURN], 1))[1]
        behind = cKDTree(np.concatenate([moved, ways * TURN], 1)).query(
            np.concatenate([two.points, two.normals * TURN], 1)
        )[1]
        own = np.concatenate([np.arange(len(moved)), behind])
        other = np.concatenate([ahead, np.arange(len(two.points))])
        gap = two.points[other] - moved[own]
        same = np.maximum((ways[own] * two.normals[other]).sum(1), 0) ** 2
        near = 1 / (1 + (gap**2).sum(1) / REACH**2) ** 2
        weight = same * near * one.weights[own] * two.weights[other]
        kernel = np.exp(-0.5 * ((start[:, None] - start[own]) ** 2).sum(2) / spread**2) * weight
        moved = moved + kernel @ gap / (kernel.sum(1, keepdims=True) + 0.3)
        ways = turned_along(start, moved, first_ways)
    return Bend(one.points, moved - start)
