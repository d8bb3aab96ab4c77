"""A run that is cut, and goes on as if it had not been."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nakawari.training.run import train_from_recipe


class Cut(Exception):
    pass


def log(run: Path) -> list[dict[str, Any]]:
    """The entries of a run's log, without what differs from run to run."""
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in entry.items() if k not in ("seconds", "samples_per_second")} for entry in entries]


def cut_and_uncut(recipe: Path, folder: Path, step: int) -> tuple[Path, Path]:
    """Two folders of one run: one that was cut at a step and resumed, one that was not. Their logs are the same."""

    def cut(progress: Any) -> None:
        if progress.step == step:
            raise Cut

    uncut, resumed = folder / "uncut", folder / "cut"
    train_from_recipe(recipe, uncut)
    with pytest.raises(Cut):
        train_from_recipe(recipe, resumed, progress=cut)
    train_from_recipe(recipe, resumed, resume="auto")
    assert log(resumed) == log(uncut)
    return resumed, uncut
