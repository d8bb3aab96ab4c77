"""Metrics of animation: pacing, colour step at a key, lines, new colours.

All take `Scored` or a pair of frames, uint8 RGB; pacing needs at least six frames between two keys and is None
otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .scored import Frames, Scored

STEPS = 7
"""Minimum number of steps from key to key for pacing."""
FLAGGED = {"pacing": 0.5, "strobe": 0.25, "key-step": 2.0}
"""Limits that no sound method exceeds on average; see `benchmarks/pacing.py`."""
_HELD = 0.01
_ALIKE = 8


def paces(scored: Scored) -> tuple[np.ndarray, np.ndarray] | None:
    """The change from frame to frame of output and truth, (F + 1,) each with mean 1; None for too few or static frames.

    The change is the mean absolute difference of neighbouring frames, from the start key to the end key.
    """
    if len(scored.truth) + 1 < STEPS:
        return None
    made = [
        _changes(scored.ends[0], scored.output, scored.ends[1]),
        _changes(scored.keys[0], scored.truth, scored.keys[1]),
    ]
    if min(changes.mean() for changes in made) <= 0:
        return None
    return made[0] / made[0].mean(), made[1] / made[1].mean()


def _changes(start: Frames, between: Frames, end: Frames) -> np.ndarray:
    frames = np.concatenate([start[None], between, end[None]]).astype(np.float64)
    return np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))


def pacing(scored: Scored) -> float | None:
    """Deviation of the pacing from the truth's: mean |step - true step|, steps with mean 1; 0 for equal, near 2 for a
    jump."""
    found = paces(scored)
    return None if found is None else float(np.abs(found[0] - found[1]).mean())


def strobe(scored: Scored) -> float | None:
    """Alternation of the steps beyond the truth's; 1 if every second frame is static.

    The amplitude of the steps at period 2 times the share of their power there: a single jump has equal power at all
    periods.
    """
    found = paces(scored)
    return None if found is None else max(0.0, _alternating(found[0]) - _alternating(found[1]))


def _alternating(steps: np.ndarray) -> float:
    signs = 1.0 - 2.0 * (np.arange(len(steps)) % 2)
    centred = steps - steps.mean()
    amplitude, power = abs(float(np.mean(signs * centred))), float(np.mean(centred**2))
    return amplitude * amplitude**2 / power if power > 0 else 0.0


def lag1(scored: Scored) -> float | None:
    """Lag-1 autocorrelation of the steps minus that of the truth: far below 0 for alternating steps."""
    found = paces(scored)
    return None if found is None else _autocorrelation(found[0]) - _autocorrelation(found[1])


def _autocorrelation(steps: np.ndarray) -> float:
    centred = steps - steps.mean()
    power = float((centred**2).sum())
    # For steps that are even to a thousandth the autocorrelation is undefined.
    return float((centred[1:] * centred[:-1]).sum()) / power if power > len(steps) * 1e-6 else 0.0


def key_step(scored: Scored) -> float | None:
    """Colour step from a key to the adjacent frame, 8-bit levels; None if less than 1 % of the picture is held.

    Over pixels that are equal in the key and the true neighbour, to one level: the mean signed difference per channel,
    the largest magnitude of the three, averaged over both keys.
    """
    found = []
    for key, made, true in zip(scored.keys, scored.output[[0, -1]], scored.truth[[0, -1]], strict=True):
        held = (np.abs(key.astype(np.int16) - true) <= 1).all(-1)
        if held.mean() < _HELD:
            return None
        found.append(np.abs((made[held].astype(np.float64) - key[held]).mean(0)).max())
    return float(np.mean(found))


def line_depth(frame: Frames) -> np.ndarray:
    """Darkness of each pixel relative to its surroundings, 8-bit levels, (H, W); see `metrics.line_art`."""
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY).astype(np.float64)
    narrow, wide = (
        cv2.GaussianBlur(grey, (2 * round(4 * s) + 1,) * 2, s, borderType=cv2.BORDER_REFLECT) for s in (1.0, 1.6)
    )
    return wide - narrow


def line_fade(output: Frames, truth: Frames, lines: float = 4.0) -> float:
    """Fading of the lines relative to the truth's, in per cent of their depth; below 0 if they are darker.

    The depth of a drawing's lines is the mean over its own line pixels at any position, so displaced lines do not count
    as faded; 100 if the output has no lines, 0 if the truth has none.
    """
    ours, theirs = (depth[depth > lines] for depth in (line_depth(output), line_depth(truth)))
    if not len(theirs):
        return 0.0
    return 100.0 * (1 - (float(ours.mean()) if len(ours) else 0.0) / float(theirs.mean()))


def line_count(output: Frames, truth: Frames, lines: float = 4.0) -> float:
    """Absolute difference of the number of line pixels from the truth's, in per cent: doubled or lost lines."""
    ours, theirs = (int((line_depth(frame) > lines).sum()) for frame in (output, truth))
    return 100.0 * abs(ours - theirs) / theirs if theirs else 0.0


def new_colours(scored: Scored) -> float:
    """Share of pixels (‰) whose colour is in neither keys nor truth, within 8 to 16 levels per channel."""
    return 1000.0 * float(_new(scored).mean())


def new_colours_region(scored: Scored) -> float | None:
    """Share of pixels (%) of a new colour in the worst region of the truth; None without regions.

    A region is enclosed by lines and colour edges: connected pixels whose neighbours differ by 8 levels at most,
    at least 0.1 % of the picture. One wrongly painted area counts in full, however small. The mean over frames.
    """
    worst = []
    for new, truth in zip(_new(scored), scored.truth, strict=True):
        regions = _regions(truth)
        sizes = np.bincount(regions.ravel())
        large = sizes >= 1e-3 * regions.size
        large[0] = False  # lines and edges
        if large.any():
            shares = np.bincount(regions.ravel(), weights=new.ravel(), minlength=len(sizes))[large] / sizes[large]
            worst.append(float(shares.max()))
    return 100.0 * float(np.mean(worst)) if worst else None


def _regions(frame: Frames) -> np.ndarray:
    """The region of each pixel, (H, W), from 1 on; 0 on lines and edges."""
    import cv2

    levels = frame.astype(np.int16)
    flat = np.ones(frame.shape[:2], np.uint8)
    flat[:, 1:] &= (np.abs(np.diff(levels, axis=1)) <= _ALIKE).all(-1)
    flat[1:] &= (np.abs(np.diff(levels, axis=0)) <= _ALIKE).all(-1)
    return cv2.connectedComponents(flat, connectivity=4)[1]


def _new(scored: Scored) -> np.ndarray:
    """The pixels of the output whose colour is in neither keys nor truth, (F, H, W)."""
    known = np.zeros((34, 34, 34), bool)
    bins = (np.concatenate([scored.keys, scored.truth]) >> 3).reshape(-1, 3) + 1
    known[tuple(bins.T)] = True
    for axis in range(3):  # a neighbouring bin counts as the same colour
        known = known | np.roll(known, 1, axis) | np.roll(known, -1, axis)
    made = (scored.output >> 3) + 1
    return ~known[made[..., 0], made[..., 1], made[..., 2]]
