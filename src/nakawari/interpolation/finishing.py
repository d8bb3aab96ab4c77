"""What every in-between goes through, whoever drew it: grain, hard mattes, the keys' colours, what is held; and how
sure it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .confidence import Keys
from .cuts import ON_CUT
from .drawn import Gap, Pair
from .grain import Grain
from .held import hold
from .palette import in_colours, is_kept
from .settings import Settings


def finished_gap(pair: Pair, gap: Gap, settings: Settings) -> Gap:
    """A gap as it is given out; what stands in for a cut is left as it is, and nothing is said of how sure it is."""
    if gap.used.get("drawn_by") in ON_CUT:
        return gap
    kept = is_kept(pair, settings.palette)
    torn = gap.used.get("drawn_by") not in ("parts", "both")
    frames = gap.frames
    if gap.used.get("drawn_by") != "parts":
        grain = Grain(pair)
        frames = [grain.kept(frame, share) for frame, share in zip(frames, gap.shares, strict=True)]
    frames = [_finished(pair, frame, kept, torn) for frame in frames]
    keys = Keys(pair)
    sure = [round(keys.judge(frame, share).frame, 4) for frame, share in zip(frames, gap.shares, strict=True)]
    said = {"palette": "keep" if kept else "free", "confidence": sure}
    return replace(gap, frames=frames, used=dict(gap.used) | said)


def _finished(pair: Pair, frame: NDArray[np.uint8], kept: bool, torn: bool) -> NDArray[np.uint8]:
    if _hard(pair):
        frame = np.concatenate([frame[..., :3], np.where(frame[..., 3:] < 128, 0, 255).astype(np.uint8)], axis=2)
    return hold(pair, in_colours(pair, frame) if kept else frame, torn)


def _hard(pair: Pair) -> bool:
    """Whether two drawings have mattes that are full or empty everywhere."""
    return pair[0].shape[2] == 4 and all(np.isin(key[..., 3], (0, 255)).all() for key in pair)
