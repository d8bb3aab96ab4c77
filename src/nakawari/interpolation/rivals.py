"""Choose between two drawings of a gap, by its parts (or in two layers) and by the model, by their confidence."""

from __future__ import annotations

import numpy as np

from .drawn import Gap

SURE = 0.97
"""Confidence from which a drawing by parts, or in two layers, is kept without another."""
SURER = 3.5
"""Factor of the odds of being right from which a model's drawing is preferred."""
CERTAIN = 0.8
"""Confidence that each of a model's in-betweens needs to replace a drawing in two layers: where optical flow fails, a
model erases figures, and its confidence is lower."""


def is_doubtful(gap: Gap) -> bool:
    """Whether a finished gap has an in-between of low confidence."""
    return min(gap.used["confidence"], default=1.0) < SURE


def is_surer(model: Gap, other: Gap, least: float) -> bool:
    """Whether the in-betweens of a finished gap are clearly more confident than those of another, and none is less
    confident than `least`."""
    sure = min(model.used["confidence"], default=1.0) >= least
    return sure and _log_odds(model) - _log_odds(other) > np.log(SURER)


def _log_odds(gap: Gap) -> float:
    """The mean over the in-betweens."""
    sure = np.clip(gap.used["confidence"], 1e-3, 1 - 1e-3)
    return float(np.mean(np.log(sure / (1 - sure))))
