"""Detect faults common to all frames of a clip: black bars, and interlacing."""

from __future__ import annotations

import numpy as np

from .clips import Frames

BLACK = 24
"""Maximum level of 255 of a black bar's pixels; black in video is 16 plus compression noise."""
LEAST_BAR = 0.02
"""Minimum share of the side for bars on both sides."""
_MOVED = 16  # minimum change in levels of 255 from frame to frame of a moving pixel
_COMB = 12  # minimum difference in levels of 255, of equal sign, between a combed line and its two neighbours
_COMBED = 0.2  # minimum combed share of the moving pixels in an interlaced frame
_MOVING = 0.002  # minimum moving share of the picture for a decision on a frame
_TOLD = 3  # minimum number of such frames


class Framing:
    """Accumulates statistics over the frames of one clip, in order."""

    def __init__(self) -> None:
        self._bars: np.ndarray | None = None
        self._size = (1, 1)
        self._before: np.ndarray | None = None
        self._told = self._combed = 0

    def add(self, frame: Frames) -> None:
        """One frame (H, W, 3) uint8 RGB; all of one size."""
        self._size = frame.shape[0], frame.shape[1]
        brightest = frame.max(axis=2)
        rows, columns = brightest.max(axis=1) > BLACK, brightest.max(axis=0) > BLACK
        if rows.any():  # a black frame has no bars
            bars = np.array([rows.argmax(), rows[::-1].argmax(), columns.argmax(), columns[::-1].argmax()])
            self._bars = bars if self._bars is None else np.minimum(self._bars, bars)
        grey = frame[..., 1].astype(np.int16)
        if self._before is not None:
            self._fields(grey, np.abs(grey - self._before) > _MOVED)
        self._before = grey

    def _fields(self, grey: np.ndarray, moved: np.ndarray) -> None:
        inner = moved[1:-1]
        if grey.shape[0] < 3 or inner.mean() < _MOVING:
            return
        above, below = grey[:-2] - grey[1:-1], grey[2:] - grey[1:-1]
        comb = (np.minimum(above, below) > _COMB) | (np.maximum(above, below) < -_COMB)
        self._told += 1
        self._combed += bool(comb[inner].mean() > _COMBED)

    @property
    def bars(self) -> tuple[int, int, int, int]:
        """Black pixels at top, bottom, left and right of every frame that is not black; 0 unless there are bars on
        two opposite sides."""
        if self._bars is None:
            return 0, 0, 0, 0
        top, bottom, left, right = (int(bar) for bar in self._bars)
        height, width = self._size
        if min(top, bottom) < LEAST_BAR * height:
            top = bottom = 0
        if min(left, right) < LEAST_BAR * width:
            left = right = 0
        return top, bottom, left, right

    @property
    def woven(self) -> bool:
        """Whether most moving frames are interlaced."""
        return self._told >= _TOLD and self._combed > self._told / 2
