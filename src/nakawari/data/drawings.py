"""Measure the changes between the frames of a clip: held drawings, static stretches, flashes, scene cuts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .clips import Frames
from .holds import drawings_of

FLASH_STEP = 25.5
"""A change of mean brightness by a tenth of the range, there and back, is a flash (WCAG 2.2, success criterion 2.3.1:
general flash)."""
FLASH_SECONDS = 1 / 3
"""Maximum duration of a flash: three flashes a second are the limit of the same criterion."""
FEWEST_FOR_CUTS = 6
"""Minimum number of distinct drawings for detecting cuts: in a triplet everything may have moved."""


@dataclass(frozen=True)
class Changes:
    """The measured changes of one clip.

    `held`: (N,) whether a frame repeats the previous drawing; False for the first. `flashing`: (N,) whether it
    belongs to a flash. `cuts`: frames that start a new scene.
    """

    held: NDArray[np.bool_]
    flashing: NDArray[np.bool_]
    cuts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.held)

    @property
    def drawings(self) -> int:
        """Number of distinct drawings."""
        return int((~self.held).sum())

    @property
    def still(self) -> bool:
        """Whether nothing moves at all."""
        return bool(self.held[1:].all())

    def holds(self, longest: int) -> list[tuple[int, int]]:
        """Stretches [first, end) in which one drawing is held for more than `longest` frames."""
        starts = [*np.flatnonzero(~self.held).tolist(), len(self)]
        return [(a, b) for a, b in itertools.pairwise(starts) if b - a > longest]


def watch(frames: Iterable[Frames], fps: float = 0.0) -> Changes:
    """The changes of a clip, whose frames (H, W, 3) uint8 are streamed and not kept.

    `fps`: frames per second; 0 = unknown, counted as 24.
    """
    levels: list[float] = []

    def measured() -> Iterator[Frames]:
        for frame in frames:
            levels.append(float(frame.mean()))
            yield frame

    held: list[bool] = []
    cuts: list[int] = []
    drawings = 0
    for drawing in drawings_of(measured()):
        cuts += [len(held)] * drawing.cut
        held += [False, *[True] * (drawing.count - 1)]
        drawings += 1
    flashing = find_flashes(levels, fps or 24.0)
    # A flash looks like a cut at its beginning and end.
    found = [cut for cut in cuts if not flashing[cut - 1 : cut + 1].any()] if drawings >= FEWEST_FOR_CUTS else []
    return Changes(np.array(held, bool), flashing, tuple(found))


def find_flashes(levels: Sequence[float], fps: float) -> NDArray[np.bool_]:
    """The frames of a flash: mean brightness jumps by `FLASH_STEP` and jumps back within `FLASH_SECONDS`."""
    flashing = np.zeros(len(levels), bool)
    jumps = np.diff(np.asarray(levels, float))
    window = max(1, math.ceil(FLASH_SECONDS * fps))
    for start in np.flatnonzero(np.abs(jumps) >= FLASH_STEP):
        for back in range(start + 1, min(start + 1 + window, len(jumps))):
            if abs(jumps[back]) >= FLASH_STEP and jumps[back] * jumps[start] < 0:
                flashing[start + 1 : back + 1] = True
                break
    return flashing
