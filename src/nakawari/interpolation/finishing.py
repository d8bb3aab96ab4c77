"""What every in-between goes through, whoever drew it: hard mattes, the keys' colours, what is held."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .drawn import Gap, Pair
from .held import hold
from .palette import in_colours, is_kept
from .settings import Settings


def finished_gap(pair: Pair, gap: Gap, settings: Settings) -> Gap:
    """A gap as it is given out."""
    kept = is_kept(pair, settings.palette)
    frames = [_finished(pair, frame, kept) for frame in gap.frames]
    return replace(gap, frames=frames, used=dict(gap.used) | {"palette": "keep" if kept else "free"})


def _finished(pair: Pair, frame: NDArray[np.uint8], kept: bool) -> NDArray[np.uint8]:
    if _hard(pair):
        frame = np.concatenate([frame[..., :3], np.where(frame[..., 3:] < 128, 0, 255).astype(np.uint8)], axis=2)
    return hold(pair, in_colours(pair, frame) if kept else frame)


def _hard(pair: Pair) -> bool:
    """Whether two drawings have mattes that are full or empty everywhere."""
    return pair[0].shape[2] == 4 and all(np.isin(key[..., 3], (0, 255)).all() for key in pair)
