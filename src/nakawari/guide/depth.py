"""Which motion is in front: an order of the motions between two keys, from what one key shows and the other hides.

A pixel that has no match in the other key is mostly covered there. Its motion is that of its surroundings; what the
other key shows at the place to which it leads, with another motion, is in front of it. Such pixels vote, for each pair
of motions, and heights are fitted to all votes (Bradley & Terry 1952). Without votes what moves farther is slightly in
front: a figure before a held background. A figure that stays in place before a background that moves
is told by its votes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .search import Flows, fill_holes
from .warp import shrunk

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_COMPARED_SIDE = 256
_BIN = 3.0  # pixels
_APART = 2.5  # pixels between two motions
_MOST_MOTIONS = 12
_LEAST_SHARE = 0.003  # of the trusted pixels, for a motion of its own
_WIDE_SHARE = 0.1  # of the trusted pixels, for a motion that may have led a pixel out of the picture
_HIDDEN = 0.3  # trust below which a pixel may be hidden in the other key
_SHOWN = 0.5
_LEAST_DIFFERENCE = 1.5  # pixels, between two motions of which one covers the other
_FAR_UNIT = 24.0  # 24 pixels of motion are one unit of height without votes
_FAR_LIMIT = 40.0
_DOUBT = 100.0  # votes that weigh as much as the heights without votes
_HEIGHT_LIMIT = 8.0
_ROUNDS = 60


@dataclass(frozen=True)
class Order:
    """The motions between the keys of one clip, and their heights.

    Args:
        motions: (K, 2), start to end, in pixels.
        heights: (K,), from 0; higher is in front. One unit is odds of e : 1.
    """

    motions: Tensor
    heights: Tensor

    def height(self, motion: Tensor) -> Tensor:
        """The height of the nearest motion of the order: (2, H, W) -> (1, H, W)."""
        flat = motion.flatten(1).t()
        # The nearest has the least |c|^2 - 2 c m.
        nearest = (self.motions.square().sum(1) - 2 * flat @ self.motions.t()).argmin(dim=1)
        return self.heights[nearest].view(1, *motion.shape[1:])


def depth_order(flows: Flows, trusts: Flows) -> list[Order]:
    """The order of every clip, from flows (B, 2, H, W) and their trusts (B, 1, H, W). Large pictures are compared at a
    size near 256 pixels."""
    unit = max(1, round(max(flows[0].shape[-2:]) / _COMPARED_SIDE))
    forward, backward = (shrunk(flow, unit) / unit for flow in flows)
    first, last = (shrunk(trust, unit) for trust in trusts)
    sides = [(forward, first, fill_holes(forward, first, even=True))]
    sides.append((-backward, last, -fill_holes(backward, last, even=True)))
    found = []
    for clip in range(len(forward)):
        # Start to end on both sides; the end key's pixels go the way back.
        start, end = (_Side(*(part[clip].cpu().numpy() for part in side)) for side in sides)
        motions, heights = _ordered(start, end)
        found.append(
            Order(*(torch.from_numpy(part).to(flows[0].device, flows[0].dtype) for part in (motions * unit, heights)))
        )
    return found


@dataclass(frozen=True)
class _Side:
    """One key: motion (2, h, w) from start to end, trust (1, h, w), and the motion with its holes filled."""

    motion: Plane
    trust: Plane
    filled: Plane


def _ordered(start: _Side, end: _Side) -> tuple[Floats, Floats]:
    vectors, weights = _sampled((start.motion, end.motion), (start.trust, end.trust))
    motions = _main_motions(vectors, weights)
    far = np.hypot(*motions.T).clip(max=_FAR_LIMIT) / _FAR_UNIT
    if len(motions) == 1:
        return motions, np.zeros(1)
    share = np.bincount(_nearest(vectors, motions), weights, len(motions)) / max(weights.sum(), 1e-9)
    wide = motions[share >= _WIDE_SHARE]
    votes = _votes(start, end, motions, wide, 1) + _votes(end, start, motions, wide, -1)
    heights = _fitted(votes, far)
    return motions, heights - heights.min()


def main_motions(motions: tuple[Plane, Plane], trusts: tuple[Plane, Plane]) -> Floats:
    """The most frequent of the motions from start to end that both keys' pixels (2, H, W) have, by their trusts (1, H,
    W), at most twelve: (K, 2)."""
    return _main_motions(*_sampled(motions, trusts))


def _sampled(motions: tuple[Plane, Plane], trusts: tuple[Plane, Plane]) -> tuple[Floats, Floats]:
    """Every second motion of both keys (N, 2), and their trusts (N,)."""
    vectors = np.concatenate([motion[:, ::2, ::2].reshape(2, -1).T for motion in motions]).astype(np.float64)
    weights = np.concatenate([trust[0, ::2, ::2].ravel() for trust in trusts]).astype(np.float64)
    return vectors, weights


def _main_motions(vectors: Floats, weights: Floats) -> Floats:
    """The most frequent of motions (N, 2), at most twelve, each apart from those before: (K, 2)."""
    cells = np.round(vectors / _BIN).astype(int)
    cells -= cells.min(axis=0)
    columns = cells[:, 1].max() + 1
    places = cells[:, 0] * columns + cells[:, 1]
    left, least, found = np.ones(len(vectors), bool), _LEAST_SHARE * weights.sum(), []
    while len(found) < _MOST_MOTIONS:
        counts = np.bincount(places, weights * left)
        best = counts.argmax()
        if counts[best] <= least:
            break
        inside = left & (places == best)
        mean = np.average(vectors[inside], axis=0, weights=weights[inside])
        found.append(mean)
        left &= ~inside & (np.hypot(*(vectors - mean).T) > _APART)
    return np.array(found) if found else np.zeros((1, 2))


def _nearest(vectors: Floats, motions: Floats) -> NDArray[np.intp]:
    return ((vectors[:, None] - motions) ** 2).sum(-1).argmin(-1)


def _votes(side: _Side, other: _Side, motions: Floats, wide: Floats, sign: int) -> Floats:
    """Votes (K, K) of one key's pixels: how many say that the motion of the row covers the one of the column. `sign`: 1
    for the start key, whose pixels go along the motion, -1 for the end key."""
    size = side.trust.shape[1:]
    y, x = np.nonzero(side.trust[0] < _HIDDEN)
    # What a wide motion led out of the picture is not hidden: nothing covers it.
    inside = np.ones(len(y), bool)
    for motion in wide:
        inside &= _within(x + sign * motion[0], y + sign * motion[1], size, 2)
    x, y = x[inside], y[inside]
    below = _nearest(side.filled[:, y, x].T, motions)
    there_x, there_y = (np.rint(place + sign * motions[below, axis]).astype(int) for axis, place in ((0, x), (1, y)))
    shown = _within(there_x, there_y, size, 0)
    shown[shown] = other.trust[0, there_y[shown], there_x[shown]] > _SHOWN
    below = below[shown]
    above = _nearest(other.motion[:, there_y[shown], there_x[shown]].T, motions)
    apart = np.hypot(*(motions[above] - motions[below]).T) > _LEAST_DIFFERENCE
    votes = np.zeros((len(motions), len(motions)))
    np.add.at(votes, (above[apart], below[apart]), 1)
    return votes


def _within(x: NDArray[np.generic], y: NDArray[np.generic], size: tuple[int, ...], beyond: int) -> NDArray[np.bool_]:
    """Whether places are in the picture, or at most `beyond` pixels outside."""
    height, width = size
    across, down = (x >= -beyond) & (x < width + beyond), (y >= -beyond) & (y < height + beyond)
    return np.asarray(across & down)


def _fitted(votes: Floats, heights: Floats) -> Floats:
    """The likeliest heights (K,) under votes (K, K), held near those given."""
    total, first = votes + votes.T, heights
    for _ in range(_ROUNDS):
        chance = 1 / (1 + np.exp(heights[None] - heights[:, None]))
        slope = (votes - total * chance).sum(1) - _DOUBT * (heights - first)
        bend = (total * chance * (1 - chance)).sum(1) + _DOUBT
        heights = (heights + 0.5 * slope / bend).clip(-_HEIGHT_LIMIT, _HEIGHT_LIMIT)
    return heights
