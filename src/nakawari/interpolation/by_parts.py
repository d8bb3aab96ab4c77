"""Draw gaps between flat-colour keys by their parts instead of by the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..guide.parts import draw as draw_parts
from ..guide.parts.drawing import FLOW_HELPS
from .by_region import by_region
from .erased import erases


@dataclass(frozen=True)
class ByParts:
    """In-betweens by parts.

    Args:
        frames: uint8 (H, W, 3 or 4) each.
        flow_helps: whether optical flow explains the keys well, too.
    """

    frames: list[np.ndarray]
    flow_helps: bool


def frames_by_parts(pair: tuple[np.ndarray, np.ndarray], shares: Sequence[float]) -> list[np.ndarray] | None:
    """The in-betweens, uint8 (H, W, 3 or 4), of two keys at shares in (0, 1); None as in `drawn_by_parts`."""
    drawn = drawn_by_parts(pair, shares)
    return None if drawn is None else drawn.frames


def drawn_by_parts(pair: tuple[np.ndarray, np.ndarray], shares: Sequence[float]) -> ByParts | None:
    """The in-betweens of two keys, uint8 (H, W, 3 or 4), at shares in (0, 1); None if the model must draw: parts do not
    explain the keys, or leave out a static object.

    Regions that the parts draw wrong are drawn by optical flow (`by_region`).
    """
    drawing = draw_parts(*pair, shares)
    if drawing is None:
        return None
    frames = by_region(pair, drawing)
    return None if erases(pair, frames) else ByParts(frames, drawing.flow >= FLOW_HELPS)
