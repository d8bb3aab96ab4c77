"""Refine the motions of matched parts to subpixel accuracy: a figure scales and squashes as a whole, limbs rotate in
it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from .contours import Outline, basis, fit, joined, mapped, pairs, rotation, stepped, turned
from .graph import Graph
from .motion import Part, size_of

NEAR = 0.5
"""Distance in pixels between two outlines at which the disagreement saturates by half."""
CLOSE = (2.0, 1.5, 1.0, 0.7, 0.5, 0.4, 0.3, 0.3)
"""Distances in pixels, per iteration of the fit, at which a pair of points has half its weight."""
REDRAWN = (3.0, 2.0, 2.0, 1.5, 1.5, 1.0, 1.0, 1.0)
"""The same of outlines that are drawn anew."""
GAIN = 0.1
"""Required reduction of the disagreement for a part to scale separately; twice that to be squashed, since a limb that
is half hidden in one key seems shorter there."""
HOLD = 0.02
"""Regularisation of scale and squash towards the figure's motion."""
LARGE = 60.0
"""Minimum area in pixels for which a part's outline determines its scale."""
FEW = 12
"""Minimum number of outline points for a new fit."""
SPREADS = (1.0, 0.07, 0.04, 0.03)
"""Prior deviations of a whole figure's rotation (radians), scale, squash and shear."""
NOISE = 0.6
"""Correlated error in pixels of neighbouring outline points."""
UNSURE = 1.2
"""The same of outlines that are drawn anew."""
SLACK = 0.4
"""Tolerance in pixels of a joint without rotation."""
ARM = 5.0
"""Maximum distance in pixels between a joint's pivot and the contact of the outlines."""


def refine(first: Graph, last: Graph, parts: Sequence[Part], *, redrawn: bool = False) -> None:
    """Refit the motions of matched parts, figure by figure; of figures that are drawn anew without what joints and the
    figure do not ask for."""
    outlines: dict[int, tuple[Outline, Outline]] = {}
    for k, part in enumerate(parts):
        if part.ground or part.held or part.quality == 0 or part.bend is not None or not part.first or not part.last:
            continue
        one, two = _outline(first, part.first), _outline(last, part.last)
        if len(one.points) >= FEW and len(two.points) >= FEW:
            outlines[k] = one, two
    roots = _roots(parts)
    for root in outlines:
        if roots[root] == root:
            members = [root, *(k for k in outlines if roots[k] == root and k != root)]
            _together(parts, members, outlines, first, last, *((REDRAWN, UNSURE) if redrawn else (CLOSE, NOISE)))
    if redrawn:
        return
    for k in _downwards(parts):
        if k in outlines:
            part = parts[k]
            parent = parts[part.parent].motion if part.parent >= 0 else None
            part.motion = _best(*outlines[k], part, parent, size_of(first, part.first) >= LARGE)


def _roots(parts: Sequence[Part]) -> list[int]:
    """Per part the root of its tree."""
    out = []
    for k in range(len(parts)):
        while parts[k].parent >= 0:
            k = parts[k].parent
        out.append(k)
    return out


def _together(
    parts: Sequence[Part],
    members: list[int],
    outlines: dict[int, tuple[Outline, Outline]],
    first: Graph,
    last: Graph,
    scales: tuple[float, ...],
    noise: float,
) -> None:
    """Fit one figure, its root first in `members`: an affine motion of the whole, with rotations and shifts of
    limbs."""
    root = members[0]
    motions = {k: parts[k].motion.copy() for k in members}
    for k in members[1:]:
        motions[k] = motions[root] @ _rigid(np.linalg.inv(motions[root]) @ motions[k], parts[k].centre)
    joints = [
        joint for k in members[1:] if (joint := _joint(first, last, parts, k)) is not None and joint[0] in motions
    ]
    size = max(float(np.sqrt(sum(outlines[k][0].size ** 2 for k in members))), 3.0)
    total = np.zeros(6)
    slot = {k: 6 + 3 * n for n, k in enumerate(members[1:])}
    count = 6 + 3 * (len(members) - 1)
    for scale in scales:
        square, side = np.diag(np.full(count, 1e-4)), np.zeros(count)
        whole = mapped(motions[root], outlines[root][0].points).mean(0)
        centres = {}
        for k in members:
            one, two = outlines[k]
            place, normal, apart, weight = pairs(one, two, motions[k], scale)
            rows = [basis("affine", (place - whole) / size, normal)]
            columns = [np.arange(6)]
            if k != root:
                centres[k] = place[: len(one.points)].mean(0)
                rows.append(basis("rigid", (place - centres[k]) / one.size, normal))
                columns.append(slot[k] + np.arange(3))
            row, column = np.concatenate(rows, 1), np.concatenate(columns)
            square[np.ix_(column, column)] += row.T @ (row * weight[:, None])
            side[column] += row.T @ (weight * apart)
        spread = 1 / (np.array(SPREADS) * size) ** 2 * noise**2
        square[np.arange(2, 6), np.arange(2, 6)] += spread
        side[2:6] -= spread * total[2:]
        for parent, k, pin in joints:
            _pin(square, side, slot, centres, outlines, motions, (parent, k), pin, noise)
        step = np.linalg.solve(square, side)
        moved = stepped("affine", step[:6].clip(-2 * scale, 2 * scale), whole, size)
        total += step[:6].clip(-2 * scale, 2 * scale)
        for k in members:
            if k != root:
                own = step[slot[k] : slot[k] + 3].clip(-2 * scale, 2 * scale)
                motions[k] = stepped("rigid", own, centres[k], outlines[k][0].size) @ motions[k]
            motions[k] = moved @ motions[k]
    for k in members:
        parts[k].motion = motions[k]


