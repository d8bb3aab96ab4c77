"""Motion guidance: the key frames warped along a cheap optical flow to each in-between's time.

A guide is one tensor (B, F, 9, H, W): the start key warped (3), the end key warped (3), both in [-1, 1]; how visible
each of the two is at this time (2), in [0, 1]; and the time itself (1), 0 at the start key and 1 at the end key.
At the keys themselves the warped frame is the key, untouched.
"""

from __future__ import annotations

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
