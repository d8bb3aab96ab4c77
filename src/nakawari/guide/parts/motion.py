"""Parts and their motion between the keys: a tree of joints with rotations on arcs."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import numpy as np

from .bend import Bend
from .contours import joint_gap, mapped, rotation
from .graph import Graph, Region
from .held import Held
from .pairing import Matching, alike

JOINT = 4.0
"""Maximum separation in pixels of two parts at a joint."""
FEWEST = 4
"""Minimum number of contact points of a joint."""
ALONG = 0.3
"""Cost of a joint as long as the part."""
AXLE = 2.0
"""Pixels by which a joint with anything else may separate more than one with a wheel."""
HINTED = 0.5
"""Benefit of a part that covers visible regions of its colour."""
HIDING = np.radians(np.arange(-75, 76, 2.5))
"""Candidate rotations that hide a part behind others."""
TWIN = 0.75
"""Least ratio of the sizes of two parts of one colour from which neither leads the other: the two wings of a moth."""
SHY = 0.3
"""Visible share of a part that is equivalent to one radian more of rotation."""


@dataclass
class Part:
    """A part: regions that move together.

    Args:
        first, last: labels in the two keys; one of them may be empty.
        motion: (3, 3) from the first key to the last.
        centre: (2,) in the first key.
        quality: 0 ... 1, agreement of its outlines; 0 if its motion is its neighbour's.
        parent: the part at whose joint it rotates, -1 for a root.
        ground: the static background, below all others.
    """

    first: set[int]
    last: set[int]
    motion: np.ndarray
    centre: np.ndarray
    quality: float
    parent: int = -1
    ground: bool = False
    reach: float = field(default=10.0)
    """Pixels, the size of the part."""
    bend: Bend | None = None
    """What its motion leaves, of a part that changes its shape."""
    redrawn: Bend | None = None
    """What its motion leaves, of a part that is drawn anew in each key."""
    held: bool = False
    """Whether it stays where it is, whatever covers it."""
    scenery: bool = False
    """Whether it is held and carries nothing that moves."""
    wheel: bool = False
    """Whether it is a wheel, drawn with all that is in it."""
    shaded: bool = False
    """Whether it has several paints."""

    @property
    def left(self) -> Bend | None:
        """What its motion leaves, None if it leaves nothing."""
        return self.bend or self.redrawn

    @property
    def composed(self) -> bool:
        """Whether it is drawn with all that is in it."""
        return self.wheel or self.shaded

    def motion_from(self, side: str) -> np.ndarray:
        """(3, 3): from the "first" key to the last, or from the "last" to the first."""
        return self.motion if side == "first" else np.linalg.inv(self.motion)

    def carried(self, side: str, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) of the "first" key in the last, or of the "last" in the first, as it is drawn there."""
        if self.redrawn is None or len(points) == 0:
            return mapped(self.motion_from(side), points)
        way = self.redrawn.carried if side == "first" else self.redrawn.carried_back
        return way(self.motion, points)


def parts_of(first: Graph, last: Graph, ground: tuple[set[int], set[int]], found: Matching, held: Held) -> list[Part]:
    """All regions of both keys as parts: background, matched regions, and regions assigned to them."""
    parts = [Part(set(ground[0]), set(ground[1]), np.eye(3), np.zeros(2), 1.0, ground=True)]
    for match in found.matches.values():
        region = first.regions[match.first]
        parts.append(
            Part(
                {match.first, *match.others[0]}, {match.last, *match.others[1]}, match.motion, region.centre,
                match.quality, reach=region.outline.size, bend=match.bend, held=match.held,
                scenery=match.first in held.scenery,
            )
        )  # fmt: skip
    _join(first, last, parts, "first", found)
    _join(last, first, parts, "last", found)
    for part in parts:
        part.wheel = bool(part.first & first.cel.wheels.keys() or part.last & last.cel.wheels.keys())
        part.shaded = bool(part.first & first.cel.shaded or part.last & last.cel.shaded)
    _hang(first, last, parts)
    _balance(first, parts)
    return parts


def _join(own: Graph, other: Graph, parts: list[Part], side: str, found: Matching) -> None:
    """Assign unmatched regions of one key to a part that would cover them, or let them follow a neighbour.

    From matched regions outwards, so that the lower part of a limb follows its upper part.
    """
    lost = _lost(own, parts, side)
    hints = _lost(other, parts, "last" if side == "first" else "first")
    while lost:
        placed = {label for part in parts[1:] for label in getattr(part, side)}
        ready = [r for r in lost if placed & set(own.neighbours(r.label))] or lost
        region = max(ready, key=lambda r: r.size)
        lost.remove(region)
        holder = _holder(own, other, parts, side, region)
        if holder is not None:
            getattr(holder, side).add(region.label)
            continue
        known = found.hidden.get((side, region.label))
        motion = _hidden(own, other, parts, side, region, hints) if known is None else known
        centre = region.centre if side == "first" else mapped(np.linalg.inv(motion), region.centre[None])[0]
        new = Part(set(), set(), motion, centre, 0.0, reach=max(region.outline.size, 1.0))
        getattr(new, side).add(region.label)
        parts.append(new)


