"""The state of a run between steps, without tensors."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

PATIENCE_WITH_NONFINITE = 3
"""Number of skipped steps in a row that stops a run."""


@dataclass
class RunState:
    """Counters saved in `state.json`.

    Args:
        step: optimizer steps taken, skipped ones included; times the batch size it is the position in the data.
        updates: steps that changed the weights.
        nonfinite: current number of skipped steps in a row.
        stale: validations in a row without improvement.
        best: the best validation score so far, and its step.
        scaler: the fp16 loss scaler's state.
    """

    step: int = 0
    updates: int = 0
    nonfinite: int = 0
    stale: int = 0
    best: dict[str, float] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)

    def improves(self, score: float, mode: Literal["max", "min"], error: float = 0.0) -> bool:
        """Record a validation score; True if it is the best, and better than that of step 0 by more than `error`."""
        margin = error if self.best.get("step") == 0 else 0.0
        old = self.best.get("score", -math.inf if mode == "max" else math.inf)
        better = score > old + margin if mode == "max" else score < old - margin
        self.stale = 0 if better else self.stale + 1
        if better:
            self.best = {"score": score, "step": self.step}
        return better

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Progress:
    """Progress reported after each step.

    Args:
        step, steps: optimizer steps done and total.
        seconds_left: estimate from this session's mean step time.
        entry: the step's log entry.
    """

    step: int
    steps: int
    seconds_left: float
    entry: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a run ended; `reason` is a sentence."""

    status: Literal["finished", "interrupted", "terminated", "stopped early"]
    step: int
    reason: str
    best: dict[str, float]
