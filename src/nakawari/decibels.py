"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import numpy as np


def psnr_of(error: float, peak: float = 255.0) -> float:
    """PSNR in dB of a mean squared error, both in the units of `peak`; infinite for no error, minus
    infinity for an infinite one."""
    if error <= 0 or math.isinf(error):
        return -math.inf if error > 0 else math.inf
    return float(10 * np.log10(peak**2 / error))