def _lost(own: Graph, parts: list[Part], side: str) -> list[Region]:
    """Regions of a key without a part."""
    taken = {label for part in parts for label in getattr(part, side)}
    return [r for r in own.regions if r.label not in taken and r.size > 0]


def _holder(own: Graph, other: Graph, parts: list[Part], side: str, region: Region) -> Part | None:
    """The part that covers most of a region of its colour, more than half."""
    holder, share = None, 0.5
    for part in parts[1:]:
        mine, theirs = (part.first, part.last) if side == "first" else (part.last, part.first)
        known = own.regions[next(iter(mine))] if mine else other.regions[next(iter(theirs))] if theirs else None
        if not theirs or known is None or not alike(region, known):
            continue
        motion = part.motion_from(side)
        landed = other.labels_at(mapped(motion, region.inside))
        inside = float(np.isin(landed, list(theirs)).mean())
        if inside > share:
            holder, share = part, inside
    return holder


def _hidden(own: Graph, other: Graph, parts: list[Part], side: str, region: Region, hints: list[Region]) -> np.ndarray:
    """The motion (3, 3) of a region that the other key does not show, from the first key to the last.

    There it lies behind something: it stays with scenery, or goes with a part that it hangs on, turned about their
    joint as little as hides it. A joint is short beside the region; what runs along it is none. What is seen of its
    colour there (`hints`), and of no part, may be its own.
    """
    there = "last" if side == "first" else "first"
    open_ground = [r.label for r in other.regions if r.rim > 0 or r.paint[3] < 4]
    open_ground += [label for part in parts if part.scenery for label in getattr(part, there)]
    points = np.concatenate([region.inside, region.outline.points + region.outline.normals])
    seen = [hint.inside for hint in hints if alike(hint, region)]
    leaders = [part for part in parts[1:] if getattr(part, side)]
    best, least = None, math.inf
    for part in leaders:
        touch = [own.between(region.label, label) for label in getattr(part, side)]
        joint = np.concatenate(touch) if touch else np.zeros((0, 2))
        if len(joint) < FEWEST:
            continue
        motion = part.motion_from(side)
        pivot = joint.mean(0)
        along = float(np.sqrt(((joint - pivot) ** 2).sum(1).mean())) / (region.outline.size + 1)
        turns, along = ((0.0,), 0.0) if part.scenery else (HIDING, along)
        for turn in turns:
            one = motion @ rotation(turn, pivot)
            cost = float(np.isin(other.labels_at(mapped(one, points)), open_ground).mean())
            cost += SHY * abs(float(turn)) + ALONG * along
            if seen:
                back = own.labels_at(mapped(np.linalg.inv(one), np.concatenate(seen)))
                cost -= HINTED * float((back == region.label).mean())
            if cost < least:
                best, least = one, cost
    if best is None:
        leader = _leader(own, parts, side, region.label)
        return np.eye(3) if leader is None else leader.motion
    return best if side == "first" else np.linalg.inv(best)


def _leader(own: Graph, parts: list[Part], side: str, label: int) -> Part | None:
    """The part with the most contact to a region, otherwise the nearest; without the background."""
    best, most = None, 0
    for part in parts[1:]:
        touch = sum(len(own.between(label, other)) for other in getattr(part, side))
        if touch > most:
            best, most = part, touch
    if best is not None:
        return best
    matched = [part for part in parts[1:] if part.quality > 0 and getattr(part, side)]
    centre = own.regions[label].centre
    return min(
        matched,
        key=lambda part: min(
            np.linalg.norm(own.regions[k].centre - centre) - own.regions[k].outline.size for k in getattr(part, side)
        ),
        default=None,
    )


def _hang(first: Graph, last: Graph, parts: list[Part]) -> None:
    """Set the parent of every part: from the largest of each figure outwards, along the joints with the least
    separation."""
    links = _links(first, last, parts)
    sizes = [size_of(first, part.first) + size_of(last, part.last) for part in parts]
    left = set(range(1, len(parts)))
    while left:
        root = max(left, key=lambda k: (parts[k].quality > 0, not parts[k].wheel, parts[k].bend is None, sizes[k]))
        left.discard(root)
        queue = [(gap, root, other) for other, gap in links.get(root, {}).items()]
        heapq.heapify(queue)
        while queue:
            gap, holder, child = heapq.heappop(queue)
            if child not in left or gap > JOINT:
                continue
            left.discard(child)
            parts[child].parent = holder
            for other, more in links.get(child, {}).items():
                heapq.heappush(queue, (more + (AXLE if parts[child].wheel else 0.25), child, other))
    for part in parts:  # what touches a wheel does not turn with it
        while part.parent >= 0 and parts[part.parent].wheel and parts[part.parent].parent >= 0:
            part.parent = parts[part.parent].parent


