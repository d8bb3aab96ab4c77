"""Points led by hand: where the flow must go, and what of the picture goes with it.

Around each point the flow becomes the point's own way. What is of the point's colour goes with it as far as a tenth of
the picture's diagonal, and so do the lines beside that; what is of another colour keeps its flow. A point whose way
is not straight takes the same with it off the straight way, frame by frame: its detour. Where it has left, the other
key shows what was behind it.
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
"""Per clip (F, P, 2): where P points are in every frame, the keys first and last, x and y in pixels; None for none."""

_REACH = 0.1  # of the picture's diagonal: the deviation within which a colour goes along
_ALIKE = 0.2  # of [-1, 1]: colours this far apart go along e times less
_CORE = 4.0  # pixels around a point that go along whatever their colour
_WHOLE = 0.5  # from this weight on a pixel goes along
_LINE = 7  # pixels across in which the surest neighbour decides, so that outlines go along


@dataclass(frozen=True)
class Lead:
    """What points that are led by hand make of two keys.

    Args:
        flows: (B, 2, H, W), between the keys, both ways, leading the points where they shall go.
        parts: (B, 1, H, W), per key, 1 where it shows something that is led.
        detours: per frame how far the pixels of each key lie off their straight way, (B, 2, H, W).
    """

    flows: Flows
    parts: tuple[Tensor, Tensor]
    detours: list[Flows]


def lead(start: Tensor, end: Tensor, flows: Flows, times: Tensor, led: Led) -> Lead:
    """Keys (B, 3, H, W) in [-1, 1], the flows between them and `times` (F,) with points led by hand."""
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
    """Which key shows, read along `ways` (B, 2, H, W), a led thing that has gone from there: (B, 1, H, W) in [-1, 1],
    above 0 the start key, below the end key."""
    first, last = (backward_warp(part, way) for part, way in zip(lead.parts, ways, strict=True))
    return first - last


def uncovered(first: Tensor, last: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Two warped keys (..., 3, H, W), each with the other one where it is `hidden` (..., 1, H, W)."""
    return torch.lerp(first, last, hidden.clamp(min=0)), torch.lerp(last, first, (-hidden).clamp(min=0))


def _carried(parts: Tensor, ways: Tensor) -> Tensor:
    """(2, H, W): `parts` (P, H, W) of a picture along `ways` (P, 2)."""
    return torch.einsum("phw,pc->chw", parts, ways)


def _parts(picture: Tensor, places: Tensor) -> Tensor:
    """How much of each pixel of (3, H, W) goes along with each of P points, (P, H, W); all of it or nothing, so that
    no edge is drawn out on the way."""
    weights = torch.stack([_belongs(picture, place) for place in places])
    return weights / weights.sum(0).clamp(min=1e-6) * (weights.amax(0) > _WHOLE)


def _belongs(picture: Tensor, place: Tensor) -> Tensor:
    """How far each pixel of (3, H, W) goes along with the point, (H, W) in [0, 1]."""
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
