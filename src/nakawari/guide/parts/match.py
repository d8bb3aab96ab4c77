"""Match the regions of the first key to those of the last, with their motions: from the best match outwards along
contacts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from .contours import SCALES, Outline, agreement, fit, joint_gap, mapped, rotation, shifted
from .graph import Graph, Region

ALIKE = 8.0
"""Maximum difference in levels of a part's paint between the keys."""
ENOUGH = 0.42
"""Minimum share of agreeing outline points for a match."""
PIECES = 0.5
"""Minimum share of agreeing borders with the background for a match of pieces."""
BARE = 0.1
"""Maximum share of such a part on the background of the other key."""
MOST_PIECES = 4
"""Maximum number of pieces of a part in either key."""
PIECE_STARTS = 4
"""Number of neighbours whose motions are initial estimates for a piece."""
AWAY = 0.5
"""What it costs that a root moves by the picture's diagonal: of regions that look alike, the nearer one."""
ASTRAY = 0.02
"""What it costs that a region moves by its size otherwise than the region that it touches."""
ASTRAY_ALONE = 0.08
"""The same of a region that touches none."""
MOST_ROOTS = 3
MOST_TURN = 2.4
"""Maximum rotation in radians of a part relative to its neighbour, or of a root."""
DEAR = 1.1
"""Maximum cost of a match."""
SURE = 0.6
"""Matches below this cost are accepted before more expensive ones are re-evaluated."""
STRETCHED = 0.7
"""The least share of the outlines that must agree for a part to be stretched or squashed far."""
STRETCHES = 1.1
"""From which ratio of its stretches on a motion takes along what hangs on it."""
OPEN = 0.95
"""Mean weight of an outline from which on nothing covers it: what is half covered only seems to be squashed."""
UPRIGHT = 0.02
"""What a radian of turn costs where outlines fit as well turned: an oval fits head over heels, too."""
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


@dataclass
class Matching:
    """The result of matching.

    Args:
        matches: one per matched region of the first key.
    """

    matches: dict[int, Match] = field(default_factory=dict)


def alike(a: Region, b: Region) -> bool:
    return float(np.abs(a.paint - b.paint).max()) <= ALIKE


def match(first: Graph, last: Graph, ground: tuple[set[int], set[int]]) -> Matching:
    """Match the regions of two keys, without background.

    Figure by figure: several likely matches of large regions are each assumed in turn and grown; the one whose
    figure explains most is kept.
    """
    found = Matching()
    free = [
        {r.label for r in graph.regions if r.label not in still and len(r.outline.points) >= 4}
        for graph, still in zip((first, last), ground, strict=True)
    ]
    while free[0] and free[1]:
        grown = []
        for root in _roots(first, last, *free):
            trial, rest = Matching(), [set(side) for side in free]
            _take(trial, root, *rest)
            _grow(first, last, trial, root, *rest)
            worth = sum(
                (1.4 - match.cost) * min(first.regions[a].size, last.regions[match.last].size) ** 0.7
                for a, match in trial.matches.items()
            )
            grown.append((worth, trial, rest))
        if not grown:
            break
        _, trial, free = max(grown, key=lambda item: item[0])
        found.matches |= trial.matches
    _match_pieces(first, last, ground, found, *free)
    return found


def _match_pieces(
    first: Graph,
    last: Graph,
    ground: tuple[set[int], set[int]],
    found: Matching,
    open_first: set[int],
    open_last: set[int],
) -> None:
    """Match regions that a covering object cuts into pieces in one key: all pieces of a colour at once.

    Only borders with the background are used, and such regions move nearly like a neighbour.
    """
    for a in sorted(open_first, key=lambda k: -first.regions[k].size):
        one = first.regions[a]
        pieces = [
            sorted((k for k in side if alike(graph.regions[k], one)), key=lambda k: -graph.regions[k].size)
            for graph, side in ((first, open_first), (last, open_last))
        ]
        if a not in open_first or not pieces[1] or max(len(side) for side in pieces) > MOST_PIECES:
            continue
        if min(first.regions[pieces[0][0]].size, last.regions[pieces[1][0]].size) < 2 * SMALL:
            continue
        new = _pieced(first, last, ground, found, *pieces)
        if new is not None:
            _take(found, new, open_first, open_last)
            open_first -= set(pieces[0])


