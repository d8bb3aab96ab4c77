"""Diagnosis of a training log: the loss over time, and failures that raise no error.

Losses are compared by tenths of the run (or epochs): the mean of each with its standard error, so that a warning takes
the noise of this log into account. Two means differ if they are more than three standard errors apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .log_reading import TrainingLog, read
from .log_rows import Entry

Curve = NDArray[np.float64]
UNIT_BASELINE = 1.0
"""Squared error of an all-zero prediction if the target (noise, velocity) has unit variance."""
SIGNIFICANT = 3.0
"""Minimum number of standard errors between two means that count as different."""


@dataclass(frozen=True)
class Part:
    """Loss over one epoch or one tenth of the run. `error`: standard error of the mean; None with under two steps."""

    name: str
    first: int
    last: int
    count: int
    mean: float
    std: float
    minimum: float
    error: float | None


@dataclass(frozen=True)
class Warn:
    """`kind`: warm-up, baseline, nonfinite, plateau, divergence or unfinished."""

    kind: str
    sentence: str


@dataclass(frozen=True)
class LogDiagnosis:
    """A log and its diagnosis. `parts`: epochs if the log has more than one, else tenths.
    `baseline`: loss of an all-zero prediction; `assumed`: it is neither from the log nor from the caller."""

    log: TrainingLog
    parts: list[Part]
    tenths: list[Part]
    baseline: float
    assumed: bool
    warnings: list[Warn]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        log = self.log
        share = log.trainable / log.total if log.trainable and log.total else None
        rates = [entry.rate for entry in log.entries if entry.rate is not None]
        return {
            "file": str(log.path),
            "kind": log.kind,
            "config": log.config,
            "trainable_parameters": log.trainable,
            "parameters": log.total,
            "trainable_share": share,
            "steps": {"logged": len(log.entries), "last": log.entries[-1].step, "planned": log.steps},
            "learning_rate": {
                "configured": log.peak_rate,
                "highest": max(rates, default=None),
                "last": rates[-1] if rates else None,
            },
            "nonfinite": sum(entry.nonfinite for entry in log.entries),
            "skipped": sum(entry.skipped for entry in log.entries),
            "baseline": self.baseline,
            "baseline_assumed": self.assumed,
            "loss": [vars(part) for part in self.parts],
            "warnings": [vars(warning) for warning in self.warnings],
        }


def diagnose_log(path: Path | str, baseline: float | None = None) -> LogDiagnosis:
    """Read and diagnose a run folder, a `log.jsonl` or a text log.

    Args:
        baseline: the loss of an all-zero prediction; None takes it from the log, and assumes 1 if it is not there.

    Raises:
        NakawariError: not a training log.
    """
    log = read(path)
    logged = [entry.baseline for entry in log.entries[-max(1, len(log.entries) // 10) :] if entry.baseline is not None]
    level = baseline if baseline is not None else float(np.mean(logged)) if logged else UNIT_BASELINE
    assumed = baseline is None and not logged
    tenths = _tenths(log.entries)
    warnings = [
        *_nonfinite(log),
        *_warm_up(log),
        *(_paired(log.entries) if baseline is None and logged else _at_baseline(tenths, level, assumed)),
        *_direction(tenths),
        *_unfinished(log),
    ]
    return LogDiagnosis(log, _epochs(log.entries) or tenths, tenths, level, assumed, warnings)


def losses(log: TrainingLog) -> tuple[Curve, Curve]:
    """Steps and losses of all steps with a finite loss."""
    rows = [(entry.step, entry.loss) for entry in log.entries if entry.loss is not None]
    return np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], float)


def smoothed(values: Curve) -> Curve:
    """A centred moving mean over a twentieth of the run, shorter at both ends; same length."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


# --- parts of a run ---------------------------------------------------------------------------------------------------


def _part(name: str, entries: list[Entry]) -> Part | None:
    values = np.array([entry.loss for entry in entries if entry.loss is not None])
    if not len(values):
        return None
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    first, last = entries[0].step, entries[-1].step
    return Part(name, first, last, len(values), float(values.mean()), float(values.std()), float(values.min()), error)


def _epochs(entries: list[Entry]) -> list[Part]:
    numbers = sorted({entry.epoch for entry in entries if entry.epoch is not None})
    if len(numbers) < 2:
        return []
    parts = (_part(f"epoch {n}", [entry for entry in entries if entry.epoch == n]) for n in numbers)
    return [part for part in parts if part]