def _joint(first: Graph, last: Graph, parts: Sequence[Part], k: int) -> tuple[int, int, np.ndarray] | None:
    """A part's parent, the part, and their contact in the first key (2,)."""
    part, parent = parts[k], parts[k].parent
    touch = [first.between(a, b) for a in part.first for b in parts[parent].first]
    points = np.concatenate(touch) if touch else np.zeros((0, 2))
    return (parent, k, points.mean(0)) if len(points) else None


def _pin(
    square: np.ndarray,
    side: np.ndarray,
    slot: dict[int, int],
    centres: dict[int, np.ndarray],
    outlines: dict[int, tuple[Outline, Outline]],
    motions: dict[int, np.ndarray],
    pair: tuple[int, int],
    pin: np.ndarray,
    noise: float,
) -> None:
    """Constrain two parts at their contact; weaker for larger relative rotation."""
    parent, child = pair
    own = np.linalg.inv(motions[parent]) @ motions[child]
    turn = abs(math.atan2(own[1, 0] - own[0, 1], own[0, 0] + own[1, 1]))
    weight = (noise / (SLACK + ARM * turn)) ** 2
    here, there = (mapped(motions[k], pin[None]) for k in (child, parent))
    for axis in np.eye(2):
        row = np.zeros(len(side))
        for k, at, sign in ((child, here, 1.0), (parent, there, -1.0)):
            if k in slot:
                row[slot[k] : slot[k] + 3] = (
                    sign * basis("rigid", (at - centres[k]) / outlines[k][0].size, axis[None])[0]
                )
        square += weight * np.outer(row, row)
        side += weight * row * float((there - here)[0] @ axis)


def _downwards(parts: Sequence[Part]) -> list[int]:
    """Part indices, every parent before its children."""
    order: list[int] = []
    left = list(range(len(parts)))
    while left:
        ready = [k for k in left if parts[k].parent < 0 or parts[k].parent in order]
        order += ready
        left = [k for k in left if k not in ready]
    return order


def _outline(graph: Graph, labels: Iterable[int]) -> Outline:
    own = [graph.regions[k].outline for k in sorted(labels)]
    return own[0] if len(own) == 1 else joined(own)


def _best(one: Outline, two: Outline, part: Part, parent: np.ndarray | None, large: bool) -> np.ndarray:
    """The motion with the best agreement of the outlines; more degrees of freedom need a sufficient gain."""
    starts = [part.motion]
    if parent is not None:
        starts.append(parent @ _rigid(np.linalg.inv(parent) @ part.motion, part.centre))
    best, least = part.motion, disagreement(one, two, part.motion)
    for start in reversed(starts):
        for freedom, price in (("rigid", 0.0), ("alike", GAIN), ("affine", 2 * GAIN))[: 3 if large else 1]:
            motion = fit(one, two, start, freedom, CLOSE, hold=HOLD)  # type: ignore[arg-type]
            cost = disagreement(one, two, motion) + price
            if cost < least:
                best, least = motion, cost
    return best


def _rigid(motion: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The rigid motion nearest to a motion at a position."""
    u, _, vt = np.linalg.svd(motion[:2, :2])
    turn = u @ vt
    out = rotation(math.atan2(turn[1, 0], turn[0, 0]), centre)
    out[:2, 2] += mapped(motion, centre[None])[0] - centre
    return out


def disagreement(one: Outline, two: Outline, motion: np.ndarray) -> float:
    """Distance of two outlines under a motion, 0 ... 1; hidden points count by their weight."""
    moved, ways = mapped(motion, one.points), turned(motion, one.normals)
    ahead = two.nearest(moved, ways, 2.0)
    back = np.linalg.inv(motion)
    behind = one.nearest(mapped(back, two.points), turned(back, two.normals), 2.0)
    apart = (
        (moved - two.points[ahead], two.normals[ahead], ways, one.weights),
        (moved[behind] - two.points, two.normals, ways[behind], two.weights),
    )
    total = 0.0
    for gap, normal, way, weight in apart:
        square = (gap * normal).sum(1) ** 2 + 0.1 * (gap**2).sum(1)
        far = np.where((way * normal).sum(1) > 0.5, square / (square + NEAR**2), 1.0)
        total += float(np.average(far, weights=weight)) / 2
    return total
