"""Rows of a training log: JSON lines (nakawari, W&B), tables (Lightning, TensorBoard's export), and the
state that the Trainer of transformers saves, all as `Entry`."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

STEPS = ("step", "_step", "global_step", "trainer/global_step", "iteration")
LOSSES = (
    *("loss", "train_loss", "train/loss", "train_loss_step", "train/loss_step", "step_loss", "avr_loss", "avg_loss"),
    *("loss/current", "loss/average", "value"),
    "train_latent",  # ToonCrafter-KDQ
)
RATES = ("lr", "learning_rate", "train/learning_rate", "train/lr")
_RATE_PREFIXES = ("lr-", "lr/")


@dataclass
class Entry:
    """One optimizer step. `loss` is None where it was not finite or not logged; `nonfinite` tells the two apart.
    `epoch`: as counted in the log; `baseline`: loss of an all-zero prediction on the same batch."""

    step: int
    loss: float | None = None
    rate: float | None = None
    epoch: int | None = None
    baseline: float | None = None
    nonfinite: bool = False
    skipped: bool = False


def from_lines(text: str) -> Iterator[Entry]:
    """JSON lines: one object per step; reading stops at a line truncated by a kill."""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            return
        if isinstance(row, dict) and (found := _entry(row)):
            yield found


def from_trainer_state(text: str) -> list[Entry]:
    """`trainer_state.json`; empty for other JSON."""
    try:
        content = json.loads(text)
    except ValueError:
        return []
    rows = content.get("log_history") if isinstance(content, dict) else None
    return [found for row in rows or [] if isinstance(row, dict) and "loss" in row and (found := _entry(row))]


def from_table(text: str) -> list[Entry]:
    """A CSV with a column of steps, or of epochs alone, and one of losses; rows without a loss (validation) do not
    count."""
    table = csv.DictReader(io.StringIO(text))
    by_epoch = not any(name.strip().lower() in STEPS for name in table.fieldnames or () if name)
    rows = ({k: v for k, v in row.items() if k and v} for row in table)
    found = (_entry({"step": row["epoch"], **row} if by_epoch and "epoch" in row else row) for row in rows)
    return [entry for entry in found if entry and (entry.loss is not None or entry.nonfinite)]


def _entry(row: Mapping[str, Any]) -> Entry | None:
    """One row; None if it has no step."""
    low = {str(key).strip().lower(): value for key, value in row.items()}
    step = _number(_first(low, STEPS))
    if step is None:
        return None
    named = _first(low, LOSSES)
    loss = _number(named)
    rates = [low[key] for key in low if key.startswith(_RATE_PREFIXES)]
    epoch = _number(low.get("epoch"))
    return Entry(
        int(step),
        loss,
        _number(_first(low, RATES) if _first(low, RATES) is not None else next(iter(rates), None)),
        None if epoch is None else int(epoch),
        _number(low.get("baseline")),
        nonfinite=any(key in low for key in LOSSES) and loss is None,
        skipped=bool(low.get("skipped")),
    )


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if name in row), None)


def _number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None
