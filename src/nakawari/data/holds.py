"""Which frames show the drawing before them again, and where a new scene begins, in one pass and bounded memory.

A frame is held where no group of blocks changed by more than the noise of the compression. How much that is depends on
the encoder, so the border lies in the widest gap (Otsu 1979) between small and large changes of the frames around.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cuts import Small, is_cut, reduced, unlikeness

Pixels = NDArray[np.uint8]
_Blocks = NDArray[np.float32]

_ACROSS, _BLOCK = 64, 4  # blocks across a frame, at most, and pixels along one, at least: averaging takes most noise
_COUNTED = 8  # so many of the most changed blocks speak for a frame: a small mouth is enough
_AROUND = 24  # frames before and after that the border is found among
_LEAST, _MOST = 4.0, 20.0  # levels of 255: the border is never outside
_NONE = 0.25  # smaller changes count as this one: their logarithms would go anywhere
_APART = 3.0  # large changes are so many times small ones, or there is one kind only
_NOISE = 12.0  # small changes are at most this, or they are no noise
_DRIFT = 2.0  # a drawing is another one when it left the first frame by so many times the border, however slowly


@dataclass(frozen=True)
class Standing:
    """A drawing and how it stands.

    Args:
        pixels: its first frame, (H, W, 3).
        count: for how many frames it stands.
        cut: whether a new scene begins with it.
    """

    pixels: Pixels
    count: int
    cut: bool


@dataclass
class _Open:
    """A drawing whose end is not known yet; `step`: how unlike the drawing before it is."""

    pixels: Pixels
    small: Small
    step: float
    count: int = 1


def drawings_of(frames: Iterable[Pixels]) -> Iterator[Standing]:
    """The distinct drawings of footage in order, each when the next one is known."""
    before: _Open | None = None
    now: _Open | None = None
    for pixels, held in _told(frames):
        if now is not None and held:
            now.count += 1
            continue
        small = reduced(pixels)
        following = _Open(pixels, small, 0.0 if now is None else unlikeness(now.small, small))
        if now is not None:
            yield _closed(before, now, following)
        before, now = now, following
    if now is not None:
        yield _closed(before, now, None)


def _closed(before: _Open | None, now: _Open, following: _Open | None) -> Standing:
    cut = before is not None and is_cut(
        now.step,
        before=(before.step, before.count),
        after=None if following is None else (following.step, now.count),
    )
    return Standing(now.pixels, now.count, cut)


@dataclass
class _Waiting:
    pixels: Pixels
    blocks: _Blocks


def _told(frames: Iterable[Pixels]) -> Iterator[tuple[Pixels, bool]]:
    """Every frame, and whether it shows the drawing before it; frames wait until those after them are seen."""
    waiting: deque[_Waiting] = deque()
    changes: deque[float] = deque(maxlen=2 * _AROUND + 1)
    before: _Blocks | None = None
    first: _Blocks | None = None  # of the drawing that stands
    place = -1  # where in `changes` the oldest waiting frame stands

    def tell() -> tuple[Pixels, bool]:
        nonlocal first
        frame = waiting.popleft()
        border = _border_at(changes, place)
        held = changes[place] <= border and first is not None and _change(first, frame.blocks) <= _DRIFT * border
        if not held:
            first = frame.blocks
        return frame.pixels, held

    for pixels in frames:
        blocks = _blocks(pixels)
        full = len(changes) == changes.maxlen
        changes.append(np.inf if before is None or before.shape != blocks.shape else _change(before, blocks))
        before = blocks
        waiting.append(_Waiting(pixels, blocks))
        if len(waiting) > _AROUND:
            place = place if full else place + 1
            yield tell()
    while waiting:
        place = len(changes) - len(waiting)
        yield tell()


def _blocks(pixels: Pixels) -> _Blocks:
    import cv2

    height, width = pixels.shape[:2]
    scale = min(1 / _BLOCK, _ACROSS / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(np.ascontiguousarray(pixels).astype(np.float32), size, interpolation=cv2.INTER_AREA)


def _change(one: _Blocks, other: _Blocks) -> float:
    change = np.abs(one - other).max(axis=2).ravel()
    return float(np.sort(change)[-_COUNTED:].mean())


def _border_at(changes: Iterable[float], place: int) -> float:
    """What divides noise from movement among the changes around one place."""
    values = np.array(changes)
    around = values[max(0, place - _AROUND) : place + _AROUND + 1]
    return _border(around[np.isfinite(around)])


def _border(changes: NDArray[np.float64]) -> float:
    """What divides noise from movement among some changes, in levels of 255."""
    if len(changes) < 3:
        return _LEAST
    levels = np.sort(np.log(np.maximum(changes, _NONE)))
    count = np.arange(1, len(levels))
    total = np.cumsum(levels)
    low = total[:-1] / count
    high = (total[-1] - total[:-1]) / (len(levels) - count)
    best = int((count * (len(levels) - count) * (high - low) ** 2).argmax())
    two_kinds = high[best] - low[best] > np.log(_APART) and low[best] < np.log(_NOISE)
    border = float(np.exp((levels[best] + levels[best + 1]) / 2)) if two_kinds else _LEAST
    return min(max(border, _LEAST), _MOST)
