"""Automatic tracks: matching points of both keys (Lowe 2004, SIFT and its ratio test)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .tracks import Tracks, interpolate

MatchRule = Literal["random", "max_dist", "max_score", "max_score_even"]
Match = tuple[NDArray[np.float32], NDArray[np.float32], float]

_ALL = 10_000
_STILL = 1.5
"""A point that moves fewer pixels between the keys counts as static."""
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
    """Matching points of both keys, by SIFT.

    Args:
        start, end: RGB pictures (H, W, 3).
        rule: selection of the matches. `random` and `max_dist` take those whose best distance is under `ratio`
            times the second best: random ones, or those that move most, least first. `max_score` takes the best
            matches without that test, `max_score_even` also skips those that start near a better one.
        count: maximum number of matches.
        ratio: the limit of the ratio test, in (0, 1).
        seed: random seed of `random`.

    Returns:
        (2, K, 2), x and y in the start key and in the end key, K <= `count`; None if nothing matches.
    """
    matches = _nearest(start, end)
    if rule in ("random", "max_dist"):
        matches = [match for match in matches if match[2] < ratio]
    if not matches:
        return None
    kept = _choose(matches, rule, count, seed)
    return np.stack([[match[0] for match in kept], [match[1] for match in kept]]).astype(np.float32)


def _nearest(start: NDArray[np.uint8], end: NDArray[np.uint8]) -> list[Match]:
    """Every keypoint of the start key with its nearest in the end key and the distance ratio (best / second best)."""
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
    """Straight tracks between matching points of the two keys, (F, P, 2); None if nothing matches.

    Moving points are preferred to static background points, which add no information to the keys.
    """
    ends = match_keys(start, end, seed=seed, count=_ALL)
    if ends is None:
        return None
    still = np.linalg.norm(ends[1] - ends[0], axis=1) < _STILL
    return interpolate(ends[:, np.argsort(still, kind="stable")[:count]], num_frames)
