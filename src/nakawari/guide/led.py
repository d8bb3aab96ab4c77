"""Points led by hand: where the flow must go, and what of the picture goes with it.

Around each point the flow becomes the point's own way. What is of the point's colour goes with it as far as a tenth of
the picture's diagonal, and so do the lines beside that; what is of another colour keeps its flow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .search import Flows
from .warp import pixel_grid

Led = Sequence[NDArray[np.floating] | None]
"""Per clip (2, P, 2): where P points are in the start and in the end key, x and y in pixels; None for none."""

_REACH = 0.1  # of the picture's diagonal: the deviation within which a colour goes along
_ALIKE = 0.2  # of [-1, 1]: colours this far apart go along e times less
_CORE = 4.0  # pixels around a point that go along whatever their colour
_LINE = 7  # pixels across in which the surest neighbour decides, so that outlines go along


def bent(start: Tensor, end: Tensor, flows: Flows, led: Led) -> Flows:
    """Flows (B, 2, H, W) between keys (B, 3, H, W) in [-1, 1], both ways, that lead the points where they shall go."""
    forward, backward = (flow.clone() for flow in flows)
    for clip, points in enumerate(led):
        if points is None:
            continue
        places = torch.as_tensor(np.asarray(points), dtype=start.dtype, device=start.device)
        ways = places[1] - places[0]
        forward[clip] = _along(start[clip], forward[clip], places[0], ways)
        backward[clip] = _along(end[clip], backward[clip], places[1], -ways)
    return forward, backward


def _along(picture: Tensor, flow: Tensor, places: Tensor, ways: Tensor) -> Tensor:
    """One flow (2, H, W) that takes `ways` (P, 2) at `places` (P, 2) of its picture (3, H, W)."""
    weights = torch.stack([_belongs(picture, place) for place in places])
    total = weights.sum(0).clamp(min=1e-6)
    own = torch.einsum("phw,pc->chw", weights, ways) / total
    return torch.lerp(flow, own, weights.amax(0))


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
