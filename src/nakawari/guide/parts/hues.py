"""Colours of one hue."""

from __future__ import annotations

import numpy as np

SPREAD = 0.1
"""Maximum difference of the channels' ratios of a shade to its paint."""
DARKER, LIGHTER = 0.4, 0.95
"""The mean of these ratios."""
BLACK = 8.0
"""Levels added to both before: ratios of dark colours are not known well."""


def is_shade(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether one of two paints (4,) is a darker one of the other's hue."""
    low, high = sorted((one, two), key=lambda paint: float(paint[:3].sum()))
    ratio = (low[:3] + BLACK) / (high[:3] + BLACK)
    return bool(np.ptp(ratio) <= SPREAD and DARKER < ratio.mean() < LIGHTER and abs(low[3] - high[3]) < 1)