def _pieced(
    first: Graph,
    last: Graph,
    ground: tuple[set[int], set[int]],
    found: Matching,
    ours: list[int],
    theirs: list[int],
) -> Match | None:
    """Match several regions of the first key to several of the last, labelled by the largest of each.

    Much of their border may be hidden in either key, but they must not overlap the background of the other.
    """
    beside = {n for k in ours for n in first.neighbours(k)}
    beside |= {match.first for match in found.matches.values() if set(last.neighbours(match.last)) & set(theirs)}
    held = sorted(beside & set(found.matches), key=lambda k: -first.regions[k].size)[:PIECE_STARTS]
    one, two = _sure_of(first, ours), _sure_of(last, theirs)
    if min(len(one.points), len(two.points)) < 8:
        return None
    best: Match | None = None
    for k in held:
        motion = fit(one, two, found.matches[k].motion, "rigid")
        quality = max(agreement(one, two, motion))
        turn = abs(_angle(motion @ np.linalg.inv(found.matches[k].motion)))
        bare = max(
            _bare(last, ground[1], motion, first, ours), _bare(first, ground[0], np.linalg.inv(motion), last, theirs)
        )
        fits = quality >= PIECES and bare <= BARE and turn < MOST_TURN
        if fits and (best is None or quality > best.quality):
            best = Match(ours[0], theirs[0], motion, quality, 1 - quality)
    return best


def _bare(graph: Graph, ground: set[int], motion: np.ndarray, own: Graph, labels: list[int]) -> float:
    """The share of some regions that a motion maps to the background of the other key."""
    landed = graph.labels_at(mapped(motion, np.concatenate([own.regions[k].inside for k in labels])))
    return float(np.isin(landed, list(ground)).mean())


def _sure_of(graph: Graph, labels: list[int]) -> Outline:
    """The outlines of some regions, without points that face another region."""
    own = [graph.regions[k].outline for k in labels]
    kept = [outline.some(outline.weights == 1) for outline in own]
    return Outline(*(np.concatenate([getattr(o, name) for o in kept]) for name in ("points", "normals", "weights")))


def _take(found: Matching, new: Match, open_first: set[int], open_last: set[int]) -> None:
    found.matches[new.first] = new
    open_first.discard(new.first)
    open_last.discard(new.last)


def _roots(first: Graph, last: Graph, open_first: set[int], open_last: set[int]) -> list[Match]:
    """Likely matches of large regions as seeds of a figure, best first."""
    order = sorted(open_first, key=lambda k: -first.regions[k].size)
    if first.regions[order[0]].size < 6:
        return []
    found: list[Match] = []
    diagonal = math.hypot(*first.cel.line.shape) / first.cel.fine
    for a in order[:5]:
        one = first.regions[a]
        if one.size < 0.2 * first.regions[order[0]].size:
            break
        for b in open_last:
            two = last.regions[b]
            if not alike(one, two) or not 0.25 < two.size / one.size < 4:
                continue
            new = _tried(one, two, _by_centres(one, two))
            new.cost = 1 - new.quality + 0.25 * abs(_angle(new.motion)) + AWAY * _moved(new.motion, one) / diagonal
            if new.quality >= ENOUGH and abs(_angle(new.motion)) < MOST_TURN:
                found.append(new)
    found.sort(
        key=lambda new: (0.2 + new.cost) / math.sqrt(min(first.regions[new.first].size, last.regions[new.last].size))
    )
    return found[:MOST_ROOTS]


def _moved(motion: np.ndarray, one: Region) -> float:
    """Pixels that a motion moves a region's centre."""
    return float(np.linalg.norm(mapped(motion, one.centre[None])[0] - one.centre))


def _by_centres(one: Region, two: Region, turns: Iterable[float] = TURNS) -> list[np.ndarray]:
    move = shifted(two.centre - one.centre)
    return [rotation(turn, two.centre) @ move for turn in turns]


