"""Tracks of points in the motion guide: their effect on the flow and on the area around them.

At each point the flow is replaced by the point's displacement. Pixels of the point's colour up to a tenth of
the picture's diagonal away move with it, and so do the lines beside them; pixels of another colour keep their flow. A
point whose track is not straight also moves these pixels off the straight path, frame by frame: the detour. The area
that they uncover is taken from the other key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .search import Flows
from .warp import backward_warp, pixel_grid

Led = Sequence[NDArray[np.floating] | None]
"""Per clip (F, P, 2): the positions of P points in every frame including the keys, x and y in pixels; None for none."""

_REACH = 0.1  # share of the picture's diagonal: standard deviation of the spatial weight
_ALIKE = 0.2  # in units of [-1, 1]: colours this far apart have an e times smaller weight
_CORE = 4.0  # pixels around a point that move with it whatever their colour
_WHOLE = 0.5  # pixels with at least this weight move with the point
_LINE = 7  # size in pixels of a maximum filter of the weights, so that outlines move too


@dataclass(frozen=True)
class Lead:
    """The effect of tracks on two keys.

    Args:
        flows: (B, 2, H, W), between the keys in both directions, with the displacements of the points.
        parts: (B, 1, H, W), per key, 1 for pixels that move with a point.
        detours: per frame the deviation of each key's pixels from their straight path, (B, 2, H, W).
    """

    flows: Flows
    parts: tuple[Tensor, Tensor]
    detours: list[Flows]


def lead(start: Tensor, end: Tensor, flows: Flows, times: Tensor, led: Led) -> Lead:
    """Apply tracks to the flows between keys (B, 3, H, W) in [-1, 1], at `times` (F,)."""
    keys = (start, end)
    bent = tuple(flow.clone() for flow in flows)
    parts = tuple(torch.zeros_like(key[:, :1]) for key in keys)
    detours = [tuple(torch.zeros_like(flow) for flow in flows) for _ in times]
    for clip, given in enumerate(led):
        if given is None:
            continue
        points = torch.as_tensor(np.asarray(given), dtype=start.dtype, device=start.device)
        aside = points - torch.lerp(points[:1], points[-1:], times.to(points)[:, None, None])
        for side, (here, there) in enumerate(((points[0], points[-1]), (points[-1], points[0]))):
            own = _parts(keys[side][clip], here)
            parts[side][clip] = own.sum(0)
            way = _carried(own, there - here)
            bent[side][clip] = bent[side][clip] * (1 - parts[side][clip]) + way
            for frame, offset in zip(detours, aside, strict=True):
                frame[side][clip] = _carried(own, offset)
    return Lead((bent[0], bent[1]), (parts[0], parts[1]), [(one, other) for one, other in detours])


def hidden(lead: Lead, ways: Flows) -> Tensor:
    """The key which, sampled along `ways` (B, 2, H, W), shows a tracked object that has left the position: (B, 1, H, W)
    in [-1, 1], above 0 the start key, below 0 the end key."""
    first, last = (backward_warp(part, way) for part, way in zip(lead.parts, ways, strict=True))
    return first - last


def uncovered(first: Tensor, last: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Two warped keys (..., 3, H, W), each replaced by the other where it is `hidden` (..., 1, H, W)."""
    return torch.lerp(first, last, hidden.clamp(min=0)), torch.lerp(last, first, (-hidden).clamp(min=0))


def _carried(parts: Tensor, ways: Tensor) -> Tensor:
    """The flow (2, H, W) of `parts` (P, H, W) displaced by `ways` (P, 2)."""
    return torch.einsum("phw,pc->chw", parts, ways)


def _parts(picture: Tensor, places: Tensor) -> Tensor:
    """The pixels of (3, H, W) that move with each of P points, (P, H, W); 0 or 1, so that edges are not
    stretched."""
    weights = torch.stack([_belongs(picture, place) for place in places])
    return weights / weights.sum(0).clamp(min=1e-6) * (weights.amax(0) > _WHOLE)


def _belongs(picture: Tensor, place: Tensor) -> Tensor:
    """The weight of each pixel of (3, H, W) for moving with the point, (H, W) in [0, 1]."""
    height, width = picture.shape[-2:]
    column, row = int(place[0].round().clamp(0, width - 1)), int(place[1].round().clamp(0, height - 1))
    near = picture[:, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].flatten(1).median(dim=1).values
    apart = (picture - near[:, None, None]).abs().mean(0)
    away = (pixel_grid(picture[None])[0] - place[:, None, None]).norm(dim=0)
    reach = _REACH * float(np.hypot(height, width))
    weight = (-((apart / _ALIKE) ** 2) - 0.5 * (away / reach) ** 4).exp()
    weight = torch.maximum(weight, (away <= _CORE).to(weight))
    wide = functional.max_pool2d(weight[None], _LINE, 1, _LINE // 2)
    return functional.avg_pool2d(wide, 3, 1, 1, count_include_pad=False)[0]
