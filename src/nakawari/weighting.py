"""The names of the weightings of a squared error; what they mean stands at `diffusion.Process.loss_weight`."""

from __future__ import annotations

from typing import Literal

Weighting = Literal["native", "x0", "noise", "min-snr"]
