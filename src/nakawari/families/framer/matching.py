"""Tracks without a hand: matching the two keys, and following points through the model's own features.

Sources: Lowe 2004 (SIFT and its ratio test); Pan et al. 2023 (DragGAN, point tracking by nearest feature); Wang et
al. 2024 (Framer, both together).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UsageError
from .tracks import Tracks, interpolate

MatchRule = Literal["random", "max_dist", "max_score", "max_score_even"]
Match = tuple[NDArray[np.float32], NDArray[np.float32], float]

_ALL = 10_000
_STILL = 1.5
"""Pixels between the keys below which a point counts as one that stands still."""
_EVEN_SPACING = 50.0
"""Pixels between the starting points that `max_score_even` keeps."""


def match_keys(
    start: NDArray[np.uint8],
    end: NDArray[np.uint8],
    *,
    rule: MatchRule = "random",
    count: int = 5,
    ratio: float = 0.5,
    seed: int = 0,
) -> NDArray[np.float32] | None:
    """Points that are the same in both keys, by SIFT.

    Args:
        start, end: RGB pictures (H, W, 3).
        rule: which of the matches to keep. `random` and `max_dist` take those whose best distance is under `ratio`
            times the second best: any of them, or the ones that move most, least first. `max_score` takes the clearest
            matches without that test, `max_score_even` in addition none that starts near a better one.
        count: how many at most.
        ratio: the limit of the ratio test, in (0, 1).
        seed: of the draw of `random`.

    Returns:
        (2, K, 2), x and y in the start key and in the end key, K <= `count`; None when nothing matches.
    """
    matches = _nearest(start, end)
    if rule in ("random", "max_dist"):
        matches = [match for match in matches if match[2] < ratio]
    if not matches:
        return None
    kept = _choose(matches, rule, count, seed)
    return np.stack([[match[0] for match in kept], [match[1] for match in kept]]).astype(np.float32)


def _nearest(start: NDArray[np.uint8], end: NDArray[np.uint8]) -> list[Match]:
    """Every keypoint of the start key with its nearest in the end key, and how clearly (best / second best)."""
    import cv2

    sift = cv2.SIFT_create()
    grey = [cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in (start, end)]
    (here, mine), (there, theirs) = (sift.detectAndCompute(image, None) for image in grey)
    if mine is None or theirs is None or len(theirs) < 2:
        return []
    found = cv2.BFMatcher().knnMatch(mine, theirs, k=2)
    return [
        (
            np.float32(here[best.queryIdx].pt),
            np.float32(there[best.trainIdx].pt),
            _share(best.distance, second.distance),
        )
        for best, second in found
    ]


def _share(best: float, second: float) -> float:
    return best / second if second > 0 else 1.0


def _choose(matches: list[Match], rule: MatchRule, count: int, seed: int) -> list[Match]:
    if rule == "random":
        chosen = np.random.default_rng(seed).choice(len(matches), min(count, len(matches)), replace=False)
        return [matches[index] for index in chosen]
    if rule == "max_dist":
        return sorted(matches, key=lambda match: float(np.linalg.norm(match[0] - match[1])))[-count:]
    best = sorted(matches, key=lambda match: match[2])
    if rule == "max_score":
        return best[:count]
    kept: list[Match] = []
    for match in best[:count]:
        if all(np.linalg.norm(match[0] - other[0]) >= _EVEN_SPACING for other in kept):
            kept.append(match)
    return kept


def automatic_tracks(
    start: NDArray[np.uint8], end: NDArray[np.uint8], num_frames: int, *, seed: int = 0, count: int = 5
) -> Tracks | None:
    """Straight tracks between matching points of the two keys, (F, P, 2); None when nothing matches.

    Points that move are taken before those of a still ground, which say nothing that the keys do not.
    """
    ends = match_keys(start, end, seed=seed, count=_ALL)
    if ends is None:
        return None
    still = np.linalg.norm(ends[1] - ends[0], axis=1) < _STILL
    return interpolate(ends[:, np.argsort(still, kind="stable")[:count]], num_frames)


def track_points(query: Tensor, features: Tensor, current: NDArray[np.floating], radius: int) -> NDArray[np.float64]:
    """Where each point's feature is found again, near where the point is now.

    Args:
        query: (P, C), the feature of each point.
        features: (C, H, W), the frame to search.
        current: (P, 2), x and y; truncated to whole pixels and clamped into the frame.
        radius: how far to look along each axis, in pixels.

    Returns:
        (P, 2), whole pixels: the nearest feature in the window by L1 distance, the first in reading order.
    """
    found = []
    for feature, (x, y) in zip(query, whole_pixels(current, features.shape[-2:]), strict=True):
        top, left = max(y - radius, 0), max(x - radius, 0)
        window = features[:, top : y + radius + 1, left : x + radius + 1]
        distance = (window - feature[:, None, None]).abs().sum(dim=0)
        row, column = divmod(int(distance.argmin()), distance.shape[1])
        found.append((left + column, top + row))
    return np.asarray(found, dtype=np.float64).reshape(-1, 2)


def whole_pixels(points: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.int64]:
    """Points as indices into an image of `size` (height, width)."""
    limits = np.array([size[1] - 1, size[0] - 1])
    return np.clip(np.trunc(points).astype(np.int64), 0, limits)


@dataclass(frozen=True)
class Refinement:
    """How tracks are refined while sampling.

    Args:
        features: which up blocks of the UNet give the features, the last but one by default.
        radius: how far a point may move in one step, in pixels.
        tolerance: the tracking from the start key and that from the end key must agree to this many pixels.
    """

    features: tuple[int, ...] = (-2,)
    radius: int = 5
    tolerance: float = 2.0

    def check(self, blocks: int) -> None:
        """Raise `UsageError` where `features` names a block that a UNet of so many up blocks has not."""
        for index in self.features:
            if not -blocks <= index < blocks:
                raise UsageError(
                    f"Tracks cannot be refined by the features of up block {index}; this model has {blocks}, "
                    f"so give {-blocks} to {blocks - 1}."
                )


class TrackRefiner:
    """Tracks of one clip that follow the picture while it appears.

    Each update looks for the points of both keys in every in-between; where the two answers agree, their mean becomes
    an anchor, and the tracks are drawn anew through the anchors. The keys are anchors from the first.
    """

    def __init__(self, tracks: Tracks, settings: Refinement) -> None:
        self.tracks = tracks.astype(np.float32)
        self.settings = settings
        self._anchors = self.tracks.copy()
        self._anchored = np.zeros(self.tracks.shape[:2], dtype=bool)
        self._anchored[[0, -1]] = True

    @torch.no_grad()
    def update(self, features: Callable[[int], Tensor]) -> None:
        """Look for the points once; `features(frame)` gives (C, H, W) at the size that the tracks count in."""
        last = len(self.tracks) - 1
        from_start, from_end = (self._query(features(frame), self.tracks[frame]) for frame in (0, last))
        for frame in range(1, last):
            current = features(frame)
            ahead, back = (
                track_points(query, current, self.tracks[frame], self.settings.radius)
                for query in (from_start, from_end)
            )
            agree = np.linalg.norm(ahead - back, axis=1) < self.settings.tolerance
            self._anchors[frame, agree] = ((ahead + back) / 2)[agree]
            self._anchored[frame] |= agree
        self.tracks = self._redrawn()

    @staticmethod
    def _query(features: Tensor, points: NDArray[np.floating]) -> Tensor:
        pixels = torch.from_numpy(whole_pixels(points, features.shape[-2:])).to(features.device)
        return features[:, pixels[:, 1], pixels[:, 0]].T

    def _redrawn(self) -> NDArray[np.float32]:
        frames = len(self.tracks)
        times = np.linspace(0, 1, frames)
        columns = [
            interpolate(self._anchors[kept, point], frames, times[kept]) for point, kept in enumerate(self._anchored.T)
        ]
        return np.stack(columns, axis=1).astype(np.float32)
