"""Post-processing of every in-between, for all methods: grain, hard mattes, palette, held areas; and its
confidence."""

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
    """A gap after post-processing; replacements at a cut are unchanged and have no confidence."""
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
    """Whether the mattes of two drawings are fully opaque or empty everywhere."""
    return pair[0].shape[2] == 4 and all(np.isin(key[..., 3], (0, 255)).all() for key in pair)
