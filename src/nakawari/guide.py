"""Motion guidance: the key frames warped along a cheap optical flow to each in-between's time.

A guide is one tensor (B, F, 9, H, W): the start key warped (3), the end key warped (3), both in [-1, 1]; how visible
each of the two is at this time (2), in [0, 1]; and the time itself (1), 0 at the start key and 1 at the end key.
At the keys themselves the warped frame is the key, untouched.
"""

from __future__ import annotations

import torch
from torch import Tensor

GUIDE_CHANNELS = 9


def warped(guide: Tensor) -> tuple[Tensor, Tensor]:
    """The two warped keys, each (B, F, 3, H, W) in [-1, 1]."""
    return guide[:, :, 0:3], guide[:, :, 3:6]


def blend(guide: Tensor) -> Tensor:
    """What the guide alone draws, (B, F, 3, H, W) in [-1, 1]: the warped keys weighted by time and visibility."""
    first, last = warped(guide)
    time = guide[:, :, 8:9]
    first_weight = (1 - time) * guide[:, :, 6:7]
    last_weight = time * guide[:, :, 7:8]
    total = first_weight + last_weight
    share = (last_weight / total.clamp(min=1e-6)).where(total > 1e-6, time)
    return first + share * (last - first)


def still(start: Tensor, end: Tensor, times: Tensor) -> Tensor:
    """A guide that knows no motion: keys (B, 3, H, W) in place at `times` (F,), visible nowhere.

    Its blend is the cross-fade. A guided model runs unguided with it.
    """
    frames = len(times)
    time = times.to(start).view(1, frames, 1, 1, 1).expand(len(start), frames, 1, *start.shape[-2:])
    first, last = (key[:, None].expand(-1, frames, -1, -1, -1) for key in (start, end))
    return torch.cat([first, last, torch.zeros_like(time), torch.zeros_like(time), time], dim=2)
