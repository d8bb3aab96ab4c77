"""Draw gaps between flat-colour keys by their parts instead of by the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..guide.parts import draw as draw_parts


def frames_by_parts(pair: tuple[np.ndarray, np.ndarray], shares: Sequence[float]) -> list[np.ndarray] | None:
    """The in-betweens, uint8 (H, W, 3 or 4), of two keys at shares in (0, 1); None if the model must draw."""
    drawing = draw_parts(*pair, shares)
    return None if drawing is None else drawing.frames
