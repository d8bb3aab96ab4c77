"""Wheels: discs of which both keys show the inside turned as a whole.

The paint of a dark wheel between spokes and ink is hardly told from the ink, and quadrants that look alike are taken
for each other. So a disc that one turn carries to a disc of the other key is one region, whatever is in it; it is
matched by its outline, turned as its inside turns, and drawn with all that is in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .circles import discs_in, places_in
from .components import filled
from .discs import TURNS, Disc
from .graph import Graph
from .motion import Part
from .pairing import angle
from .regions import Cel, premultiplied

ONCE = 0.3
"""Maximum share of what varies around a wheel's axle that varies once, as a face or a pupil does; spokes are many."""
GROWN = 1.15
"""Maximum ratio of the radii of one wheel in two keys."""
WRONG = 40.0
"""Levels from which a pixel of a wheel is not what the turn makes it."""
RIGID = 0.06
"""Maximum share of such pixels."""
ALIKE = 0.3
"""Share of such pixels up to which a disc may be taken for another."""
AS_GOOD = 2.0
"""How many times the difference of the best turn another one may leave and be as likely, as where spokes are alike."""
EVEN = 0.02
"""The same difference, as a share of all, that counts as none."""


def with_wheels(keys: Sequence[np.ndarray], cels: Sequence[Cel]) -> list[Cel]:
    """The cels of two keys, uint8 (H, W, 3 or 4), with each wheel that both show as one region."""
    pictures = [premultiplied(key) for key in keys]
    first, last = (
        [disc for disc in discs_in(picture, cel) if _once(picture, disc) <= ONCE]
        for picture, cel in zip(pictures, cels, strict=True)
    )
    pairs = _paired(pictures, first, last)
    if not pairs:
        return list(cels)
    paints = np.array([_paint(pictures[0], first[a]) for a, _ in pairs], np.float32)
    return [
        _merged(cels[0], [first[a] for a, _ in pairs], paints),
        _merged(cels[1], [last[b] for _, b in pairs], paints),
    ]


def _once(picture: np.ndarray, disc: Disc) -> float:
    """The share of the variation about a disc's centre that has one period, 0 ... 1."""
    power = (np.abs(np.fft.rfft(disc.unrolled(picture), axis=1)) ** 2).sum((0, 2))
    return float(power[1] / max(power[1:].sum(), 1e-6))


def _paired(pictures: Sequence[np.ndarray], first: list[Disc], last: list[Disc]) -> list[tuple[int, int]]:
    """Which discs of two keys may be the same, each once.

    Of discs that look alike all are found in both keys, or it is not known which is which.
    """
    if not first or not last:
        return []
    wrong = np.array([[_unlike(pictures, one, two) for two in last] for one in first])
    a, b = np.nonzero(wrong <= ALIKE)
    size = len(first) + len(last)
    kinds = connected_components(coo_matrix((np.ones(len(a)), (a, len(first) + b)), (size, size)), directed=False)[1]
    found = []
    for kind in np.unique(kinds):
        rows, columns = (np.flatnonzero(of == kind) for of in (kinds[: len(first)], kinds[len(first) :]))
        pairs = list(zip(*linear_sum_assignment(wrong[np.ix_(rows, columns)]), strict=True))
        if len(rows) == len(columns) and all(wrong[rows[a], columns[b]] <= RIGID for a, b in pairs):
            found += [(int(rows[a]), int(columns[b])) for a, b in pairs]
    return found


def _unlike(pictures: Sequence[np.ndarray], one: Disc, two: Disc) -> float:
    """The share of two discs that no turn explains, of the key where it is more."""
    if max(one.radius, two.radius) > GROWN * min(one.radius, two.radius):
        return 1.0
    motion = one.to(two, min(_turns(pictures, one, two), key=abs))
    return max(
        _wrong(pictures[0], pictures[1], np.linalg.inv(motion), two), _wrong(pictures[1], pictures[0], motion, one)
    )


