"""Detect held frames and scene cuts in one pass with bounded memory.

A frame is held if no group of blocks changed by more than the compression noise. The noise depends on
the encoder, so the threshold lies in the widest gap (Otsu 1979) between small and large changes of the surrounding
frames.
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

_ACROSS, _BLOCK = (
    64,
    4,
)  # maximum number of blocks across a frame, and minimum side of a block in pixels: averaging reduces noise
_COUNTED = 8  # number of most changed blocks averaged for a frame: a small mouth is enough
_AROUND = 24  # frames before and after for finding the threshold
_LEAST, _MOST = 4.0, 20.0  # limits of the threshold in levels of 255
_NONE = 0.25  # lower limit of a change, for its logarithm
_APART = 3.0  # minimum ratio of large to small changes; otherwise there is only one kind
_NOISE = 12.0  # maximum of small changes that count as noise
_DRIFT = 2.0  # multiple of the threshold from which a slowly drifting drawing counts as new


@dataclass(frozen=True)
class Standing:
    """A drawing and its exposure.

    Args:
        pixels: its first frame, (H, W, 3).
        count: number of its frames.
        cut: whether it begins a new scene.
    """

    pixels: Pixels
    count: int
    cut: bool


@dataclass
class _Open:
    """A drawing whose end is not known yet; `step`: its dissimilarity to the previous drawing."""

    pixels: Pixels
    small: Small
    step: float
    count: int = 1


def drawings_of(frames: Iterable[Pixels]) -> Iterator[Standing]:
    """Yield the distinct drawings of footage in order, each when the next one is known."""
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
    """Yield every frame, and whether it repeats the previous drawing; delayed by the following frames."""
    waiting: deque[_Waiting] = deque()
    changes: deque[float] = deque(maxlen=2 * _AROUND + 1)
    before: _Blocks | None = None
    first: _Blocks | None = None  # of the current drawing
    place = -1  # position of the oldest waiting frame in `changes`

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
    """The threshold between noise and motion among the changes around one frame."""
    values = np.array(changes)
    around = values[max(0, place - _AROUND) : place + _AROUND + 1]
    return _border(around[np.isfinite(around)])


def _border(changes: NDArray[np.float64]) -> float:
    """The threshold between noise and motion among some changes, in levels of 255."""
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
