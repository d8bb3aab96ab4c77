"""Shared code of the commands that train: progress bars, and a table at the end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .early import check_writable
from .progress import Bars

if TYPE_CHECKING:
    from ..training.recipe import Recipe
    from ..training.run_state import Progress


def fitted(recipe: Recipe, changes: Sequence[str], memory: str | None, resumed: Path | None) -> Recipe:
    """The recipe, for a large model fitted into `--memory` or the free memory; the chosen settings are printed.

    Args:
        changes: arguments of `--set`, which are kept.
        resumed: the folder of a resumed run, which has chosen already.

    Raises:
        NakawariError: nothing fits.
    """
    from ..resources.ways import parse_memory
    from ..training.fitting import chosen_before, describe, fitting, is_large

    budget = None if memory is None else parse_memory(memory)
    if not is_large(recipe):
        return recipe
    if resumed is not None and (resumed / "recipe.yaml").is_file():
        return chosen_before(recipe, resumed / "recipe.yaml")
    fixed = [word.partition("=")[0] for word in changes]
    found, chosen = fitting(recipe, budget, fixed)
    typer.echo(f"nakawari: {describe(found, chosen)}", err=True)
    return found


def with_trackers(changes: list[str] | None, trackers: list[str] | None) -> list[str]:
    """The arguments of `--set`, and those that `--log-with` implies."""
    return [*(changes or []), *([f"log.trackers=[{','.join(trackers)}]"] if trackers else [])]


def write_samples(recipe: Recipe, path: Path) -> None:
    """Write the sheet of `--show-data`, and print the augmentations."""
    from ..media import write_image
    from ..training.plan import described
    from ..training.showing import samples_sheet

    check_writable(path)
    write_image(path, samples_sheet(recipe))
    typer.echo(f"{path}: {described(recipe.data)}")


def train_and_show(what: str, recipe: Recipe, run: Path, *, resume: bool, as_json: bool) -> None:
    """Train `recipe` into the folder `run`, and print the outcome; an interrupted run exits with status 130."""
    from .. import memory
    from ..training.run import train_recipe

    with Bars("step") as bars:

        def show(progress: Progress) -> None:
            loss = progress.entry.get("loss")
            notes = [f"loss {loss:.4g}"] if isinstance(loss, float) else []
            rate = progress.entry.get("samples_per_second")
            notes += [f"{rate:.3g} clips/s", memory.words(memory.used())] if rate else []
            bars.show(what, progress.step, progress.steps, ", ".join(notes))

        outcome = train_recipe(recipe, run, resume=resume, progress=show, preparing=bars.show)
    if as_json:
        typer.echo(json.dumps({"run": str(run)} | dataclasses.asdict(outcome)))
    else:
        typer.echo(f"{outcome.status} at step {outcome.step}: {outcome.reason}")
        for name, value in outcome.best.items():
            typer.echo(f"  best {name:<20}{value:>12.5g}")
        if outcome.best.get("step") == 0:
            typer.echo(f"no step was better than the base on the held-out samples: {run}/best changes nothing")
        typer.echo(f"  {run}")
    if outcome.status == "interrupted":
        raise typer.Exit(130)
