"""Which part covers which: what one key shows and the other hides."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components

from .contours import mapped
from .graph import Graph
from .motion import Part

MOST = 200.0
"""Maximum size in pixels for which a region counts."""
ENCLOSED = 1000.0
"""Evidence that a region enclosed by another lies above it, or a figure before scenery."""
COVERS = 10.0
"""Pixels by which a figure must cover more of a piece of scenery than that covers of it to be surely before it."""
LITTLE = 15.0
"""Evidence of borders up to which a figure is not behind a piece of scenery, since its motion may be a little wrong."""


def covering(first: Graph, last: Graph, parts: list[Part]) -> np.ndarray:
    """(parts, parts): evidence that the row's part lies above the column's: what is visible in one key and covered in
    the other lies below what is visible there."""
    over = np.zeros((len(parts), len(parts)))
    for own, other, side, there in ((first, last, "first", "last"), (last, first, "last", "first")):
        there_of = np.full(len(other.cel.paints) + 1, -1)
        for k, part in enumerate(parts):
            for label in getattr(part, there):
                there_of[label] = k
        for k, part in enumerate(parts[1:], 1):
            for label in getattr(part, side):
                region = own.regions[label]
                landed = there_of[other.labels_at(mapped(part.motion_from(side), region.inside))]
                for j in np.unique(landed):
                    if j > 0 and j != k:
                        over[j, k] += (landed == j).mean() * min(region.size, MOST)
    return over


def lift_figures(over: np.ndarray, certain: np.ndarray, first: Graph, last: Graph, parts: list[Part]) -> None:
    """Put every figure as a whole before each piece of scenery that it covers in a key, or that neither key shows it,
    or another figure, to be behind; `certain` as from `covering`, `over` all evidence."""
    figures = _figures(first, last, parts)
    for k in [k for k, part in enumerate(parts) if part.scenery]:
        shown = [certain[members, k].sum() - certain[k, members].sum() for members in figures]
        before = sum(shown) > -COVERS
        for members, more in zip(figures, shown, strict=True):
            net = (over[members, k] - over[k, members]).sum()
            if more >= COVERS or (before and more > -COVERS and net > -LITTLE):
                over[members, k] += ENCLOSED


def _figures(first: Graph, last: Graph, parts: list[Part]) -> list[np.ndarray]:
    """Per figure (parts,) bool, its parts: those that move and are in contact, one with the next."""
    touching = np.zeros((len(parts), len(parts)), bool)
    for graph, side in ((first, "first"), (last, "last")):
        owner = {label: k for k, part in enumerate(parts) for label in getattr(part, side)}
        for a, b in graph.contacts:
            touching[owner.get(a, 0), owner.get(b, 0)] = True
    moving = np.array([not (part.ground or part.scenery) for part in parts])
    _, figure = connected_components(touching & moving & moving[:, None], directed=False)
    return [moving & (figure == n) for n in np.unique(figure[moving])]
