"""Grain between grainy keys: averaging two grains weakens them, so the missing grain is added again.

Grain covers the whole picture: its level is that of the quietest tenth of a key. It differs in every drawing, while
texture matches along the motion between them. The added grain is the nearer key's own, taken from another position
in the picture for every in-between.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .drawn import Pair

LEAST = 2.5
"""Minimum standard deviation in levels of a grainy key; compression leaves less."""
FOUND_AGAIN = 0.3
"""Minimum correlation of the keys' quiet areas along the motion for texture; moving painted
textures have 0.6 and more, grain has 0.1 at most."""
LOOKED_AT = 512
"""Side in pixels of the central area in which motion is estimated."""
BLUR = 1.5
"""Standard deviation in pixels of the blur whose residual is grain."""
BLOCK = 16
"""Side in pixels of the squares whose grain is measured."""
QUIET = 10
"""Percentile of these squares that defines the level."""
MANY = 30
"""Percentage of them that is compared between the keys."""
LIMIT = 3.0
"""Deviations above which a pixel is an edge instead of grain."""


class Grain:
    """The grain of two keys, uint8 (H, W, 3 or 4)."""

    def __init__(self, pair: Pair) -> None:
        self._left = [_left(key) for key in pair]
        self._levels = [_level(left) for left in self._left]
        self.there = min(self._levels) >= LEAST and _found_again(pair, self._left) < FOUND_AGAIN

    def kept(self, frame: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
        """An in-between (as the keys) at a fraction of the gap, with the keys' level of grain."""
        if not self.there:
            return frame
        wanted = (1 - share) * self._levels[0] + share * self._levels[1]
        lacking = np.sqrt(max(wanted**2 - _level(_left(frame)) ** 2, 0.0))
        nearer = int(share > 0.5)
        own, level = self._left[nearer], self._levels[nearer]
        own = np.where(np.abs(own) <= LIMIT * level, own, 0.0)
        rng = np.random.default_rng(round(share * 1e6))
        own = np.roll(own, [int(rng.integers(side // 4, side - side // 4)) for side in own.shape[:2]], axis=(0, 1))
        grainy = frame[..., :3] + own * (lacking / max(float(own.std()), 1e-6))
        out = frame.copy()
        out[..., :3] = np.rint(grainy).clip(0, 255)
        return out


def _left(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3): a picture minus its blurred version."""
    colour = picture[..., :3].astype(np.float32)
    return colour - cv2.GaussianBlur(colour, (0, 0), BLUR)


def _level(left: NDArray[np.float32]) -> float:
    """Standard deviation in levels of a picture's residual in its quietest tenth."""
    # A mean of squares may be slightly negative: OpenCV uses running sums along the rows.
    return float(np.sqrt(max(np.percentile(_blocks((left**2).mean(axis=2)), QUIET), 0.0)))


def _found_again(pair: Pair, left: Sequence[NDArray[np.float32]]) -> float:
    """Correlation of the keys' residuals along the flow between them."""
    middle = tuple(slice(max(0, (side - LOOKED_AT) // 2), (side + LOOKED_AT) // 2) for side in pair[0].shape[:2])
    grey = [
        cv2.GaussianBlur(cv2.cvtColor(np.ascontiguousarray(key[middle][..., :3]), cv2.COLOR_RGB2GRAY), (0, 0), BLUR)
        for key in pair
    ]
    if min(grey[0].shape) < BLOCK:
        return 1.0
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey[0], grey[1], None)
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    first = left[0][middle]
    last = cv2.remap(left[1][middle], x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    own, other, both = (_blocks((one * two).mean(axis=2)) for one, two in ((first, first), (last, last), (first, last)))
    quiet = own <= np.percentile(own, MANY)
    return float(both[quiet].sum() / np.sqrt(own[quiet].sum() * other[quiet].sum() + 1e-9))


def _blocks(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of square blocks that overlap by half."""
    return cv2.blur(plane, (BLOCK, BLOCK))[:: BLOCK // 2, :: BLOCK // 2]
