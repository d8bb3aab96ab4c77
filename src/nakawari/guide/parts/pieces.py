"""Match regions that a covering object cuts into pieces."""

from __future__ import annotations

import numpy as np

from .contours import Outline, agreement, fit, joined, mapped
from .graph import Graph
from .pairing import MOST_TURN, SMALL, Match, Matching, alike, angle

PIECES = 0.5
"""Minimum share of agreeing borders with the background for a match of pieces."""
BARE = 0.1
"""Maximum share of such a part on the background of the other key."""
MOST_PIECES = 4
"""Maximum number of pieces of a part in either key."""
PIECE_STARTS = 4
"""Number of neighbours whose motions are initial estimates for a piece."""


def match_pieces(
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
            found.take(new, open_first, open_last)
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
        turn = abs(angle(motion @ np.linalg.inv(found.matches[k].motion)))
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
    return joined([outline.some(outline.weights == 1) for outline in own])
