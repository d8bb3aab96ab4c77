"""`nakawari train`: one run from one recipe."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .progress import Bar

if TYPE_CHECKING:
    from ..training.run_state import Progress


def command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file that says the run, whole.")],
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one entry; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The run folder; default: runs/ and the recipe's name.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of the run folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print how the run ended as JSON.")] = False,
) -> None:
    """Any recipe; what adapt and distill call."""
    from ..training.run import train_from_recipe

    run = output or Path("runs") / recipe.stem
    with Bar("training", "step") as bar:

        def show(progress: Progress) -> None:
            loss = progress.entry.get("loss")
            bar.show(progress.step, progress.steps, f"loss {loss:.4g}" if isinstance(loss, float) else "")

        outcome = train_from_recipe(recipe, run, changes or [], resume=resume, progress=show)
    if as_json:
        typer.echo(json.dumps({"run": str(run)} | dataclasses.asdict(outcome)))
        return
    typer.echo(f"{outcome.status} at step {outcome.step}: {outcome.reason}")
    for name, value in outcome.best.items():
        typer.echo(f"  best {name:<20}{value:>12.5g}")
    typer.echo(f"  {run}")
