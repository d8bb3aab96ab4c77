"""The names of Framer's samplers, importable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

SchedulerName = Literal["euler", "dpm++", "lcm", "dpm++-reference"]
SCHEDULERS: tuple[SchedulerName, ...] = get_args(SchedulerName)

DEFAULT_STEPS: Mapping[str, int] = {"euler": 30, "dpm++": 15, "lcm": 4, "dpm++-reference": 15}
"""Default steps of each sampler."""
