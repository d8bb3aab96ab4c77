"""Large motion: a second flow from an exhaustive coarse search, the better of two flows per pixel, and filled holes.

DIS descends from a coarse pyramid and loses small objects that move farther than their own size. Here every shift up to
a quarter of the picture is tried in colour at 1/4 size or less; DIS restarts from the best shift of each position.
Per pixel the flow is chosen whose directions agree and whose colours match. Where no agreeing pixel is splatted at the
drawn time, the motion is filled in from its surroundings.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..threads import spread
from .warp import backward_warp, halved, length

Flows = tuple[Tensor, Tensor]

_COARSE_SIDE = 64
_LARGEST_DIFFERENCE = 0.25
_SHIFT_COST = 0.002
_WINDOW = 5
_MATCH_SCALE = 10 / 127.5  # an error of 10 grey levels divides the match score by e
_CHOICE_WINDOW = 9
_CHOICE_MARGIN = 0.1
_FULL_COVER = 0.3
_FILL_SCALE = 30.0  # 30 pixels of motion divide the weight for filling a hole by e
_FILL_LEVELS = 6
_MOTION_LIMIT = 40.0


def search_shifts(start: Tensor, end: Tensor) -> Flows:
    """Best shift per position by exhaustive search: images (3, H, W) in [-1, 1] -> two flows (2, H, W) in pixels."""
    import cv2

    height, width = start.shape[-2:]
    divisor = max(4, -(-max(height, width) // _COARSE_SIDE))
    size = max(height // divisor, 1), max(width // divisor, 1)
    first, last = (functional.interpolate(key[None].cpu(), size, mode="area")[0].numpy() for key in (start, end))
    scale = width / size[1], height / size[0]
    flows = _best_shifts(first, last)
    out = []
    for flow in flows:
        calm = [cv2.medianBlur(np.ascontiguousarray(flow[..., axis]), 5) * scale[axis] for axis in (0, 1)]
        out.append(torch.from_numpy(np.stack([cv2.resize(part, (width, height)) for part in calm])).to(start.device))
    return out[0], out[1]


def _best_shifts(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best of all shifts in both directions, for small images (3, h, w): flows (h, w, 2)."""
    import cv2

    height, width = first.shape[1:]
    reach_x, reach_y = max(width // 4, 1), max(3 * height // 10, 1)
    padded = np.pad(last, ((0, 0), (reach_y, reach_y), (reach_x, reach_x)), mode="edge")
    best = [np.full((height, width), np.inf, np.float32) for _ in range(2)]
    flows = [np.zeros((height, width, 2), np.float32) for _ in range(2)]
    for y in range(-reach_y, reach_y + 1):
        for x in range(-reach_x, reach_x + 1):
            shifted = padded[:, reach_y + y : reach_y + y + height, reach_x + x : reach_x + x + width]
            difference = np.minimum(np.abs(first - shifted).mean(0), _LARGEST_DIFFERENCE)
            cost = cv2.blur(difference, (_WINDOW, _WINDOW)) + np.float32(_SHIFT_COST * np.hypot(x, y))
            _take(best[0], flows[0], cost, (x, y))
            # The same cost for the opposite direction, at the target of the shift.
            here = slice(max(0, y), height + min(0, y)), slice(max(0, x), width + min(0, x))
            there = slice(max(0, -y), height + min(0, -y)), slice(max(0, -x), width + min(0, -x))
            _take(best[1][here], flows[1][here], cost[there], (-x, -y))
    return flows[0], flows[1]


def _take(best: np.ndarray, flow: np.ndarray, cost: np.ndarray, shift: tuple[int, int]) -> None:
    better = cost < best
    best[better] = cost[better]
    flow[better] = shift


def agreement(flow: Tensor, back: Tensor) -> Tensor:
    """Forward-backward consistency of `flow` and `back` (B, 2, H, W): (B, 1, H, W) in [0, 1]."""
    miss = length(flow + backward_warp(back, flow))
    return (-((miss / (1 + 0.1 * length(flow))) ** 2)).exp()


def match(source: Tensor, target: Tensor, flow: Tensor) -> Tensor:
    """Match of the colours at both ends of the flow: (B, 1, H, W) in [0, 1]."""
    return (-(source - backward_warp(target, flow)).abs().mean(1, keepdim=True) / _MATCH_SCALE).exp()


def choose(start: Tensor, end: Tensor, flows: Flows, others: Flows) -> Flows:
    """Per pixel the flow with better consistency and match in its neighbourhood; `flows` if they are about equal."""
    (forward, backward), (other_forward, other_backward) = flows, others
    pairs = ((start, end, forward, backward, other_forward, other_backward),)
    pairs += ((end, start, backward, forward, other_backward, other_forward),)
    forward, backward = spread(lambda pair: _chosen(*pair), pairs, start.device)
    return forward, backward


def _chosen(source: Tensor, target: Tensor, flow: Tensor, back: Tensor, other: Tensor, other_back: Tensor) -> Tensor:
    gain = _trust(source, target, other, other_back) - _trust(source, target, flow, back)
    return torch.where(gain > _CHOICE_MARGIN, other, flow)


def _trust(source: Tensor, target: Tensor, flow: Tensor, back: Tensor) -> Tensor:
    return _window_mean(match(source, target, flow) * agreement(flow, back))


def _window_mean(score: Tensor) -> Tensor:
    """The mean around each pixel of (B, 1, H, W), with repeated borders; on a CPU by OpenCV, in a twentieth of the
    time."""
    if score.device.type != "cpu" or score.requires_grad:
        padded = functional.pad(score, [_CHOICE_WINDOW // 2] * 4, mode="replicate")
        return functional.avg_pool2d(padded, _CHOICE_WINDOW, 1)
    import cv2

    size, mean = (_CHOICE_WINDOW, _CHOICE_WINDOW), torch.empty_like(score)
    for plane, target in zip(score[:, 0].numpy(), mean[:, 0].numpy(), strict=True):
        cv2.blur(plane, size, target, borderType=cv2.BORDER_REPLICATE)
    return mean


def fill_holes(motion: Tensor, cover: Tensor, even: bool = False) -> Tensor:
    """Motion (B, 2, H, W), filled from its surroundings where `cover` (B, 1, H, W), the splatted trust, is small:
    rather with slow motion, since a hole opens behind what moves, or `even`ly."""
    sure = (cover / _FULL_COVER).clamp(max=1)
    weight = sure if even else sure * (-length(motion).clamp(max=_MOTION_LIMIT) / _FILL_SCALE).exp()
    weight = weight.clamp(1e-6, 1)
    return torch.lerp(_pull_push(motion, weight, _FILL_LEVELS), motion, sure)


def _pull_push(values: Tensor, weight: Tensor, levels: int) -> Tensor:
    """Push-pull filling: weighted means of ever larger squares where the weight is below one (Gortler et al. 1996)."""
    height, width = values.shape[-2:]
    if not levels or min(height, width) < 4:
        mean = (values * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)
        return torch.lerp(mean, values, weight)
    pad = (0, width % 2, 0, height % 2)
    values_even, weight_even = (functional.pad(part, pad, mode="replicate") for part in (values, weight))
    coarse_weight = halved(weight_even)
    coarse = halved(values_even * weight_even) / coarse_weight.clamp(min=1e-8)
    below = _pull_push(coarse, (2 * coarse_weight).clamp(max=1), levels - 1)
    wide = functional.interpolate(below, size=values_even.shape[-2:], mode="bilinear")[..., :height, :width]
    return torch.lerp(wide, values, weight)