def _tried(one: Region, two: Region, starts: list[np.ndarray]) -> Match:
    """The best affine motion between two regions from several starts."""
    a, b = one.outline, two.outline
    best = max(_options(one, two, starts), key=lambda match: match.quality - UPRIGHT * abs(_angle(match.motion)))
    grown = math.sqrt(two.size / max(one.size, 1e-6))
    if abs(math.log(grown)) > GROWN:  # too far for a fit that starts at the same size
        rough = [fit(a.coarse, b.coarse, start @ _scaled(grown, one.centre), "alike", COARSE) for start in starts]
        start = max(rough, key=lambda motion: _score(a.coarse, b.coarse, motion))
        motion = fit(a, b, start, "alike", FINE)
        quality = _score(a, b, motion)
        if quality > best.quality + 0.03 and _sane(motion):
            best = Match(one.label, two.label, motion, quality)
    for freedom in ("alike", "affine"):
        wider = fit(a, b, best.motion, freedom, SCALES[4:])  # type: ignore[arg-type]
        quality = _score(a, b, wider)
        if quality > best.quality + 0.03 and _sane(wider):
            best = Match(one.label, two.label, wider, quality)
    stretched = _stretched(one, two, np.eye(3)) if _open(one) and _open(two) else None
    return stretched if stretched is not None and stretched.quality > best.quality + 0.03 else best


def _stretched(one: Region, two: Region, lead: np.ndarray) -> Match | None:
    """Two regions as one that is stretched or squashed between the keys; None where their outlines do not agree then.

    It starts from the motion that carries the second moments of one outer border onto the other's and turns as `lead`
    does.
    """
    a, b = one.outline, two.outline
    if min(len(part) for part in (a.points, b.points, one.hull, two.hull)) < 8:
        return None
    to_round, from_round = (_square_root(np.cov(side.hull.T)) for side in (one, two))
    start = np.eye(3)
    start[:2, :2] = from_round @ rotation(_angle(lead), np.zeros(2))[:2, :2] @ np.linalg.inv(to_round)
    start[:2, 2] = two.hull.mean(0) - start[:2, :2] @ one.hull.mean(0)
    motion = fit(a, b, start, "affine", SCALES[4:])
    quality = _score(a, b, motion)
    return Match(one.label, two.label, motion, quality) if quality >= STRETCHED and _sane(motion, 4.0) else None


def _stretches(motion: np.ndarray) -> bool:
    sizes = np.linalg.svd(motion[:2, :2], compute_uv=False)
    return bool(sizes[0] > STRETCHES * sizes[1])


def _open(region: Region) -> bool:
    """Whether next to nothing of a region's border may be another's that covers it."""
    return float(region.outline.weights.mean()) > OPEN


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
    rough: list[tuple[float, np.ndarray]] = []
    for start in starts:
        motion = fit(a.coarse, b.coarse, start, "rigid", COARSE)
        rough.append((_score(a, b, motion) - 0.02 * abs(_angle(start) - _angle(starts[0])), motion))
    rough.sort(key=lambda item: -item[0])
    fine = [fit(a, b, motion, "rigid", FINE) for motion in _distinct([motion for _, motion in rough], one)[:3]]
    return [Match(one.label, two.label, motion, _score(a, b, motion)) for motion in fine]


def _score(a: Outline, b: Outline, motion: np.ndarray) -> float:
    """How well two outlines agree under a motion, 0 ... 1; hidden points cost half."""
    ahead, behind = agreement(a, b, motion)
    return 0.5 * min(ahead, behind) + 0.5 * max(ahead, behind)


def _angle(motion: np.ndarray) -> float:
    return math.atan2(motion[1, 0] - motion[0, 1], motion[0, 0] + motion[1, 1])


def _sane(motion: np.ndarray, most: float = 1.5) -> bool:
    """Whether a motion does not mirror and stretches by no more than `most` times."""
    sizes = np.linalg.svd(motion[:2, :2], compute_uv=False)
    likely = sizes[1] > 0.9 / most and sizes[0] < 1.13 * most and sizes[0] / sizes[1] < most
    return bool(likely and np.linalg.det(motion[:2, :2]) > 0)


