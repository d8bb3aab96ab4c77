"""What the metrics see of one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Frames = np.ndarray[Any, np.dtype[np.uint8]]
"""RGB, (H, W, 3) one frame, (F, H, W, 3) several."""
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


@dataclass(frozen=True)
class Scored:
    """What the metrics see of one sample.

    Args:
        output: (F, H, W, 3), the generated frames that are scored, in order of time.
        truth: (F, H, W, 3), the true frames that they stand for.
        keys: (2, H, W, 3), the start and the end key that were given.
        ends: (2, H, W, 3), the first and the last frame of the output.
        box: region of interest as x, y, width, height in pixels of these frames; None where there is none.
    """

    output: Frames
    truth: Frames
    keys: Frames
    ends: Frames
    box: Box | None = None
