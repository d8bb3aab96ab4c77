"""Motions up to the edges of things: each pixel keeps its flow or takes one of the main motions of its picture.

DIS matches patches, so that a figure's motion reaches beyond its edge and is mixed there with the ground's. Here each
main motion between the keys is tried over the whole picture. A pixel pays for the difference of the colours at both
ends of a motion, and where the other key's flow does not lead back; neighbours pay for unlike motions, less across
an edge of colour. The sum is minimised along rows and columns (semi-global matching, Hirschmüller 2008).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..threads import spread
from .depth import main_motions
from .search import Flows, agreement, match
from .warp import backward_warp, length, off_picture, shrunk

Planes = NDArray[np.float32]

_LEAST_SIDE = 64  # pixels along the longer side; smaller pictures have too few for main motions
_LEAST_TRUST = 0.25  # in the mean over the picture; below, as in a fade, no colours say which motion is right
_COMPARED_SIDE = 256
_MOST_DIFFERENCE = 0.4
_LED_ASTRAY = 0.2  # for a motion that the other key's flow contradicts
_BACK_UNIT = 2.0  # pixels: flows that are this far apart contradict each other for the most part
_OFF_PICTURE = 0.2  # for a motion out of the picture, above the usual difference of colours
_WINDOW = 3
_OWN_BONUS = 0.02
_UNLIKE = 1.0  # for neighbours with unlike motions
_EDGE_SCALE = 0.15  # neighbours whose colours are this far apart pay an e-th of it
_LEAST_UNLIKE = 0.1
_LEAST_CHANGE = 1.5  # pixels; flow that is nearer to the motion is more exact than it


def settled(start: Tensor, end: Tensor, flows: Flows) -> Flows:
    """Flows (B, 2, H, W) between keys (B, 3, H, W), with main motions where they suit a pixel and those around it
    better. Large pictures are settled at a size near 256 pixels."""
    if max(start.shape[-2:]) <= _LEAST_SIDE:
        return flows
    unit = max(1, round(max(start.shape[-2:]) / _COMPARED_SIDE))
    jobs = [(start, 1), (end, 1), (flows[0], unit), (flows[1], unit)]
    # Every step by `spread`: with its own threads torch waits for the slower core after each of many small steps.
    start, end, forward, backward = spread(lambda job: shrunk(job[0], unit) / job[1], jobs, start.device)
    sides = [(start, end, forward, backward), (end, start, backward, forward)]
    trusts = spread(lambda side: match(*side[:3]) * agreement(*side[2:]), sides, start.device)
    clips = [
        _settled(*(part[clip : clip + 1] for part in (*sides[0], *flows, *trusts)), unit) for clip in range(len(start))
    ]
    return torch.cat([clip[0] for clip in clips]), torch.cat([clip[1] for clip in clips])


def _settled(
    start: Tensor,
    end: Tensor,
    forward: Tensor,
    backward: Tensor,
    wide_forward: Tensor,
    wide_backward: Tensor,
    trust: Tensor,
    end_trust: Tensor,
    unit: int,
) -> Flows:
    """As `settled`, of one clip; the first four and the trusts are at a size smaller by `unit`."""
    known = trust[0].cpu().numpy(), end_trust[0].cpu().numpy()
    if (known[0].mean() + known[1].mean()) / 2 < _LEAST_TRUST:
        return wide_forward, wide_backward
    motions = main_motions((forward[0].cpu().numpy(), -backward[0].cpu().numpy()), known)
    if len(motions) == 1:
        return wide_forward, wide_backward
    tries = [(start, end, forward, backward, motions), (end, start, backward, forward, -motions)]
    costs = np.stack(spread(lambda side: _costs(*side), tries, start.device), axis=1)
    pictures = np.stack([key[0].cpu().numpy() for key in (start, end)], axis=1)
    best = torch.from_numpy(_sums(costs, pictures).argmin(axis=0)).to(start.device)
    own = torch.from_numpy(motions).to(start)
    ways = [(wide_forward, forward, best[0], own, unit), (wide_backward, backward, best[1], -own, unit)]
    first, last = spread(lambda way: _replaced(*way), ways, start.device)
    return first, last


def _costs(source: Tensor, target: Tensor, flow: Tensor, back: Tensor, motions: NDArray[np.float64]) -> Planes:
    """What each pixel of `source` (1, 3, H, W) pays for each of K motions, and for its own flow: (K + 1, H, W)."""
    import cv2

    there = torch.cat([target, back], dim=1)
    usual = float((source - backward_warp(target, flow)).abs().mean(1).median())
    height, width = flow.shape[-2:]
    costs = np.empty((len(motions) + 1, height, width), np.float32)
    for cost, motion in zip(costs, [*torch.from_numpy(motions).to(flow), None], strict=True):
        way = flow if motion is None else motion[None, :, None, None].expand_as(flow)
        met = backward_warp(there, way)
        difference = (source - met[:, :3]).abs().mean(1, keepdim=True).clamp(max=_MOST_DIFFERENCE)
        astray = 1 - (-((length(way + met[:, 3:]) / _BACK_UNIT) ** 2)).exp()
        inside = difference + _LED_ASTRAY * astray
        paid = torch.lerp(inside, torch.full_like(inside, _OFF_PICTURE + usual), off_picture(way, (height, width)))
        cv2.blur(paid[0, 0].cpu().numpy(), (_WINDOW, _WINDOW), cost, borderType=cv2.BORDER_REPLICATE)
    costs[-1] -= _OWN_BONUS
    return costs


def _sums(costs: Planes, pictures: Planes) -> Planes:
    """Least sums of the costs (K, N, H, W) along rows and columns that end at a pixel, for N `pictures` (3, N, H, W):
    (K, N, H, W)."""
    down = _scanned(costs.transpose(2, 0, 1, 3), pictures.transpose(2, 0, 1, 3))
    across = _scanned(costs.transpose(3, 0, 1, 2), pictures.transpose(3, 0, 1, 2))
    sums: Planes = down.transpose(1, 2, 0, 3) + across.transpose(1, 2, 3, 0)
    return sums


def _scanned(costs: Planes, pictures: Planes) -> Planes:
    """Sums along the first axis, from both ends: (S, K, N, M) and (S, 3, N, M) -> (S, K, N, M)."""
    costs = np.ascontiguousarray(costs)
    edges = np.abs(np.diff(np.ascontiguousarray(pictures), axis=0)).max(axis=1)
    unlike = _UNLIKE * np.maximum(np.exp(-edges / _EDGE_SCALE), _LEAST_UNLIKE)
    sums = np.zeros_like(costs)
    for costs_on, sums_on, unlike_on in ((costs, sums, unlike), (costs[::-1], sums[::-1], unlike[::-1])):
        run, least = costs_on[0].copy(), np.empty_like(costs[0, 0])
        sums_on[0] += run
        # In place: the arrays are small, and new ones would take half of the time.
        for cost, total, penalty in zip(costs_on[1:], sums_on[1:], unlike_on, strict=True):
            run -= np.min(run, axis=0, out=least)
            np.minimum(run, penalty, out=run)
            run += cost
            total += run
    return sums


def _replaced(flow: Tensor, small: Tensor, chosen: Tensor, motions: Tensor, unit: int) -> Tensor:
    """The flow (1, 2, H, W), replaced by the chosen motions, those below K, where they differ from it; it is given at a
    size smaller by `unit` as well, that of `chosen`."""
    height, width = flow.shape[-2:]
    motion = torch.cat([motions, motions.new_zeros(1, 2)])[chosen].permute(2, 0, 1)[None].contiguous()
    other = (chosen < len(motions)) & (length(motion - small) > _LEAST_CHANGE)

    def wide(part: Tensor) -> Tensor:
        return part.repeat_interleave(unit, 2).repeat_interleave(unit, 3)[..., :height, :width]

    return torch.where(wide(other), wide(unit * motion), flow)
