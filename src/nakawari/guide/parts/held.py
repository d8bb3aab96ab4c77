"""Regions that are held: at one place in both keys, where a figure may pass in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .contours import Outline, fit, joint_gap, mapped, shifted
from .graph import Graph, Region
from .pairing import FINE, WHOLE, Match, Matching, alike, beside, score

SIDES = 0.5
"""Pixels to either side of a border within which it is in place."""
IN_PLACE = 0.15
"""Share of a region's outline that is in place in the other key, at least, of the two that has more."""
GONE = 0.1
"""Maximum share of its outline that is not there."""
BARE = 0.05
"""Maximum share of a held region at whose place the other key shows what lies behind figures."""
STILL = 0.1
"""Median distance in pixels between such borders in the two keys, at most."""
REACH = 2.0
"""Distance in pixels that counts as much as a right angle between two borders."""

TOUCHES = 4.0
"""Distance in pixels between the places of a contact in the two keys up to which it is one that holds."""
RESTS = 0.35
"""Distance in its size between the places of a region in the two keys, up to which it rests on what it touches."""
TURNS = 0.6
"""Minimum agreement of the outlines of what turns about a held region."""
HINGE, BEHIND = 1.2, 2.5
"""Maximum gap in pixels of its joint (`joint_gap`), and of one that may lie behind what is held."""
CLEAR = 0.05
"""By how much it must fit better turned than moved straight."""

Labels = tuple[set[int], set[int]]
"""Labels in each key."""
Pairs = dict[int, set[int]]
"""Labels in the first key -> labels in the last at the same place; of one held thing there may be several pieces."""


@dataclass(frozen=True)
class Held:
    """What is held.

    Args:
        pairs: all of it, but for the background.
        scenery: what of it carries nothing that moves, so that it is no body with moving limbs.
        covered: what of that something covers in a key, so that it lies behind; the rest may be before or behind.
    """

    pairs: Pairs
    scenery: Pairs
    covered: Pairs

    def behind(self, ground: Labels) -> Labels:
        """The background with the scenery that something covers."""
        return ground[0] | self.covered.keys(), ground[1].union(*self.covered.values())


NOTHING = Held({}, {}, {})


def held_of(first: Graph, last: Graph, ground: Labels) -> Held:
    """What is held in two keys, without background."""
    pairs = set(_candidates(first, last, ground))
    while True:
        labels = ground[0] | {a for a, _ in pairs}, ground[1] | {b for _, b in pairs}
        against = {(a, b): _against(first, last, labels, pairs, a, b) for a, b in sorted(pairs)}
        worst = max(against, key=against.__getitem__, default=None)
        if worst is None or against[worst] <= 1:
            break
        pairs.discard(worst)  # one by one, since what is wrongly held speaks against the rest
    out: Pairs = {}
    for a, b in sorted(pairs):
        out.setdefault(a, set()).add(b)
    covered = {a for a, b in pairs if _is_covered(first, last, pairs, a, b)}
    carrying = {a for a, b in pairs if _carries(first, last, labels, a, b, whole=a not in covered)}
    scenery = {a: there for a, there in out.items() if a not in carrying}
    return Held(out, scenery, {a: there for a, there in scenery.items() if a in covered})


def settled(options: list[Match], first: Graph, last: Graph, held: Held, a: int, b: int) -> list[Match]:
    """The readings of a region as one of the other key, or that it is held, if it is and none of them fits as a whole:
    a wheel turns in place."""
    if b not in held.pairs.get(a, ()) or any(option.quality >= WHOLE for option in options):
        return options
    return [_match(first, last, a, b)]


def match_held(
    first: Graph, last: Graph, pairs: Pairs, found: Matching, open_first: set[int], open_last: set[int]
) -> None:
    """Match the open regions among held ones."""
    for a, labels in pairs.items():
        for b in sorted(labels & open_last, key=lambda k: -last.regions[k].size):
            if a in open_first:
                found.take(_match(first, last, a, b), open_first, open_last)


def _mates(pairs: set[tuple[int, int]], a: int, b: int) -> Labels:
    """The labels held with b, and those held with a."""
    return {one for one, two in pairs if two == b}, {two for one, two in pairs if one == a}


def _is_covered(first: Graph, last: Graph, pairs: set[tuple[int, int]], a: int, b: int) -> bool:
    """Whether a key hides some of a held region."""
    ours, theirs = _mates(pairs, a, b)
    shown = _bare(first.regions[a], last, theirs), _bare(last.regions[b], first, ours)
    return min(shown) < 1 - BARE


def _against(first: Graph, last: Graph, behind: Labels, pairs: set[tuple[int, int]], a: int, b: int) -> float:
    """How much a key shows of what lies behind figures, or no border, where the other one has the region or its border;
    1 is as much as may be."""
    ours, theirs = _mates(pairs, a, b)
    one, two = first.regions[a], last.regions[b]
    return max(
        _bare(one, last, behind[1] - theirs) / BARE,
        _bare(two, first, behind[0] - ours) / BARE,
        _gone(one, first, last, behind[0] - {a}, behind[1] - theirs, theirs) / GONE,
        _gone(two, last, first, behind[1] - {b}, behind[0] - ours, ours) / GONE,
    )


