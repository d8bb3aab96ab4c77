"""How regions are read beside what is matched around them, each reading once."""

from __future__ import annotations

import numpy as np

from .graph import Graph
from .held import NOTHING, Held, settled
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

    def __init__(self, held: Held = NOTHING) -> None:
        super().__init__()
        self.held = held

    def beside(self, first: Graph, last: Graph, held: list[Match], touching: bool, a: int, b: int) -> Match | None:
        key = a, b, touching, *((other.last, other.motion.tobytes()) for other in held)
        if key not in self:
            new = beside(first, last, held, touching, a, b)
            options = settled([] if new is None else [new], first, last, self.held, a, b)
            self[key] = options[0] if options else None
        return self[key]
