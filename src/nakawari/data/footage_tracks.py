"""Track points through real footage for training point control.

Corners of the first frame are tracked to the last and back by optical flow (Lucas & Kanade 1981, pyramidal as of
Bouguet 2000, in OpenCV); points with a large forward-backward error are dropped (Kalal et al. 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..media import to_uint8
from .arranged import Stream

RETURN = 0.7
"""Maximum forward-backward error in pixels."""
MOVES = 1.5
"""Minimum displacement in pixels of a moving point."""
APART = 24.0
"""Minimum horizontal or vertical distance in pixels of points in the first frame. Framer renders a point as
a square stamp of 40 pixels that hides what it covers (`families.framer.heatmaps`), so a closer point would be lost."""
_CORNERS = 200


def find_tracks(frames: NDArray[np.uint8], count: int, rng: np.random.Generator) -> NDArray[np.float32] | None:
    """Tracks (F, P, 2), x and y in pixels, of at most `count` points of `frames` (F, H, W, 3).

    Moving points are preferred, in random order; points are at least `APART` from each other in
    the first frame. None if no point can be tracked.
    """
    import cv2

    greys = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
    corners = cv2.goodFeaturesToTrack(greys[0], _CORNERS, 0.01, 3)
    if corners is None:
        return None
    there, seen = _followed(greys, corners)
    back, seen_back = _followed(greys[::-1], there[-1])
    error = np.linalg.norm(back[-1] - there[0], axis=-1)[:, 0]
    height, width = greys[0].shape
    inside = ((there >= 0) & (there <= (width - 1, height - 1))).all(axis=(0, 2, 3))
    tracks = there[:, seen & seen_back & (error < RETURN) & inside, 0]
    if not tracks.shape[1]:
        return None
    order = rng.permutation(tracks.shape[1])
    still = np.linalg.norm(tracks[-1] - tracks[0], axis=1)[order] < MOVES
    return tracks[:, _spread(tracks[0], order[np.argsort(still, kind="stable")], count)]


def _spread(points: NDArray[np.float32], order: NDArray[np.integer], count: int) -> list[int]:
    """The first `count` of the points (P, 2), in `order`, that are far enough from those before them."""
    chosen: list[int] = []
    for index in order:
        if len(chosen) == count:
            break
        if (np.abs(points[chosen] - points[index]).max(axis=1) >= APART).all():
            chosen.append(int(index))
    return chosen


def _followed(
    greys: list[NDArray[np.uint8]], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Points (P, 1, 2) of the first picture in every picture, (F, P, 1, 2), and a mask of those found in all."""
    import cv2

    places, seen = [points], np.ones(len(points), bool)
    how = {"winSize": (15, 15), "maxLevel": 3}
    for before, after in pairwise(greys):
        found, status, _ = cv2.calcOpticalFlowPyrLK(before, after, places[-1], None, **how)
        places.append(found)
        seen &= status[:, 0] == 1
    return np.stack(places), seen


@dataclass(frozen=True)
class Tracked:
    """Samples of a stream with `tracks` of at most `count` of their points, None if no point can be tracked.

    They are tracked after crop and augmentation, in a few milliseconds, so they are not cached.
    """

    stream: Stream
    count: int
    seed: int

    def sample(self, index: int) -> dict[str, Any]:
        """Sample `index`; existing tracks are kept."""
        found = self.stream.sample(index)
        if "tracks" in found:
            return found
        rng = np.random.default_rng([self.seed, *b"tracks", index])
        wanted = int(rng.integers(1, self.count + 1))
        return found | {"tracks": find_tracks(to_uint8(found["frames"]), wanted, rng)}
