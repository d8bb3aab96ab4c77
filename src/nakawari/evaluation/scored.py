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
        times: of the output's frames in (0, 1); empty where they lie evenly between the keys.
    """

    output: Frames
    truth: Frames
    keys: Frames
    ends: Frames
    box: Box | None = None
    times: tuple[float, ...] = ()

    @property
    def shares(self) -> list[float]:
        """How far each frame of the output is on the way from key to key, in (0, 1)."""
        return list(self.times) or [(index + 1) / (len(self.output) + 1) for index in range(len(self.output))]