def _grow(first: Graph, last: Graph, found: Matching, root: Match, open_first: set[int], open_last: set[int]) -> None:
    """Match the neighbours of matched regions, wave by wave, each wave by linear assignment."""
    members = {root.first}
    tried: dict[tuple[int, int], Match] = {}
    while True:
        rows = _reachable(first, members, open_first)
        pairs = [(a, b) for a in rows for b in sorted(open_last) if alike(first.regions[a], last.regions[b])]
        for a, b in pairs:
            if (a, b) not in tried:
                new = _beside(first, last, found, members, a, b, root)
                if new is not None:
                    tried[a, b] = new
        good = {pair: tried[pair] for pair in pairs if pair in tried and tried[pair].quality >= ENOUGH}
        if not good:
            return
        new = _assigned(good)
        if not new:
            return
        # The better half first, as initial estimates for the others.
        new.sort(key=lambda item: item.cost)
        sure = [item for item in new[: (len(new) + 1) // 2] if item.cost < SURE]
        for item in sure or new[:1]:
            _take(found, item, open_first, open_last)
            members.add(item.first)
            for a, b in list(tried):
                if a == item.first or b == item.last or item.first in first.neighbours(a):
                    del tried[a, b]


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


def _beside(first: Graph, last: Graph, found: Matching, members: set[int], a: int, b: int, root: Match) -> Match | None:
    """The match of region a to region b, given matched neighbours of a; None if they are too far apart."""
    one, two = first.regions[a], last.regions[b]
    if not 0.1 < two.size / max(one.size, 1e-6) < 10:
        return None
    held = [found.matches[n] for n in first.neighbours(a) if n in members]
    touching = bool(held)
    if not touching:
        held = [
            min(
                (found.matches[n] for n in members),
                key=lambda m: np.linalg.norm(first.regions[m.first].centre - one.centre),
            )
        ]
    starts: list[np.ndarray] = []
    for other in held[:3] if touching else []:
        joint = first.between(a, other.first).mean(0)
        pivot = mapped(other.motion, joint[None])[0]
        starts += [rotation(turn, pivot) @ other.motion for turn in TURNS]
    nearest = held[0].motion
    middle = mapped(nearest, one.centre[None])[0]
    starts.append(shifted(two.centre - middle) @ nearest)
    if one.size < SMALL or two.size < SMALL:
        motion = shifted(two.centre - middle) @ nearest
        near = float(np.linalg.norm(two.centre - middle)) / SMALL
        options = [Match(a, b, motion, max(0.6 * min(one.size, two.size) / max(one.size, two.size) + 0.4 - near, 0.0))]
    else:
        options = _options(one, two, _distinct(starts, one))
    for new in options:
        new.cost = _cost(first, held, new, one, two, last) if touching else 1.2 - new.quality
        astray = float(np.linalg.norm(mapped(new.motion, one.centre[None])[0] - middle)) / (one.outline.size + 4)
        new.cost += (ASTRAY if touching else ASTRAY_ALONE) * astray
        turn = abs(_angle(new.motion @ np.linalg.inv(nearest)))
        new.cost += math.inf if turn > MOST_TURN else 0.0 if touching else 0.15 * turn
    best = min(options, key=lambda match: match.cost)
    if not math.isfinite(best.cost):
        return None
    if one.size >= SMALL and two.size >= SMALL:
        wider = fit(one.outline, two.outline, best.motion, "alike", SCALES[5:], hold=0.2)
        quality = _score(one.outline, two.outline, wider)
        if quality > best.quality + 0.08 and _sane(wider):
            best.cost -= quality - best.quality
            best.motion, best.quality = wider, quality
        may = best.quality < STRETCHED and (_stretches(nearest) or (_open(one) and _open(two)))
        stretched = _stretched(one, two, nearest) if may else None
        if stretched is not None:
            best.cost -= stretched.quality - best.quality
            best.motion, best.quality = stretched.motion, stretched.quality
    return best


def _distinct(starts: list[np.ndarray], one: Region) -> list[np.ndarray]:
    """Starts that differ in position or rotation of the region."""
    kept: list[np.ndarray] = []
    corners = one.centre + one.outline.size * np.array([(1, 0), (0, 1), (-1, -1)])
    for start in starts:
        if all(np.abs(mapped(start, corners) - mapped(other, corners)).max() > 3 for other in kept):
            kept.append(start)
    return kept[:12]


def _cost(first: Graph, held: list[Match], new: Match, one: Region, two: Region, last: Graph) -> float:
    """Cost of a match: disagreeing outlines, separated joints, lost neighbours, large rotations."""
    gaps, lost, turns = [], [], []
    for other in held:
        joint = first.between(new.first, other.first)
        gaps.append(joint_gap(other.motion, new.motion, joint, (one.hull, first.regions[other.first].hull)))
        lost.append(len(last.between(new.last, other.last)) == 0)
        turns.append(abs(_angle(new.motion @ np.linalg.inv(other.motion))))
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