def _gone(region: Region, own: Graph, other: Graph, here: set[int], there: set[int], same: set[int]) -> float:
    """The share of a region's border with what lies behind it that the other key shows not to be there."""
    outline = region.outline
    sure = np.isin(own.faced(outline), list(here))
    ways = SIDES * outline.normals[sure]
    beside = [other.labels_at(outline.points[sure] + way) for way in (-ways, ways)]
    within, beyond = (np.isin(label, list(same)) for label in beside)
    bare = [np.isin(label, list(there)) for label in beside]
    gone = within & beyond | bare[0] & bare[1]
    return float(gone.sum() / len(outline.points))


def _carries(first: Graph, last: Graph, still: Labels, a: int, b: int, *, whole: bool) -> bool:
    """Whether something that moves stays on a held region, or turns about where it touches it; or behind it, if both
    keys show it as a `whole`."""
    ours, theirs = (
        [graph.regions[n] for n in graph.neighbours(k) if n not in own]
        for graph, k, own in zip((first, last), (a, b), still, strict=True)
    )
    return any(
        alike(one, two) and (_rests(one, two) or _hinged(first, last, (a, b), one, two, whole=whole))
        for one in ours
        for two in theirs
    )


def _rests(one: Region, two: Region) -> bool:
    """Whether two regions, one of each key, are about at one place: a mouth that opens."""
    return float(np.linalg.norm(one.centre - two.centre)) <= RESTS * one.outline.size


def _hinged(first: Graph, last: Graph, held: tuple[int, int], one: Region, two: Region, *, whole: bool) -> bool:
    """Whether two regions, one of each key, may be one that turns about where it touches something held."""
    contacts, others = first.between(held[0], one.label), last.between(held[1], two.label)
    if not whole and np.linalg.norm(contacts[:, None] - others, axis=2).min() > TOUCHES:
        return False
    new = beside(first, last, [Match(*held, np.eye(3), 1.0)], True, one.label, two.label)
    hulls = (first.regions[held[0]].hull, one.hull) if whole else ()
    if (
        new is None
        or new.quality < TURNS
        or joint_gap(np.eye(3), new.motion, contacts, hulls) > (BEHIND if whole else HINGE)
    ):
        return False
    straight = fit(one.outline, two.outline, shifted(two.outline.centre - one.outline.centre), "shift", FINE)
    stays = np.linalg.norm(mapped(new.motion, contacts) - contacts, axis=1).min() <= HINGE
    return bool(stays or score(one.outline, two.outline, straight) < new.quality - CLEAR)


def leave_hidden(first: Graph, last: Graph, ground: Labels, held: Held, found: Matching) -> None:
    """What touches scenery and nothing that moves, and lies where the other key shows only what moves, is held behind
    that."""
    behind = held.behind(ground)
    for side, own, other, here, there in (("first", first, last, 0, 1), ("last", last, first, 1, 0)):
        scenery = behind[here] - ground[here]
        for region in own.regions:
            near = set(own.neighbours(region.label))
            alone = region.label not in behind[here] and near <= behind[here] and near & scenery
            if alone and _bare(region, other, behind[there]) <= BARE:
                found.hidden[side, region.label] = np.eye(3)


def _match(first: Graph, last: Graph, a: int, b: int) -> Match:
    in_place = _in_place_of(first.regions[a].outline, last, b), _in_place_of(last.regions[b].outline, first, a)
    quality = float(max(share.mean() for share in in_place))
    return Match(a, b, np.eye(3), quality, 1 - quality, held=True)


def _candidates(first: Graph, last: Graph, ground: Labels) -> Iterator[tuple[int, int]]:
    """Pairs of regions of one colour whose borders are in place, but for what may be covered."""
    for one in first.regions:
        if one.label in ground[0] or not len(one.outline.points):
            continue
        met = np.unique(last.labels_at(one.outline.points - SIDES * one.outline.normals))
        for b in (int(k) for k in met if 0 <= k < last.cel.areas and k not in ground[1]):
            two = last.regions[b]
            if alike(one, two) and len(two.outline.points) and _coincide(first, last, one, two):
                yield one.label, b


def _coincide(first: Graph, last: Graph, one: Region, two: Region) -> bool:
    """Whether enough of the outlines is in place, and this agrees to a part of a pixel."""
    mine, met = _in_place_of(one.outline, last, two.label), _in_place_of(two.outline, first, one.label)
    if max(mine.mean(), met.mean()) < IN_PLACE or not (mine.any() and met.any()):
        return False
    known, there = one.outline.some(mine), two.outline.some(met)
    away = known.points - there.points[there.nearest(known.points, known.normals, REACH)]
    return float(np.median(np.abs((away * known.normals).sum(1)))) <= STILL


def _in_place_of(outline: Outline, other: Graph, label: int) -> np.ndarray:
    """(N,) bool: the points of an outline that are on the border of a region of the other key."""
    aside = SIDES * outline.normals
    within, beyond = (other.labels_at(outline.points + way) for way in (-aside, aside))
    return (within == label) & (beyond != label)


def _bare(region: Region, other: Graph, behind: set[int]) -> float:
    """The share of a region at whose place the other key shows one of the labels of what lies behind."""
    return float(np.isin(other.labels_at(region.inside), list(behind)).mean())
