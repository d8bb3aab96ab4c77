"""Optical flow between two keys, and the start-to-end motion at a time between them.

The flow is DIS (Kroeger et al. 2016, OpenCV), in both directions. For each time it is splatted forward to that time;
pixels that move far or match well are in front.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..threads import spread
from .depth import depth_order
from .search import Flows, agreement, choose, fill_holes, match, search_shifts
from .warp import backward_warp, length, shrunk, splat

_MOTION_SCALE = 8.0  # 8 pixels of motion multiply the splatting weight by e
_MOTION_LIMIT = 40.0
_LIFT = 2.0  # units of the logarithm of the splatting weight for one unit of height
_INITIAL_SCALE = 2
_NEAR_SIDE = 64  # pixels along the longer side at which DIS begins where motion is sought near by
_COMPARED_SIDE = 256
_LEAST_CREDIT = 0.05  # weight of a vector that the other direction contradicts
_LUMA = (77 / 256, 150 / 256, 29 / 256)


def dis_flow(
    first: Tensor,
    second: Tensor,
    finest_scale: int = 0,
    initial: Tensor | None = None,
    initial_scale: int = _INITIAL_SCALE,
) -> Tensor:
    """DIS optical flow from `first` to `second`, images (B, 3, H, W) in [-1, 1] -> (B, 2, H, W) in pixels.

    With `initial`, a flow of the same shape as the result, DIS starts there, at the size halved `initial_scale` times.
    """
    import cv2

    # One thread: the pyramid is small, and the result then does not depend on the number of threads.
    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    solver.setFinestScale(finest_scale)
    begins: list[np.ndarray | None] = [None] * len(first)
    if initial is not None:
        patches = min(first.shape[-2:]) // solver.getPatchSize()
        solver.setCoarsestScale(max(finest_scale, min(initial_scale, patches.bit_length() - 1)))
        begins = [np.ascontiguousarray(flow) for flow in initial.permute(0, 2, 3, 1).float().cpu().numpy()]
    flows = [solver.calc(a, b, c) for a, b, c in zip(_grey(first), _grey(second), begins, strict=True)]
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(first.device)


def both_ways(
    start: Tensor,
    end: Tensor,
    finest_scale: int = 0,
    initial: Flows | None = None,
    initial_scale: int = _INITIAL_SCALE,
) -> Flows:
    """`dis_flow` from `start` to `end` and back."""
    begin = initial or (None, None)
    ways = [(start, end, finest_scale, begin[0], initial_scale), (end, start, finest_scale, begin[1], initial_scale)]
    forward, backward = spread(lambda way: dis_flow(*way), ways, start.device)
    return forward, backward


def _grey(images: Tensor) -> list[np.ndarray]:
    weights = torch.tensor(_LUMA, device=images.device)[:, None, None]
    grey = ((images.float() * weights).sum(1).clamp(-1, 1) + 1) * 127.5
    return [np.ascontiguousarray(image) for image in grey.round().byte().cpu().numpy()]


def large_shifts(start: Tensor, end: Tensor) -> Flows:
    """`search_shifts` of every clip."""
    shifts = [search_shifts(a, b) for a, b in zip(start, end, strict=True)]
    forward, backward = (torch.stack(way) for way in zip(*shifts, strict=True))
    return forward, backward


def sought(start: Tensor, end: Tensor) -> Flows:
    """The flow between two keys of which the pictures that both keys make half-way agree best, clip by clip.

    Up to four are compared: DIS from a coarse pyramid, where patterns that repeat are lost; DIS that begins without
    motion where the picture is 64 pixels wide, which keeps them and misses what moves far; and per pixel the better
    of each and of the search for large shifts. In smaller pictures motion is sought from the coarse pyramid alone. A
    pattern that was matched to its own neighbour fits as well as one that was matched right, but it tears where it is
    attached to something, and there the two pictures differ.
    """
    scale = round(math.log2(max(start.shape[-2:]) / _NEAR_SIDE))
    nowhere = start.new_zeros(start.shape[0], 2, *start.shape[-2:])
    begins = [(None, _INITIAL_SCALE), *([(nowhere, scale)] if scale > 0 else [])]
    # What does not need another's result is computed together, so that no core waits.
    jobs = [
        partial(dis_flow, *way, initial=begin, initial_scale=first)
        for begin, first in begins
        for way in ((start, end), (end, start))
    ]
    shifts, *found = spread(lambda job: job(), [partial(large_shifts, start, end), *jobs], start.device)
    plain, *near = zip(found[::2], found[1::2], strict=True)
    far = choose(start, end, plain, both_ways(start, end, initial=shifts))
    flows = [far, plain]
    for own in near:
        flows += [own, choose(start, end, own, far)]
    apart = torch.stack(spread(lambda both: apart_half_way(start, end, both), flows, start.device))
    best = apart.argmin(dim=0)
    forward, backward = (torch.stack(way)[best, torch.arange(len(best))] for way in zip(*flows, strict=True))
    return forward, backward


def apart_half_way(start: Tensor, end: Tensor, flows: Flows) -> Tensor:
    """How far the keys differ, each moved half the way along its flow: (B,), means over the picture. Large pictures are
    compared at a size near 256 pixels."""
    unit = max(1, round(max(start.shape[-2:]) / _COMPARED_SIDE))
    start, end, forward, backward = (shrunk(part, unit) for part in (start, end, *flows))
    motion, _ = seen_at(surfaces(start, end, (forward / unit, backward / unit), trusted=True), 0.5)
    return (backward_warp(start, -0.5 * motion) - backward_warp(end, 0.5 * motion)).abs().mean((1, 2, 3))


@dataclass(frozen=True)
class Surface:
    """The splatting input of one key: the same for every time between the keys.

    Args:
        flow: (B, 2, H, W), the flow to the other key.
        weight: (B, 1, H, W), splatting weight; the heavier pixel is in front.
        trust: (B, 1, H, W) in [0, 1], agreement of both flow directions and match of colours; None if not
            requested.
        ordered: whether pixels are in front by the order of their motions instead of its length.
    """

    flow: Tensor
    weight: Tensor
    trust: Tensor | None
    ordered: bool = False


def surfaces(start: Tensor, end: Tensor, flows: Flows, trusted: bool) -> tuple[Surface, Surface]:
    """The surfaces of both keys; `trusted` as in `splat_to`."""
    forward, backward = flows
    sides = [(start, end, forward, backward, trusted), (end, start, backward, forward, trusted)]
    first, last = spread(lambda side: _surface(*side), sides, start.device)
    return first, last


def ordered_surfaces(start: Tensor, end: Tensor, flows: Flows) -> tuple[Surface, Surface]:
    """The trusted surfaces of both keys, in front by `depth_order`; in pictures of at most 64 pixels, where few pixels
    tell the order, as `surfaces`."""
    if max(start.shape[-2:]) <= _NEAR_SIDE:
        return surfaces(start, end, flows, trusted=True)
    forward, backward = flows
    sides = [(start, end, forward, backward), (end, start, backward, forward)]
    known = spread(lambda side: (match(*side[:3]), agreement(*side[2:])), sides, start.device)
    orders = depth_order(flows, (known[0][0] * known[0][1], known[1][0] * known[1][1]))

    def surface(one: tuple[Tensor, Tensor, Tensor, int]) -> Surface:
        fit, credit, flow, sign = one
        height = torch.stack([order.height(sign * way) for order, way in zip(orders, flow, strict=True)])
        # Only pixels on whose motion both keys agree are lifted: those that are hidden have that of something else.
        weight = (fit + 1e-4) * (_LIFT * height * credit).exp() * (credit + _LEAST_CREDIT)
        return Surface(flow, weight, fit * credit, ordered=True)

    first, last = spread(surface, [(*known[0], forward, 1), (*known[1], backward, -1)], start.device)
    return first, last


def _surface(source: Tensor, target: Tensor, flow: Tensor, back: Tensor, trusted: bool) -> Surface:
    fit = match(source, target, flow)
    weight = (fit + 1e-4) * (length(flow).clamp(max=_MOTION_LIMIT) / _MOTION_SCALE).exp()
    if not trusted:
        return Surface(flow, weight, None)
    credit = agreement(flow, back)
    return Surface(flow, weight * (credit + _LEAST_CREDIT), fit * credit)


def splat_to(start: Tensor, end: Tensor, flows: Flows, time: float, trusted: bool = False) -> Tensor:
    """The start-to-end motion at `time`, (B, 2, H, W).

    `trusted`: vectors on which both directions agree are in front, and the holes are filled from their surroundings.
    """
    return seen_at(surfaces(start, end, flows, trusted), time)[0]


def seen_at(both: tuple[Surface, Surface], time: float, detours: Flows | None = None) -> tuple[Tensor, Tensor | None]:
    """The splatted motion at `time` and its deviation from the straight path.

    Args:
        detours: per key (B, 2, H, W), the deviation of its pixels from their straight path at this time; None for none.

    Returns:
        Motion and detour, (B, 2, H, W) each; the detour is None if none is given.
    """
    first, last = both
    aside = detours or (None, None)
    from_start, from_end = _sent(first, time, aside[0]), _sent(last, 1 - time, aside[1])
    total = from_start[:, 2:3] + from_end[:, 2:3]
    arrived, total = total > 1e-4, total.clamp(min=1e-8)
    in_place = 0.5 * (first.flow - last.flow)
    motion = ((from_start[:, :2] - from_end[:, :2]) / total).where(arrived, in_place)
    if first.trust is not None:
        motion = fill_holes(motion, from_start[:, -1:] + from_end[:, -1:], even=first.ordered)
    if detours is None:
        return motion, None
    return motion, ((from_start[:, 3:5] + from_end[:, 3:5]) / total).where(arrived, torch.zeros_like(motion))


def _sent(surface: Surface, reach: float, detour: Tensor | None = None) -> Tensor:
    """Splatted sums at the fraction `reach` of the flow, plus the detour: (B, 3 to 6, H, W).

    Of weighted flow, weights, weighted detours if there are any, and trust if it is known. Pixels with a
    detour are in front, like pixels that move far.
    """
    weight, way, parts = surface.weight, reach * surface.flow, []
    if detour is not None:
        weight = weight * (length(detour).clamp(max=_MOTION_LIMIT) / _MOTION_SCALE).exp()
        way, parts = way + detour, [detour * weight]
    parts = [surface.flow * weight, weight, *parts]
    parts += [] if surface.trust is None else [surface.trust]
    return splat(torch.cat(parts, dim=1), way)