def _turns(pictures: Sequence[np.ndarray], one: Disc, two: Disc) -> list[float]:
    """By how many radians a disc of the first key may turn to become one of the last."""
    a, b = (disc.unrolled(picture) for disc, picture in zip((one, two), pictures, strict=True))
    if len(a) != len(b):
        b = cv2.resize(b, (TURNS, len(a)), interpolation=cv2.INTER_LINEAR)
    spectrum = (np.conj(np.fft.rfft(a, axis=1)) * np.fft.rfft(b, axis=1)).sum((0, 2))
    apart = (a**2).sum() + (b**2).sum() - 2 * np.fft.irfft(spectrum, TURNS)
    before, after = np.roll(apart, 1), np.roll(apart, -1)
    varied = sum(((of - of.mean(1, keepdims=True)) ** 2).sum() for of in (a, b))
    least = AS_GOOD * apart.min() + EVEN * varied
    found = np.flatnonzero((apart <= before) & (apart < after) & (apart <= least))
    bend = before[found] + after[found] - 2 * apart[found]
    exact = (found + 0.5 * (before[found] - after[found]) / np.maximum(bend, 1e-9)) * 2 * math.pi / TURNS
    return ((exact + math.pi) % (2 * math.pi) - math.pi).tolist() or [0.0]


def _wrong(source: np.ndarray, target: np.ndarray, back: np.ndarray, disc: Disc) -> float:
    """The share of a disc's pixels in `target` that differ from all of the source's around where `back` leads."""
    low = np.floor(disc.centre - disc.radius * 1.2).astype(int).clip(0)
    high = np.ceil(disc.centre + disc.radius * 1.2).astype(int)
    crop = target[low[1] : high[1], low[0] : high[0]]
    offset = back[:2, :2] @ (low + 0.5) + back[:2, 2] - 0.5
    matrix = np.concatenate([back[:2, :2], offset[:, None]], 1)
    made = cv2.warpAffine(source, matrix, crop.shape[1::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    square = np.ones((3, 3), np.uint8)
    off = np.maximum(crop - cv2.dilate(made, square), cv2.erode(made, square) - crop).max(2)
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]]
    mine = disc.inside(np.stack([x, y], 2) + low + 0.5, 0.9)
    return float((off[mine] > WRONG).mean()) if mine.any() else 1.0


def _paint(picture: np.ndarray, disc: Disc) -> np.ndarray:
    """The mean colour (4,) of a disc."""
    (left, top), (right, bottom) = (np.rint(disc.centre + sign * disc.radius).astype(int) for sign in (-1, 1))
    spot = np.s_[max(top, 0) : bottom, max(left, 0) : right]
    crop, (y, x) = picture[spot], np.mgrid[spot]
    return crop[disc.inside(np.stack([x, y], 2) + 0.5)[: crop.shape[0], : crop.shape[1]]].mean(0)


def _merged(cel: Cel, discs: list[Disc], paints: np.ndarray) -> Cel:
    """A cel with discs as areas."""
    drawn = np.where(cel.labels >= cel.areas, cel.labels + len(discs), cel.labels)
    labels, sizes = drawn.copy(), np.bincount(drawn.ravel(), minlength=cel.areas)[: cel.areas]
    for k, disc in enumerate(discs):
        places, spot = places_in(cel, disc)
        mine = disc.inside(places)
        taken = np.bincount(drawn[spot][mine], minlength=cel.areas)[: cel.areas]
        # what reaches beyond the rim goes to what is next to it
        rest = np.isin(drawn[spot], np.flatnonzero(taken > 0.5 * sizes)) & ~mine
        if rest.any():
            labels[spot][rest] = filled(np.where(mine | rest, -1, drawn[spot]))[rest]
        labels[spot][mine] = cel.areas + k
    paints = np.concatenate([cel.paints[: cel.areas], paints, cel.paints[cel.areas :]])
    whole = {cel.areas + k: disc for k, disc in enumerate(discs)}
    inner = np.where(cel.shown >= cel.areas, cel.shown + len(discs), cel.shown)
    return replace(cel, labels=labels, paints=paints, areas=cel.areas + len(discs), wheels=whole, within=inner)


def turn_wheels(keys: Sequence[np.ndarray], first: Graph, last: Graph, parts: Sequence[Part]) -> None:
    """Turn wheels as their insides turn; where several turns are as likely, as little as may be beside what they hang
    on."""
    pictures = [premultiplied(key) for key in keys]
    for part in parts:
        ours, theirs = first.cel.wheels.keys() & part.first, last.cel.wheels.keys() & part.last
        if not ours or not theirs:
            continue
        one, two = first.cel.wheels[min(ours)], last.cel.wheels[min(theirs)]
        lead = angle(parts[part.parent].motion) if part.parent >= 0 else 0.0
        turn = min(_turns(pictures, one, two), key=lambda turn: abs(math.remainder(turn - lead, math.tau)))
        part.motion = one.to(two, turn)
