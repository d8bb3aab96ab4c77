"""Draw gaps between flat-colour keys by their parts instead of by the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..guide.parts import draw as draw_parts
from .by_region import by_region
from .erased import erases


def frames_by_parts(pair: tuple[np.ndarray, np.ndarray], shares: Sequence[float]) -> list[np.ndarray] | None:
    """The in-betweens, uint8 (H, W, 3 or 4), of two keys at shares in (0, 1); None if the model must draw: parts do not
    explain the keys, or leave out a static object.

    Regions that the parts draw wrong are drawn by optical flow (`by_region`).
    """
    drawing = draw_parts(*pair, shares)
    frames = None if drawing is None else by_region(pair, drawing)
    return None if frames is None or erases(pair, frames) else frames
