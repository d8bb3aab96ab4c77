"""Names of the weightings of a squared error, explained at `diffusion.Process.loss_weight`."""

from __future__ import annotations

from typing import Literal

Weighting = Literal["native", "x0", "noise", "min-snr"]
