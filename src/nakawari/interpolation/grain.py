"""Grain between grainy keys: a mean of two grains is weaker than either, so what is lacking is added again.

Grain lies everywhere: its level is that of the quietest tenth of a key. It is another one in every drawing, while
texture is found again along the motion between them. What is added is the nearer key's own grain, taken from elsewhere
in the picture, for every in-between from another place.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .drawn import Pair

LEAST = 2.5
"""Levels of deviation from which on a key is grainy; compression leaves less."""
FOUND_AGAIN = 0.3
"""Correlation, along the motion, of one key's quiet places with the other's from which on they are texture; painted
textures that move have 0.6 and more, grain has 0.1 at most."""
LOOKED_AT = 512
"""Pixels of each side, in the middle of the keys, in which motion is sought."""
BLUR = 1.5
"""Deviation in pixels of the blur that grain is what is left of."""
BLOCK = 16
"""Side in pixels of the squares whose grain is measured."""
QUIET = 10
"""Per cent of these squares that lie below the level."""
MANY = 30
"""Per cent of them that are compared between the keys."""
LIMIT = 3.0
"""Deviations above which a pixel is an edge and no grain."""


class Grain:
    """What is known of the grain of two keys, uint8 (H, W, 3 or 4)."""

    def __init__(self, pair: Pair) -> None:
        self._left = [_left(key) for key in pair]
        self._levels = [_level(left) for left in self._left]
        self.there = min(self._levels) >= LEAST and _found_again(pair, self._left) < FOUND_AGAIN

    def kept(self, frame: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
        """An in-between (as the keys) at a share of the way, with as much grain as the keys have."""
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
    """(H, W, 3): a picture without its blurred self."""
    colour = picture[..., :3].astype(np.float32)
    return colour - cv2.GaussianBlur(colour, (0, 0), BLUR)


def _level(left: NDArray[np.float32]) -> float:
    """Deviation in levels of what is left of a picture, in the quietest tenth of it."""
    # A mean of squares may come out just below 0: OpenCV adds up and takes away along the rows.
    return float(np.sqrt(max(np.percentile(_blocks((left**2).mean(axis=2)), QUIET), 0.0)))


def _found_again(pair: Pair, left: Sequence[NDArray[np.float32]]) -> float:
    """How far what is left of the first key correlates with that of the last, along the flow between them."""
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
