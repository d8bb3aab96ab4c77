"""The learning rate as a pure function of the optimizer step, so that no scheduler state is saved."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "cosine", "linear"]


def learning_rate(
    step: int, *, peak: float, schedule: Schedule, warmup_steps: int, steps: int, floor: float = 0.0
) -> float:
    """The rate of optimizer step `step` (0 is the first): a linear rise over `warmup_steps`, then the schedule.

    The schedules fall from `peak` to `floor * peak` at step `steps`.
    """
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(steps - warmup_steps, 1)
    if schedule == "constant":
        return peak
    fall = done if schedule == "linear" else (1 - math.cos(math.pi * done)) / 2
    return peak * (1 - (1 - floor) * fall)
