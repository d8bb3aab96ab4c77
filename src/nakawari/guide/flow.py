"""Optical flow between two keys, and the motion from start to end key that is seen at a time between them.

The flow is DIS (Kroeger et al. 2016, OpenCV), in both directions. For each time it is splatted forward to that time;
pixels that move far or match well go in front.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .search import Flows, agreement, arriving, choose, fill_holes, search_shifts
from .warp import backward_warp, forward_splat

_MATCH_SCALE = 10 / 127.5  # an error of 10 grey levels makes a match e times less credible
_MOTION_SCALE = 8.0  # 8 pixels of motion put a surface e times further in front
_MOTION_LIMIT = 40.0
_INITIAL_SCALE = 2
_LEAST_CREDIT = 0.05  # what a vector still counts that the other direction contradicts
_LUMA = (77 / 256, 150 / 256, 29 / 256)


def dis_flow(first: Tensor, second: Tensor, finest_scale: int = 0, initial: Tensor | None = None) -> Tensor:
    """DIS optical flow from `first` to `second`, images (B, 3, H, W) in [-1, 1] -> (B, 2, H, W) in pixels.

    With `initial`, a flow of the same shape as the result, DIS starts there, at a quarter of the size.
    """
    import cv2

    # One thread: the pyramid is small, and the result does not depend on how the work is split.
    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    solver.setFinestScale(finest_scale)
    begins: list[np.ndarray | None] = [None] * len(first)
    if initial is not None:
        patches = min(first.shape[-2:]) // solver.getPatchSize()
        solver.setCoarsestScale(max(finest_scale, min(_INITIAL_SCALE, patches.bit_length() - 1)))
        begins = [np.ascontiguousarray(flow) for flow in initial.permute(0, 2, 3, 1).float().cpu().numpy()]
    flows = [solver.calc(a, b, c) for a, b, c in zip(_grey(first), _grey(second), begins, strict=True)]
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(first.device)


def _grey(images: Tensor) -> list[np.ndarray]:
    weights = torch.tensor(_LUMA, device=images.device)[:, None, None]
    grey = ((images.float() * weights).sum(1).clamp(-1, 1) + 1) * 127.5
    return [np.ascontiguousarray(image) for image in grey.round().byte().cpu().numpy()]


def searched(start: Tensor, end: Tensor, flows: Flows, finest_scale: int = 0) -> Flows:
    """Per pixel the better of `flows` and of DIS begun at an exhaustive search for large shifts."""
    shifts = [search_shifts(a, b) for a, b in zip(start, end, strict=True)]
    forward, backward = (torch.stack(way) for way in zip(*shifts, strict=True))
    others = dis_flow(start, end, finest_scale, forward), dis_flow(end, start, finest_scale, backward)
    return choose(start, end, flows, others)


def splat_to(start: Tensor, end: Tensor, flows: Flows, time: float, trusted: bool = False) -> Tensor:
    """The start-to-end motion seen at `time`, (B, 2, H, W).

    `trusted`: vectors that both directions agree on go in front, and what they leave open is filled from around it.
    """
    forward, backward = flows
    credits = (agreement(forward, backward), agreement(backward, forward)) if trusted else (None, None)
    sum_start, weight_start = _project(start, end, forward, time, credits[0])
    sum_end, weight_end = _project(end, start, backward, 1 - time, credits[1])
    total = weight_start + weight_end
    in_place = 0.5 * (forward - backward)
    motion = ((sum_start - sum_end) / total.clamp(min=1e-8)).where(total > 1e-4, in_place)
    if trusted:
        cover = arriving(start, end, forward, backward, time) + arriving(end, start, backward, forward, 1 - time)
        motion = fill_holes(motion, cover)
    return motion


def _project(
    source: Tensor, target: Tensor, flow: Tensor, reach: float, credit: Tensor | None
) -> tuple[Tensor, Tensor]:
    mismatch = (source - backward_warp(target, flow)).abs().mean(1, keepdim=True)
    length = flow.norm(dim=1, keepdim=True).clamp(max=_MOTION_LIMIT)
    weight = ((-mismatch / _MATCH_SCALE).exp() + 1e-4) * (length / _MOTION_SCALE).exp()
    if credit is not None:
        weight = weight * (credit + _LEAST_CREDIT)
    return forward_splat(flow, reach * flow, weight)
