"""Two regions matched as one part: with which motion, how well their outlines agree, and what the match costs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from .bend import Bend
from .contours import SCALES, Outline, agreement, fit, joint_gap, mapped, rotation, shifted
from .graph import Graph, Region

ALIKE = 8.0
"""Maximum difference in levels of a part's paint between the keys."""
ENOUGH = 0.42
"""Minimum share of agreeing outline points for a match."""
ASTRAY = 0.02
"""What it costs that a region moves by its size otherwise than the region that it touches."""
ASTRAY_ALONE = 0.08
"""The same of a region that touches none."""
MOST_TURN = 2.4
"""Maximum rotation in radians of a part relative to its neighbour, or of a root."""
STRETCHED = 0.7
"""The least share of the outlines that must agree for a part to be stretched or squashed far."""
STRETCHES = 1.1
"""From which ratio of its stretches on a motion takes along what hangs on it."""
OPEN = 0.95
"""Mean weight of an outline from which on nothing covers it: what is half covered only seems to be squashed."""
UPRIGHT = 0.02
"""What a radian of turn costs where outlines fit as well turned: an oval fits head over heels, too."""
MOST_ALIKE = 6
"""With how many of the regions that look like it a region is compared, the likeliest."""
UNTURNED = 0.5
"""Turn in radians beyond which a squashed reading is offered beside a turned one."""
OUTER = 1.5
"""Pixels from a region's outer border within which a point of its outline is on it, not on that of a hole."""
WHOLE = 0.99
"""Share of agreeing points from which a region moves as it is expected to, and no other turn of it is tried."""
SMALL = 14.0
"""Regions with fewer pixels determine a position but no rotation."""
GROWN = 0.06
"""Logarithm of the side ratio of two regions from which a scaled start is tried as well."""
COARSE = (6.0, 4.0, 3.0, 2.0)
FINE = SCALES[2:]
TURNS = (0.0, -0.35, 0.35, -0.8, 0.8, -1.3, 1.3, -1.9, 1.9)


@dataclass
class Match:
    """Two regions matched as one part.

    Args:
        first, last: labels in the two keys.
        motion: (3, 3) from the first key to the last.
        quality: share of their outlines that agree, 0 ... 1.
    """

    first: int
    last: int
    motion: np.ndarray
    quality: float
    cost: float = 0.0
    others: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    """Labels of further pieces of the part in the two keys."""
    bend: Bend | None = None
    """What the motion leaves, of a region that changes its shape."""
    held: bool = False
    """Whether it stays where it is, and what may differ is covered."""


@dataclass
class Matching:
    """The result of matching.

    Args:
        matches: one per matched region of the first key.
        hidden: (3, 3) from the first key to the last, by side ("first" or "last") and label, of regions that the other
            key does not show.
    """

    matches: dict[int, Match] = field(default_factory=dict)
    hidden: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    def take(self, new: Match, open_first: set[int], open_last: set[int]) -> None:
        """Accept a match of two of the open regions."""
        self.matches[new.first] = new
        open_first.difference_update((new.first, *new.others[0]))
        open_last.difference_update((new.last, *new.others[1]))


def alike(a: Region, b: Region) -> bool:
    return float(np.abs(a.paint - b.paint).max()) <= ALIKE


def nearest(one: Region, others: list[Region], at: np.ndarray) -> list[int]:
    """Labels of the likeliest of the regions that look like one, by their size and their distance to where it is
    expected, `at` (2,); the likeliest first."""

    def unlike(two: Region) -> float:
        return float(np.linalg.norm(two.centre - at)) / (one.outline.size + 4) + abs(math.log(two.size / one.size))

    return [two.label for two in sorted((two for two in others if alike(one, two)), key=unlike)[:MOST_ALIKE]]


def readings(one: Region, two: Region, starts: list[np.ndarray]) -> list[Match]:
    """How one region may become another: turned and grown, best of several starts, and stretched or squashed where
    nothing covers them: an oval that is squashed fits nearly as well turned by a quarter."""
    best = _turned(one, two, starts)
    stretched = _stretched(one, two, np.eye(3)) if uncovered(one) and uncovered(two) else None
    if stretched is None:
        return [best]
    if stretched.quality > best.quality + 0.03:
        return [stretched]
    return [best, stretched] if abs(angle(best.motion)) > UNTURNED else [best]


