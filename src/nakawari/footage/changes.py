"""Which frames show the drawing before them again, and where a new scene begins, in one pass and bounded memory.

A frame is held where no group of blocks changed by more than the noise of the compression. How much that is depends on
the encoder, so the border lies in the widest gap (Otsu 1979) between small and large changes of the frames around.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .source import Pixels, Timed

_ACROSS, _BLOCK = 64, 4  # blocks across a frame, at most, and pixels along one, at least: averaging takes most noise
_COUNTED = 8  # so many of the most changed blocks speak for a frame: a small mouth is enough
_AROUND = 24  # frames before and after that the border is found among
_LEAST, _MOST = 4.0, 15.0  # levels of 255: the border is never outside
_APART = 3.0  # large changes are so many times small ones, or there is one kind only
_NOISE = 12.0  # small changes are at most this, or they are no noise
_SMALL = 128  # pixels across in which scenes are compared
_CUT = 0.08
_FAR, _ASTRAY = 24, 2.0  # levels of 255 and pixels by which a pixel counts as lost


@dataclass
class Standing:
    """A drawing and how it stands.

    Args:
        pixels: its first frame, (H, W, 3).
        times: when each of its frames begins, in seconds.
        cut: whether a new scene begins with it.
    """

    pixels: Pixels
    times: list = field(default_factory=list)
    cut: bool = False


def drawings_of(frames: Iterable[Timed]) -> Iterator[Standing]:
    """The distinct drawings of footage in order, each when the next one is known."""
    standing: Standing | None = None
    for frame, held in _told(frames):
        if standing is not None and held:
            standing.times.append(frame.time)
            continue
        if standing is not None:
            yield standing
        cut = standing is not None and is_cut(standing.pixels, frame.pixels)
        standing = Standing(frame.pixels, [frame.time], cut)
    if standing is not None:
        yield standing


def _told(frames: Iterable[Timed]) -> Iterator[tuple[Timed, bool]]:
    """Every frame, and whether it shows the drawing before it; frames wait until those after them are seen."""
    waiting: deque[Timed] = deque()
    changes: deque[float] = deque(maxlen=2 * _AROUND + 1)
    before: NDArray[np.float32] | None = None
    place = -1  # where in `changes` the oldest waiting frame stands
    for frame in frames:
        blocks = _blocks(frame.pixels)
        full = len(changes) == changes.maxlen
        changes.append(np.inf if before is None or before.shape != blocks.shape else _change(before, blocks))
        before = blocks
        waiting.append(frame)
        if len(waiting) > _AROUND:
            place = place if full else place + 1
            yield waiting.popleft(), _held(changes, place)
    while waiting:
        place = len(changes) - len(waiting)
        yield waiting.popleft(), _held(changes, place)


def _blocks(pixels: Pixels) -> NDArray[np.float32]:
    import cv2

    height, width = pixels.shape[:2]
    scale = min(1 / _BLOCK, _ACROSS / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def _change(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    change = np.abs(one - other).max(axis=2).ravel()
    return float(np.sort(change)[-_COUNTED:].mean())


def _held(changes: Iterable[float], place: int) -> bool:
    """Whether the change at `place` is noise among those around it."""
    values = np.array(changes)
    own = values[place]
    around = values[max(0, place - _AROUND) : place + _AROUND + 1]
    return bool(own <= _border(around[np.isfinite(around)]))


def _border(changes: NDArray[np.float64]) -> float:
    """What divides noise from movement among some changes, in levels of 255."""
    if len(changes) < 3:
        return _LEAST
    levels = np.sort(np.log(np.maximum(changes, 0.25)))
    count = np.arange(1, len(levels))
    total = np.cumsum(levels)
    low = total[:-1] / count
    high = (total[-1] - total[:-1]) / (len(levels) - count)
    best = int((count * (len(levels) - count) * (high - low) ** 2).argmax())
    two_kinds = high[best] - low[best] > np.log(_APART) and low[best] < np.log(_NOISE)
    border = float(np.exp((levels[best] + levels[best + 1]) / 2)) if two_kinds else _LEAST
    return min(max(border, _LEAST), _MOST)


def is_cut(one: Pixels, other: Pixels) -> bool:
    """Whether two frames are of different scenes: little of one is found again in the other by optical flow, and
    their colours are others."""
    first, second = _small(one), _small(other)
    if first.shape != second.shape:
        return True
    return _lost(first, second) * _recoloured(first, second) > _CUT


def _small(pixels: Pixels) -> Pixels:
    import cv2

    height, width = pixels.shape[:2]
    size = (_SMALL, max(16, round(height * _SMALL / width)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _lost(first: Pixels, second: Pixels) -> float:
    """The share of pixels that the flow does not find again, or not back."""
    import cv2

    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second)]
    forth, back = solver.calc(grey[0], grey[1], None), solver.calc(grey[1], grey[0], None)
    astray = np.linalg.norm(forth + _along(back, forth), axis=2) > _ASTRAY
    other = np.abs(_along(second, forth).astype(int) - first).max(axis=2) > _FAR
    # In flat colour the flow goes anywhere: what looks the same in its place is not lost.
    moved = np.abs(second.astype(int) - first).max(axis=2) > _FAR
    return float(((astray & moved) | other).mean())


def _along(picture: NDArray, flow: NDArray[np.float32]) -> NDArray:
    import cv2

    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    places = x + flow[..., 0], y + flow[..., 1]
    return cv2.remap(picture, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _recoloured(first: Pixels, second: Pixels) -> float:
    """How much of one colour histogram is not in the other, 0 to 1."""
    one, other = (_histogram(picture) for picture in (first, second))
    return 1 - float(np.minimum(one, other).sum())


def _histogram(picture: Pixels) -> NDArray[np.float64]:
    """Of 8 x 8 x 8 colours; a pixel counts for the bins on either side, so that a sky that darkens does not jump."""
    place = picture.reshape(-1, 3) / 32 - 0.5
    low = np.floor(place).astype(int)
    share = place - low
    counts = np.zeros(512)
    for corner in np.ndindex(2, 2, 2):
        bins = np.clip(low + corner, 0, 7) @ (64, 8, 1)
        weight = np.where(np.array(corner) == 1, share, 1 - share).prod(axis=1)
        counts += np.bincount(bins, weight, minlength=512)
    return counts / len(place)
