"""Keys larger than mini's working size: motion is estimated and refined at a bounded size, and the keys are warped at
theirs.

The memory of guide and denoiser is then bounded by `MOST_PIXELS` and the number of frames, independent of the size of
the keys, and the same drawing gives the same result at any size. Full-size work is done in strips of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ...guide import Guide
from ...guide.layout import MOTION_UNIT, LedGuide
from ...guide.led import uncovered
from ...guide.warp import drawn_along, off_picture
from ...threads import spread
from .redraw import Keys, Look

Size = tuple[int, int]
"""Height and width."""

MOST_PIXELS = 640 * 400
_STRIP_PIXELS = 2**17


def working_size(size: Size) -> Size:
    """The working size for keys of `size`: their own, or scaled down to `MOST_PIXELS`."""
    scale = min(1.0, math.sqrt(MOST_PIXELS / (size[0] * size[1])))
    return size if scale == 1.0 else (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))


def at_working_size(frames: Tensor) -> Tensor:
    """Frames (..., 3, H, W) in [-1, 1], scaled to their working size."""
    size = working_size((frames.shape[-2], frames.shape[-1]))
    if size == tuple(frames.shape[-2:]):
        return frames
    flat = frames.reshape(-1, *frames.shape[-3:])
    return functional.interpolate(flat, size, mode="bilinear", antialias=True).reshape(*frames.shape[:-2], *size)


def points_at_working_size(points: NDArray[np.floating], size: Size) -> NDArray[np.floating]:
    """Points (..., 2), x and y in pixels of keys of `size`, scaled to pixels of the working size."""
    height, width = working_size(size)
    return (points + 0.5) * (width / size[1], height / size[0]) - 0.5


def frames_of(looks: Sequence[Sequence[Look]]) -> list[list[Look]]:
    """Looks of several frames at a time, regrouped by frame."""
    return [
        [Look(*(part[n : n + 1] for part in look)) for look in some]
        for some in looks
        for n in range(len(some[0].motion))
    ]


def drawn_large(keys: Tensor, guide: Guide, change: Tensor, looks: Sequence[Sequence[Look]]) -> Tensor:
    """Frames at the size of the keys.

    Args:
        keys: (B, 2, 3, H, W) in [-1, 1].
        guide: of the keys at their working size.
        change: (B, F, 3, h, w), the residual at the working size beyond the looks.
        looks: per in-between, clip after clip, the denoiser's `Look`s of the guide's warped keys; empty if only
            the guide's blend is used.

    Returns:
        (B, F, 3, H, W).
    """
    clips, frames = guide.time.shape
    drawn = keys.new_empty(clips, frames, *keys.shape[2:])
    for clip in range(clips):
        drawn[clip, 0], drawn[clip, -1] = keys[clip]
        for frame in range(1, frames - 1):
            own = looks[clip * (frames - 2) + frame - 1] if looks else ()
            motion = guide.motion[clip : clip + 1, frame].float() * MOTION_UNIT
            time = float(guide.time[clip, frame])
            led = None
            if isinstance(guide, LedGuide):
                led = torch.cat([part[clip : clip + 1, frame].float() for part in (guide.detour, guide.hidden)], dim=1)
            drawn[clip, frame] = _frame(keys[clip], time, motion, led, change[clip : clip + 1, frame], own)
    return drawn


def _frame(
    keys: Tensor, time: float, motion: Tensor, led: Tensor | None, change: Tensor, looks: Sequence[Look]
) -> Tensor:
    """One frame (3, H, W) of keys (2, 3, H, W); the other tensors are at the working size; `led` is a guide's detour
    and hidden."""
    size = keys.shape[-2], keys.shape[-1]
    scale = motion.new_tensor([size[1] / motion.shape[-1], size[0] / motion.shape[-2]])[:, None, None]

    def moved(top: int, bottom: int) -> Tensor:
        own = enlarged(motion * scale, size, top, bottom)
        ways, hidden = (-time * own, (1 - time) * own), own.new_zeros(1)
        if led is not None:
            aside, hidden = enlarged(led, size, top, bottom).split([2, 1], dim=1)
            ways = ways[0] - aside * scale, ways[1] - aside * scale
        off = [off_picture(way, size, top, float(scale.max())) for way in ways]
        gone = (off[0] - off[1] + hidden).clamp(-1, 1)
        return torch.cat(uncovered(drawn_along(keys[:1], ways[0], top), drawn_along(keys[1:], ways[1], top), gone))

    warped = _in_strips(moved, keys)

    def mixed(top: int, bottom: int) -> Tensor:
        added = enlarged(change, size, top, bottom)
        if not looks:
            return torch.lerp(warped[:1, :, top:bottom], warped[1:, :, top:bottom], time) + added
        own = Keys(warped[:1], warped[1:], motion.new_full((1, 1, 1, 1), time), top)
        wide = (torch.cat([look.motion * scale, look.small, look.chance], dim=1) for look in looks)
        parts = (enlarged(one, size, top, bottom).split([2, 5, 1], dim=1) for one in wide)
        return own.drawn([Look(way, _scaled(small, scale), chance) for way, small, chance in parts]) + added

    return _in_strips(mixed, keys)[0]


def _scaled(small: Tensor, scale: Tensor) -> Tensor:
    """`small` of a `Look` with its four distances scaled to pixels of a larger picture."""
    return torch.cat([small[:, :2] * scale, small[:, 2:4] * scale, small[:, 4:]], dim=1)


def _in_strips(work: Callable[[int, int], Tensor], keys: Tensor) -> Tensor:
    """The concatenated results of `work(top, bottom)` over strips of rows of a picture of the keys' size."""
    height, width = keys.shape[-2:]
    rows = max(1, _STRIP_PIXELS // width)
    strips = [(top, min(top + rows, height)) for top in range(0, height, rows)]
    return torch.cat(spread(lambda strip: work(*strip), strips, keys.device), dim=-2)


def enlarged(values: Tensor, size: Size, top: int, bottom: int) -> Tensor:
    """Rows `top` to `bottom` of values (1, C, h, w) upsampled bilinearly to `size`: (1, C, bottom - top, W)."""
    y = (torch.arange(top, bottom, device=values.device) * 2 + 1) / size[0] - 1
    x = (torch.arange(size[1], device=values.device) * 2 + 1) / size[1] - 1
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)[None]
    return functional.grid_sample(values.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
