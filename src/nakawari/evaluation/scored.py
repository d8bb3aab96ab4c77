"""The input of the metrics for one sample."""

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
    """The input of the metrics for one sample.

    Args:
        output: (F, H, W, 3), the scored generated frames, in temporal order.
        truth: (F, H, W, 3), the corresponding true frames.
        keys: (2, H, W, 3), the start and the end key.
        ends: (2, H, W, 3), the first and the last frame of the output.
        box: region of interest as x, y, width, height in pixels of these frames; None if there is none.
        times: of the output's frames in (0, 1); empty if they are even.
    """

    output: Frames
    truth: Frames
    keys: Frames
    ends: Frames
    box: Box | None = None
    times: tuple[float, ...] = ()

    @property
    def shares(self) -> list[float]:
        """The time of each frame of the output between the keys, in (0, 1)."""
        return list(self.times) or [(index + 1) / (len(self.output) + 1) for index in range(len(self.output))]
