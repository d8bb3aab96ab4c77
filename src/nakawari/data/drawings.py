"""What changes between the frames of a clip: held drawings, still stretches, flashes, scene cuts.

Frames are looked at as thumbnails whose pixels are averages of blocks: compression noise averages out, a moved mouth
does not. A frame shows the drawing before it again when no block moved by more than `SAME` levels of 255.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariError
from .clips import Frames

THUMBNAIL = 64
"""Blocks along the longer side of a thumbnail, at most."""
BLOCK = 4
"""Pixels along the side of a block, at least: less would not average out the noise."""
SAME = 2.0
"""Levels of 255 that no block may pass for two frames to be one drawing; H.264 noise stays near half a level."""
FLASH_STEP = 25.5
"""A change of mean brightness by a tenth of the range, there and back, is a flash (WCAG 2.2, success criterion 2.3.1:
general flash)."""
FLASH_SECONDS = 1 / 3
"""How soon it must come back: three flashes a second are the limit of the same criterion."""
CUT_WIDTH = 256
CUT_RATIO = 3.0
CUT_SCORE = 27.0
"""A cut stands out from its neighbours by this ratio, and in itself by this score (PySceneDetect's defaults for its
adaptive and its content detector)."""
FEWEST_FOR_CUTS = 6
"""Distinct drawings that a clip needs before cuts are looked for: the detector compares with two on either side."""


@dataclass(frozen=True)
class Changes:
    """One clip, measured.

    `held`: (N,) whether a frame shows the drawing before it again; False for the first. `flashing`: (N,) whether it
    belongs to a flash. `cuts`: frames that start a new scene; None when cuts were not looked for.
    """

    held: NDArray[np.bool_]
    flashing: NDArray[np.bool_]
    cuts: tuple[int, ...] | None

    def __len__(self) -> int:
        return len(self.held)

    @property
    def drawings(self) -> int:
        """Distinct drawings in a row."""
        return int((~self.held).sum())

    @property
    def still(self) -> bool:
        """Whether nothing moves at all."""
        return bool(self.held[1:].all())

    def holds(self, longest: int) -> list[tuple[int, int]]:
        """Stretches [first, end) in which one drawing stands for more than `longest` frames."""
        starts = [*np.flatnonzero(~self.held).tolist(), len(self)]
        return [(a, b) for a, b in itertools.pairwise(starts) if b - a > longest]


class Watch:
    """Takes in the frames of one clip, in order, and keeps only what `changes` needs.

    Args:
        fps: frames per second; 0 = unknown, counted as 24.
        cuts: look for scene cuts, which needs PySceneDetect.

    Raises:
        NakawariError: cuts are wanted and PySceneDetect is not installed.
    """

    def __init__(self, fps: float = 0.0, *, cuts: bool = True) -> None:
        self._fps = fps or 24.0
        self._cuts = _Cuts(self._fps) if cuts else None
        self._held: list[bool] = []
        self._levels: list[float] = []
        self._last: NDArray[np.float32] | None = None

    def add(self, frame: Frames) -> None:
        """One frame (H, W, 3) uint8 RGB."""
        small = thumbnail(frame)
        held = self._last is not None and self._last.shape == small.shape and same_drawing(self._last, small)
        self._levels.append(float(small.mean()))
        self._held.append(held)
        if not held:
            # Compared with the drawing's first frame: a slow drift must not pass as a hold.
            self._last = small
            if self._cuts is not None:
                self._cuts.add(frame, len(self._held) - 1)

    def changes(self) -> Changes:
        """What was seen."""
        flashing = find_flashes(self._levels, self._fps)
        # A flash looks like a cut where it begins and where it ends.
        found = [] if self._cuts is None else self._cuts.found()
        cuts = tuple(cut for cut in found if not flashing[cut - 1 : cut + 1].any()) if self._cuts else None
        return Changes(np.array(self._held, bool), flashing, cuts)


def watch(frames: Iterable[Frames], fps: float = 0.0, *, cuts: bool = True) -> Changes:
    """The changes of a whole clip; see `Watch`."""
    seen = Watch(fps, cuts=cuts)
    for frame in frames:
        seen.add(frame)
    return seen.changes()


def thumbnail(frame: Frames) -> NDArray[np.float32]:
    """Block averages (h, w, 3), float32 in [0, 255], of a frame (H, W, 3 or 4)."""
    import cv2

    height, width = frame.shape[:2]
    scale = min(1 / BLOCK, THUMBNAIL / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(np.ascontiguousarray(frame[..., :3]).astype(np.float32), size, interpolation=cv2.INTER_AREA)


def same_drawing(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether two thumbnails of one size show one drawing."""
    return bool(np.abs(one - other).max() <= SAME)


def find_flashes(levels: Sequence[float], fps: float) -> NDArray[np.bool_]:
    """Which frames belong to a flash: mean brightness jumps by `FLASH_STEP` and jumps back within `FLASH_SECONDS`."""
    flashing = np.zeros(len(levels), bool)
    jumps = np.diff(np.asarray(levels, float))
    window = max(1, math.ceil(FLASH_SECONDS * fps))
    for start in np.flatnonzero(np.abs(jumps) >= FLASH_STEP):
        for back in range(start + 1, min(start + 1 + window, len(jumps))):
            if abs(jumps[back]) >= FLASH_STEP and jumps[back] * jumps[start] < 0:
                flashing[start + 1 : back + 1] = True
                break
    return flashing


def scenedetect_missing() -> str | None:
    """One sentence when PySceneDetect is not installed."""
    try:
        import scenedetect  # noqa: F401
    except ImportError:
        return "Scene cuts need PySceneDetect, which is not installed; pip install 'nakawari[data]'."
    return None


class _Cuts:
    """PySceneDetect's adaptive detector over distinct drawings: on twos and threes, every change would stand out."""

    def __init__(self, fps: float) -> None:
        missing = scenedetect_missing()
        if missing:
            raise NakawariError(missing)
        from scenedetect import AdaptiveDetector, FrameTimecode

        self._detector = AdaptiveDetector(adaptive_threshold=CUT_RATIO, min_scene_len=2, min_content_val=CUT_SCORE)
        self._timecode = lambda index: FrameTimecode(index, float(fps))
        self._places: list[int] = []
        self._cuts: list[int] = []

    def add(self, frame: Frames, place: int) -> None:
        import cv2

        height, width = frame.shape[:2]
        scale = min(1.0, CUT_WIDTH / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(np.ascontiguousarray(frame[..., :3]), size, interpolation=cv2.INTER_AREA)
        index = len(self._places)
        self._places.append(place)
        bgr = np.ascontiguousarray(small[..., ::-1])
        self._cuts += [cut.frame_num for cut in self._detector.process_frame(self._timecode(index), bgr)]

    def found(self) -> list[int]:
        return [self._places[cut] for cut in self._cuts] if len(self._places) >= FEWEST_FOR_CUTS else []
