"""What the commands that train have in common: a bar while it runs, a table when it is over."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .progress import Bar

if TYPE_CHECKING:
    from ..training.run_state import Outcome, Progress


def follow(what: str, run: Path, start: Callable[[Callable[[Progress], None]], Outcome], as_json: bool) -> None:
    """Call `start` with a function to call after each step, and print how the run in folder `run` ended."""
    with Bar(what, "step") as bar:

        def show(progress: Progress) -> None:
            loss = progress.entry.get("loss")
            bar.show(progress.step, progress.steps, f"loss {loss:.4g}" if isinstance(loss, float) else "")

        outcome = start(show)
    if as_json:
        typer.echo(json.dumps({"run": str(run)} | dataclasses.asdict(outcome)))
        return
    typer.echo(f"{outcome.status} at step {outcome.step}: {outcome.reason}")
    for name, value in outcome.best.items():
        typer.echo(f"  best {name:<20}{value:>12.5g}")
    typer.echo(f"  {run}")