def _tenths(entries: list[Entry]) -> list[Part]:
    count = min(10, len(entries))
    edges = [round(index * len(entries) / count) for index in range(count + 1)]
    names = [f"{100 * i // count}-{100 * (i + 1) // count} %" for i in range(count)]
    parts = (_part(name, entries[a:b]) for name, a, b in zip(names, edges, edges[1:], strict=False))
    return [part for part in parts if part]


# --- warnings ---------------------------------------------------------------------------------------------------------


def _nonfinite(log: TrainingLog) -> list[Warn]:
    bad = [entry for entry in log.entries if entry.nonfinite or entry.skipped]
    if not bad:
        return []
    share = 100 * len(bad) / len(log.entries)
    return [
        Warn(
            "nonfinite",
            f"{len(bad)} of {len(log.entries)} steps ({share:.2g} %) were not finite or were skipped, the first is "
            f"step {bad[0].step}; lower the learning rate, or train in bf16 instead of fp16.",
        )
    ]


def _warm_up(log: TrainingLog) -> list[Warn]:
    """Warn if the learning rate still rises at the end: the last rate is the highest, and the last tenth rose."""
    rates = [entry.rate for entry in log.entries if entry.rate is not None]
    if len(rates) < 3:
        return []
    last, before = rates[-1], rates[-1 - max(1, len(rates) // 10)]
    rising = last >= max(rates) and last > 1.01 * before
    if not rising:
        return []
    aim = f", {100 * last / log.peak_rate:.0f} % of the configured {log.peak_rate:g}" if log.peak_rate else ""
    return [
        Warn(
            "warm-up",
            f"The run never left its warm-up: the learning rate was still rising at the last step, {last:.3g}{aim}; "
            "shorten the warm-up, and check that the schedule counts optimizer steps, not batches.",
        )
    ]


def _at_baseline(tenths: list[Part], level: float, assumed: bool) -> list[Warn]:
    end = tenths[-1]
    room = max(0.05 * level, SIGNIFICANT * (end.error or 0) * (0 if assumed else 1))
    if end.mean < level - room or (assumed and end.mean > level + room):
        return []
    source = (
        " (taken as 1, the squared error against a unit-variance target; --baseline sets another)" if assumed else ""
    )
    return [
        Warn(
            "baseline",
            f"The loss ends at {end.mean:.3g}, the level of predicting nothing, {level:.3g}{source}: nothing was "
            "learned that lowers it; check that the loss and the model use the same prediction type.",
        )
    ]


def _paired(entries: list[Entry]) -> list[Warn]:
    """Compare the last tenth with the baseline batch by batch: the noise that both share cancels out."""
    known = [entry for entry in entries if entry.loss is not None and entry.baseline is not None]
    last = known[-max(2, len(known) // 10) :]
    gaps = np.array([entry.loss - entry.baseline for entry in last])
    if len(gaps) < 2:
        return []
    mean, error = float(gaps.mean()), float(gaps.std(ddof=1) / math.sqrt(len(gaps)))
    if mean < -SIGNIFICANT * error:
        return []
    return [
        Warn(
            "baseline",
            f"In the last {len(gaps)} steps the loss is {mean:+.3g} ± {error:.2g} beside predicting nothing on the "
            "same batches: nothing was learned that lowers it; check that the loss and the model speak of the same "
            "prediction type.",
        )
    ]


def _direction(tenths: list[Part]) -> list[Warn]:
    """Divergence if the end is clearly above the best tenth, plateau if the second half brought no improvement."""
    if len(tenths) < 5:
        return []
    end, best = tenths[-1], min(tenths, key=lambda part: part.mean)
    if end.mean > 1.1 * best.mean and _differ(end, best):
        return [
            Warn(
                "divergence",
                f"The loss rose again: {end.mean:.3g} in the last tenth after {best.mean:.3g} around step "
                f"{best.first}; take an earlier checkpoint or a lower learning rate.",
            )
        ]
    level = next(part for part in tenths if part.mean < 1.01 * end.mean or not _differ(part, end))
    if tenths.index(level) > len(tenths) // 2:
        return []
    return [
        Warn(
            "plateau",
            f"The loss has not fallen measurably since step {level.first}: {level.mean:.3g} there, {end.mean:.3g} at "
            "the end; later steps brought no improvement that this loss shows.",
        )
    ]


def _differ(one: Part, other: Part) -> bool:
    return abs(one.mean - other.mean) > SIGNIFICANT * math.hypot(one.error or 0, other.error or 0)


def _unfinished(log: TrainingLog) -> list[Warn]:
    last = log.entries[-1].step
    if log.steps is None or last >= 0.98 * log.steps:
        return []
    return [
        Warn("unfinished", f"The log ends at step {last} of {log.steps}; the run was interrupted or is still running.")
    ]