def _turned(one: Region, two: Region, starts: list[np.ndarray]) -> Match:
    """The best motion between two regions that stretches little, from several starts."""
    a, b = one.outline, two.outline
    best = max(_options(one, two, starts), key=lambda match: match.quality - UPRIGHT * abs(angle(match.motion)))
    grown = math.sqrt(two.size / max(one.size, 1e-6))
    if abs(math.log(grown)) > GROWN:  # too far for a fit that starts at the same size
        rough = [fit(a.coarse, b.coarse, start @ _scaled(grown, one.centre), "alike", COARSE) for start in starts]
        start = max(rough, key=lambda motion: score(a.coarse, b.coarse, motion))
        motion = fit(a, b, start, "alike", FINE)
        quality = score(a, b, motion)
        if quality > best.quality + 0.03 and _sane(motion):
            best = Match(one.label, two.label, motion, quality)
    for freedom in ("alike", "affine"):
        wider = fit(a, b, best.motion, freedom, SCALES[4:])  # type: ignore[arg-type]
        quality = score(a, b, wider)
        if quality > best.quality + 0.03 and _sane(wider):
            best = Match(one.label, two.label, wider, quality)
    return best


def _stretched(one: Region, two: Region, lead: np.ndarray) -> Match | None:
    """Two regions as one that is stretched or squashed between the keys; None where their outlines do not agree then.

    It starts from their moments (`by_moments`), turned as `lead` is.
    """
    a, b = one.outline, two.outline
    if min(len(part) for part in (a.points, b.points, one.hull, two.hull)) < 8:
        return None
    motion = fit(a, b, by_moments(one, two, angle(lead)), "affine", SCALES[4:])
    quality = score(a, b, motion)
    return Match(one.label, two.label, motion, quality) if quality >= STRETCHED and _sane(motion, 4.0) else None


def by_moments(one: Region, two: Region, turn: float) -> np.ndarray:
    """(3, 3): carries the second moments of one outer border onto another's, turned by about `turn` radians."""
    to_round, from_round = (_square_root(np.cov(side.hull.T)) for side in (one, two))
    out = np.eye(3)
    out[:2, :2] = from_round @ rotation(turn, np.zeros(2))[:2, :2] @ np.linalg.inv(to_round)
    out[:2, 2] = two.hull.mean(0) - out[:2, :2] @ one.hull.mean(0)
    return out


def _stretches(motion: np.ndarray) -> bool:
    sizes = np.linalg.svd(motion[:2, :2], compute_uv=False)
    return bool(sizes[0] > STRETCHES * sizes[1])


def uncovered(region: Region) -> bool:
    """Whether next to nothing of a region's outer border may be another's that covers it."""
    outer = outer_border(region)
    return len(outer.points) > 0 and float(outer.weights.mean()) > OPEN


def outer_border(region: Region) -> Outline:
    """A region's outline without the borders of holes, which are of what lies in them."""
    spots = [(float(x), float(y)) for x, y in region.outline.points]
    return region.outline.some(
        np.array([abs(cv2.pointPolygonTest(region.hull, at, True)) < OUTER for at in spots], bool)
    )


def _square_root(square: np.ndarray) -> np.ndarray:
    """The square root (2, 2) of a symmetric matrix without negative values."""
    values, vectors = np.linalg.eigh(square + 1e-6 * np.eye(2))
    return (vectors * np.sqrt(values)) @ vectors.T


def _scaled(by: float, about: np.ndarray) -> np.ndarray:
    """(3, 3): a scaling about a point."""
    out = np.diag([by, by, 1.0])
    out[:2, 2] = (1 - by) * about
    return out


def _options(one: Region, two: Region, starts: list[np.ndarray]) -> list[Match]:
    """The best distinct rigid motions between two regions: a limb also fits upside down."""
    a, b = one.outline, two.outline
    ahead = fit(a, b, starts[0], "rigid", FINE)
    quality = score(a, b, ahead)
    if quality >= WHOLE:
        return [Match(one.label, two.label, ahead, quality)]
    rough: list[tuple[float, np.ndarray]] = []
    for start in starts:
        motion = fit(a.coarse, b.coarse, start, "rigid", COARSE)
        rough.append((score(a, b, motion) - 0.02 * abs(angle(start) - angle(starts[0])), motion))
    rough.sort(key=lambda item: -item[0])
    fine = [fit(a, b, motion, "rigid", FINE) for motion in _distinct([motion for _, motion in rough], one)[:3]]
    return [Match(one.label, two.label, motion, score(a, b, motion)) for motion in fine]


def _distinct(starts: list[np.ndarray], one: Region) -> list[np.ndarray]:
    """Starts that differ in position or rotation of the region."""
    kept: list[np.ndarray] = []
    corners = one.centre + one.outline.size * np.array([(1, 0), (0, 1), (-1, -1)])
    for start in starts:
        if all(np.abs(mapped(start, corners) - mapped(other, corners)).max() > 3 for other in kept):
            kept.append(start)
    return kept[:12]


def score(a: Outline, b: Outline, motion: np.ndarray) -> float:
    """How well two outlines agree under a motion, 0 ... 1; hidden points cost half."""
    ahead, behind = agreement(a, b, motion)
    return 0.5 * min(ahead, behind) + 0.5 * max(ahead, behind)


