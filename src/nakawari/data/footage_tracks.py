"""Where points of real footage go, for point control to be learnt from: no clip comes with tracks of its own.

Corners of the first frame are followed to the last and back again by optical flow (Lucas & Kanade 1981, pyramidal as of
Bouguet 2000, in OpenCV); who does not come back to where it began is not believed (Kalal et al. 2010).
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
"""Pixels by which a point that was followed there and back may miss its beginning."""
MOVES = 1.5
"""Pixels from first to last frame from which on a point counts as one that moves."""
APART = 24.0
"""Pixels by which points that are told together lie apart in the first frame, across or down. Framer draws a point as
a square stamp of 40 pixels that hides what it covers (`families.framer.heatmaps`): one of two nearer ones is lost."""
_CORNERS = 200


def find_tracks(frames: NDArray[np.uint8], count: int, rng: np.random.Generator) -> NDArray[np.float32] | None:
    """Tracks (F, P, 2), x and y in pixels, of at most `count` points of `frames` (F, H, W, 3).

    Points that move are taken before others, which of them is drawn; they lie `APART` from each other, or farther, in
    the first frame. None where no point can be followed.
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
    """The first `count` of the points (P, 2), in `order`, that lie apart from those before them."""
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
    """Points (P, 1, 2) of the first picture in every picture, (F, P, 1, 2), and which of them were found in all."""
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
    """Samples of a stream with `tracks` of at most `count` of their points, None where no point can be followed.

    They are found in the sample as training sees it, after crop and changes; a few milliseconds each, so none are kept.
    """

    stream: Stream
    count: int
    seed: int

    def sample(self, index: int) -> dict[str, Any]:
        """Sample `index`; one that knows its tracks keeps them."""
        found = self.stream.sample(index)
        if "tracks" in found:
            return found
        rng = np.random.default_rng([self.seed, *b"tracks", index])
        wanted = int(rng.integers(1, self.count + 1))
        return found | {"tracks": find_tracks(to_uint8(found["frames"]), wanted, rng)}
