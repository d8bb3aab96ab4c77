"""Find the colours of lines: inks explain, mixed with adjacent areas, the pixels that areas alone do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .mixtures import FLAT, KNOWN, candidates, shares_in

RINGING = 36.0
"""A colour this close to an adjacent area is overshoot of sharp resampling, not an ink."""
MOST_INKS = 6
EXACT = 1.0
"""Weight of a pixel of exactly the ink's colour, relative to one explained by a mixture."""
LEAST_EXACT = 3
"""Minimum number of those beside lines of several colours, where mixtures of three are frequent."""
MUCH = 0.5
"""Minimum share of a colour in a mixture to count the mixture as that colour."""
SAMPLED = 1500
"""Number of unexplained pixels used to find inks."""
MOST_SPECKS = 4
LEAST_SPECK = 3
"""Minimum number of pixels in both keys that a speck must explain."""


@dataclass(frozen=True)
class Ink:
    """The colour of lines.

    Args:
        paint: (4,)
        count: number of explained pixels.
        exact: number of pixels of exactly this colour.
        beside: (N, 4) colours of the areas beside those.
    """

    paint: np.ndarray
    count: float
    exact: int
    beside: np.ndarray

    def joined(self, other: Ink) -> Ink:
        """Merge the same ink of two keys; the colour is that with more pixels."""
        paint = other.paint if other.exact > self.exact else self.paint
        beside = np.concatenate([self.beside, other.beside])
        return Ink(paint, self.count + other.count, max(self.exact, other.exact), beside)


def inks_in(colours: np.ndarray, pure: np.ndarray, paints: np.ndarray, left: np.ndarray, lines: int = 0) -> list[Ink]:
    """The inks: colours that, mixed with adjacent areas, explain most of the pixels that areas alone do not.

    The last `lines` of the paints are the colours of lines where these have several: inks beside those.
    """
    ys, xs = np.nonzero(left > KNOWN)
    step = max(1, len(ys) // SAMPLED)
    ys, xs, far = ys[::step], xs[::step], left[ys, xs][::step]
    round_them = candidates(pure, len(paints) - lines, paints, ys, xs, lines)[:, [0, 3] if lines else [0, 1]]
    pool = colours[ys, xs]
    table = np.concatenate([paints, np.full((1, 4), 1e4, np.float32)])
    near = table[round_them]
    true = np.abs(near - pool[:, None]).max(2).min(1) > RINGING
    pool, near, far = pool[true], near[true], far[true]
    inks: list[Ink] = []
    while len(inks) < MOST_INKS and len(pool) >= 3:
        tries = _tries(pool, far)
        taken = np.array([ink.paint for ink in inks], np.float32).reshape(-1, 4)
        tries = tries[np.abs(tries[:, None] - taken).max(2).min(1, initial=255) > RINGING]
        if len(tries) == 0:
            break
        explained = [_explained(pool, ink, near) for ink in tries]
        exact = [np.abs(pool - ink).max(1) < 1 for ink in tries]
        best = int(np.argmax([found.sum() + EXACT * same.sum() for found, same in zip(explained, exact, strict=True)]))
        if explained[best].sum() < max(3, 0.003 * len(ys)) or exact[best].sum() < (LEAST_EXACT if lines else 0):
            break
        beside = np.unique(near[exact[best]].reshape(-1, 4), axis=0)
        paint = _purest(tries[best], pool, inks[0].paint) if inks and not lines else tries[best]
        inks.append(Ink(paint, float(explained[best].sum() * step), int(exact[best].sum()), beside))
        keep = ~explained[best]
        pool, near, far = pool[keep], near[keep], far[keep]
    return inks


def _purest(paint: np.ndarray, pool: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Of colours (N, 4), the farthest from an ink (4,) that makes a paint (4,) if mixed with it; or else the paint."""
    target, inks = np.broadcast_to(paint, pool.shape), np.broadcast_to(ink, pool.shape)
    weight, left = shares_in(target, np.stack([pool, inks], 1))
    pure = pool[(left < KNOWN / 2) & (weight[:, 0] > MUCH)]
    return pure[np.argmax(np.abs(pure - ink).max(1))] if len(pure) else paint


def unmixed(inks: list[Ink], paints: np.ndarray, lines: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Ink colours (N, 4) without mixtures of a stronger ink with an adjacent area, after those of `lines`, (4,) each.

    `paints`: colours of all areas.
    """
    kept: list[np.ndarray] = list(lines)
    for ink in inks:
        alone = bool((np.abs(paints - ink.paint).max(1) <= FLAT).any())
        others = np.concatenate([ink.beside[ink.beside[:, 3] < 1e4], np.array(kept, np.float32).reshape(-1, 4)])
        target = np.broadcast_to(ink.paint, others.shape)
        mixed = any(
            (shares_in(target, np.stack([np.broadcast_to(other, others.shape), others], 1))[1] < KNOWN / 2).any()
            for other in kept
        )
        if alone or not mixed:
            kept.append(ink.paint)
    return np.array(kept, np.float32).reshape(-1, 4)


def _tries(pool: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Candidate inks: the most frequent, the most distant and the darkest of the unexplained colours."""
    values, counts = np.unique(np.rint(pool).astype(np.int32), axis=0, return_counts=True)
    common = values[np.argsort(-counts, kind="stable")[:8]]
    dark = pool[np.argsort(pool[:, :3].sum(1) - pool[:, 3] * 3, kind="stable")[:2]]
    return np.concatenate([common, pool[np.argsort(-far, kind="stable")[:4]], dark]).astype(np.float32)


def _explained(pool: np.ndarray, ink: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The colours (N, 4) that the ink explains, alone or mixed with one or both of the areas (N, 2, 4) around them."""
    inks = np.broadcast_to(ink, (len(pool), 1, 4))
    found = np.zeros(len(pool), bool)
    for areas in (near[:, :1], near[:, 1:], near):
        weight, left = shares_in(pool, np.concatenate([inks, areas], 1))
        found |= (left < KNOWN / 2) & (weight[:, 0] > 0.05)
    return found


def specks_in(left: np.ndarray, inks: np.ndarray) -> np.ndarray:
    """Colours (N, 4) of specks within lines that are too small for a pixel of pure colour, such as the pupil of an eye.

    `left` are the colours (M, 4) that areas and inks do not explain. A speck is the most foreign of them if it, mixed
    with the first ink, explains another.
    """
    found: list[np.ndarray] = []
    while len(left) >= LEAST_SPECK and len(found) < MOST_SPECKS:
        speck = left[np.argmax(np.abs(left - inks[0]).max(1))]
        own = in_ink(left, speck, inks[0])[1] < KNOWN / 2
        if own.sum() >= LEAST_SPECK:
            found.append(speck)
        left = left[~own]
    return np.array(found, np.float32).reshape(-1, 4)


def in_ink(colours: np.ndarray, speck: np.ndarray, ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of a speck's paint (4,) in colours (N, 4), the rest ink, and the residual in levels."""
    both = np.broadcast_to(np.stack([speck, ink]), (len(colours), 2, 4))
    weight, left = shares_in(colours, both)
    return weight[:, 0], left
