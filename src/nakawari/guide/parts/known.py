"""How regions are read beside what is matched around them, each reading once."""

from __future__ import annotations

import numpy as np

from .graph import Graph
from .pairing import Match, Matching, beside


def leading(first: Graph, found: Matching, members: set[int], a: int) -> tuple[list[Match], bool]:
    """The matched neighbours of region a, and True; otherwise the nearest matched region, and False."""
    held = [found.matches[n] for n in first.neighbours(a) if n in members]
    if held:
        return held, True
    centre = first.regions[a].centre
    away = {n: float(np.linalg.norm(first.regions[n].centre - centre)) for n in sorted(members)}
    return [found.matches[min(away, key=away.__getitem__)]], False


class Known(dict[tuple, "Match | None"]):
    """Readings of pairs of regions beside matched neighbours: figures grown from different roots share most of them."""

    def beside(self, first: Graph, last: Graph, held: list[Match], touching: bool, a: int, b: int) -> Match | None:
        key = a, b, touching, *((other.last, other.motion.tobytes()) for other in held)
        if key not in self:
            self[key] = beside(first, last, held, touching, a, b)
        return self[key]