def in_place(a: Outline, b: Outline) -> float:
    """How well two outlines agree without a motion, 0 ... 1."""
    return score(a, b, np.eye(3)) if len(a.points) and len(b.points) else 0.0


def angle(motion: np.ndarray) -> float:
    return math.atan2(motion[1, 0] - motion[0, 1], motion[0, 0] + motion[1, 1])


def _sane(motion: np.ndarray, most: float = 1.5) -> bool:
    """Whether a motion does not mirror and stretches by no more than `most` times."""
    sizes = np.linalg.svd(motion[:2, :2], compute_uv=False)
    likely = sizes[1] > 0.9 / most and sizes[0] < 1.13 * most and sizes[0] / sizes[1] < most
    return bool(likely and np.linalg.det(motion[:2, :2]) > 0)


def by_centres(one: Region, two: Region, turns: Iterable[float] = TURNS) -> list[np.ndarray]:
    move = shifted(two.centre - one.centre)
    return [rotation(turn, two.centre) @ move for turn in turns]


def beside(first: Graph, last: Graph, held: list[Match], touching: bool, a: int, b: int) -> Match | None:
    """The match of region a to region b, given matched regions that lead it (`leading`); None if they are too far
    apart."""
    one, two = first.regions[a], last.regions[b]
    if not 0.1 < two.size / max(one.size, 1e-6) < 10:
        return None
    starts: list[np.ndarray] = []
    for other in held[:3] if touching else []:
        joint = first.between(a, other.first).mean(0)
        pivot = mapped(other.motion, joint[None])[0]
        starts += [rotation(turn, pivot) @ other.motion for turn in TURNS]
    lead = held[0].motion
    middle = mapped(lead, one.centre[None])[0]
    starts.append(shifted(two.centre - middle) @ lead)
    if one.size < SMALL or two.size < SMALL:
        motion = shifted(two.centre - middle) @ lead
        near = float(np.linalg.norm(two.centre - middle)) / SMALL
        options = [Match(a, b, motion, max(0.6 * min(one.size, two.size) / max(one.size, two.size) + 0.4 - near, 0.0))]
    else:
        options = _options(one, two, _distinct(starts, one))
    for new in options:
        new.cost = cost_beside(first, last, held, touching, new)
    best = min(options, key=lambda match: match.cost)
    if not math.isfinite(best.cost):
        return None
    if one.size >= SMALL and two.size >= SMALL:
        wider = fit(one.outline, two.outline, best.motion, "alike", SCALES[5:], hold=0.2)
        quality = score(one.outline, two.outline, wider)
        if quality > best.quality + 0.08 and _sane(wider):
            best.cost -= quality - best.quality
            best.motion, best.quality = wider, quality
        may = best.quality < STRETCHED and (_stretches(lead) or (uncovered(one) and uncovered(two)))
        stretched = _stretched(one, two, lead) if may else None
        if stretched is not None:
            best.cost -= stretched.quality - best.quality
            best.motion, best.quality = stretched.motion, stretched.quality
    return best


def cost_beside(first: Graph, last: Graph, held: list[Match], touching: bool, new: Match) -> float:
    """What a match costs, given matched regions that lead it (`leading`)."""
    one, lead = first.regions[new.first], held[0].motion
    ahead, middle = (mapped(motion, one.centre[None])[0] for motion in (new.motion, lead))
    astray = float(np.linalg.norm(ahead - middle)) / (one.outline.size + 4)
    turn = abs(angle(new.motion @ np.linalg.inv(lead)))
    if turn > MOST_TURN:
        return math.inf
    if touching:
        return _cost(first, held, new, one, last.regions[new.last], last) + ASTRAY * astray
    return 1.2 - new.quality + ASTRAY_ALONE * astray + 0.15 * turn


def _cost(first: Graph, held: list[Match], new: Match, one: Region, two: Region, last: Graph) -> float:
    """Cost of a match: disagreeing outlines, separated joints, lost neighbours, large rotations."""
    gaps, lost, turns = [], [], []
    for other in held:
        joint = first.between(new.first, other.first)
        gaps.append(joint_gap(other.motion, new.motion, joint, (one.hull, first.regions[other.first].hull)))
        lost.append(len(last.between(new.last, other.last)) == 0)
        turns.append(abs(angle(new.motion @ np.linalg.inv(other.motion))))
    apart = min(min(gaps) / 6.0, 1.0)
    larger = max(one.size, two.size) / max(min(one.size, two.size), 1.0)
    return (
        (1 - new.quality)
        + 0.6 * apart
        + 0.2 * float(np.mean(lost))
        + 0.15 * min(turns)
        + 0.5 * max(min(turns) - 1.4, 0)
        + 0.06 * math.log(larger)
    )