def _balance(first: Graph, parts: list[Part]) -> None:
    """Let a figure whose largest part has a twin turn about its own centre, not about that of one of the two."""
    trees: dict[int, list[Region]] = {}
    for k, part in enumerate(parts):
        while parts[k].parent >= 0:
            k = parts[k].parent
        trees.setdefault(k, []).extend(first.regions[label] for label in part.first)
    for root, regions in trees.items():
        own = parts[root].first
        if not own or parts[root].ground:
            continue
        body = max((first.regions[label] for label in own), key=lambda region: region.size)
        if any(r.label not in own and alike(r, body) and TWIN < r.size / body.size < 1 / TWIN for r in regions):
            sizes = np.array([region.size for region in regions])
            parts[root].centre = sizes @ np.array([region.centre for region in regions]) / sizes.sum()


def size_of(graph: Graph, labels: set[int]) -> float:
    """Total pixels of the areas of some labels."""
    return sum(graph.regions[k].size for k in labels)


def _links(first: Graph, last: Graph, parts: list[Part]) -> dict[int, dict[int, float]]:
    """Part -> parts in contact with it in a key -> separation of their joint in pixels."""
    out: dict[int, dict[int, float]] = {}
    for graph, side in ((first, "first"), (last, "last")):
        owner = {label: k for k, part in enumerate(parts) if not part.scenery for label in getattr(part, side)}
        for (a, b), points in graph.contacts.items():
            i, j = owner.get(a, 0), owner.get(b, 0)
            if i == j or 0 in (i, j):
                continue
            motions = [parts[i].motion, parts[j].motion]
            if side == "last":
                motions = [np.linalg.inv(m) for m in motions]
            hulls = (graph.regions[a].hull, graph.regions[b].hull)
            axles = [graph.regions[label].centre for label, k in ((a, i), (b, j)) if parts[k].wheel]
            gap = joint_gap(motions[0], motions[1], np.array(axles) if axles else points, hulls) + 1.0 / len(points)
            known = out.setdefault(i, {}).get(j, math.inf)
            out[i][j] = out.setdefault(j, {})[i] = min(gap, known)
    return out


def poses(parts: list[Part], time: float) -> list[np.ndarray]:
    """The pose of every part at a time in [0, 1]: (3, 3) from the first key.

    A root moves straight, rotates about its centre, and is scaled and squashed evenly. A child keeps its joint: in its
    parent's frame it performs a fraction of the same motion, a rotation about the same point by part of the angle, so
    that lengths are kept and tips move on arcs.
    """
    out: dict[int, np.ndarray] = {}

    def pose(k: int) -> np.ndarray:
        if k not in out:
            part = parts[k]
            if part.parent < 0:
                out[k] = _straight(part.motion, part.centre, time)
            else:
                own = np.linalg.inv(parts[part.parent].motion) @ part.motion
                out[k] = pose(part.parent) @ _partly(own, part, time)
        return out[k]

    return [pose(k) for k in range(len(parts))]


def _straight(motion: np.ndarray, centre: np.ndarray, time: float) -> np.ndarray:
    out = np.eye(3)
    out[:2, :2] = _turned_and_stretched(motion[:2, :2], time)
    there = centre + time * (mapped(motion, centre[None])[0] - centre)
    out[:2, 2] = there - out[:2, :2] @ centre
    return out


def _turned_and_stretched(linear: np.ndarray, time: float) -> np.ndarray:
    """A fraction of a linear map (2, 2): its rotation by part of the angle, part of its scale, and part of its squash,
    by which one axis is longer as the other is shorter."""
    u, (longer, shorter), vt = np.linalg.svd(linear)
    turn = u @ vt
    angle = math.atan2(turn[1, 0], turn[0, 0])
    scale = 1 + time * (math.sqrt(longer * shorter) - 1)
    squash = 1 + time * (math.sqrt(longer / max(shorter, 1e-9)) - 1)
    stretch = vt.T @ np.diag([scale * squash, scale / squash]) @ vt
    return rotation(time * angle, np.zeros(2))[:2, :2] @ stretch


def _partly(own: np.ndarray, part: Part, time: float) -> np.ndarray:
    """A fraction of a motion: a rotation about its fixed point, or straight if that is far away."""
    away = own[:2, :2] - np.eye(2)
    if abs(np.linalg.det(away)) < 1e-9:
        return _straight(own, part.centre, time)
    pivot = np.linalg.solve(away, -own[:2, 2])
    if np.linalg.norm(pivot - part.centre) > 6 * part.reach + 10:
        return _straight(own, part.centre, time)
    return _power(own, pivot, time)


def _power(own: np.ndarray, pivot: np.ndarray, time: float) -> np.ndarray:
    """A fractional motion about its fixed point: its linear part to the power of the fraction."""
    values, vectors = np.linalg.eig(own[:2, :2].astype(complex))
    out = np.eye(3)
    if (values.real < 0).all() and np.ptp(values.imag) < 1e-9:  # half a turn, squashed: no real power of it exists
        out[:2, :2] = _turned_and_stretched(own[:2, :2], time)
    else:
        out[:2, :2] = np.real(vectors @ np.diag(values**time) @ np.linalg.inv(vectors))
    out[:2, 2] = pivot - out[:2, :2] @ pivot
    return out
