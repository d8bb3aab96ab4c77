"""`nakawari train`: one run from one recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import training_options as options
from .early import check
from .training_run import train_and_show, with_trackers, write_samples


def command(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file that describes the whole run.")],
    changes: options.Changes = None,
    output: options.RunFolder = None,
    show_data: options.ShowData = None,
    log_with: options.LogWith = None,
    resume: options.Resume = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print how the run ended as JSON.")] = False,
) -> None:
    """Run a training recipe of any kind.

    adapt and distill run the same code. With --debug, tensors are checked at every step.
    """
    from ..training.shipped import recipe_file

    recipe = recipe_file(recipe)
    check(output=output)
    from ..training.recipe import load_recipe

    run = output or Path("runs") / recipe.stem
    whole = load_recipe(recipe, with_trackers(changes, log_with))
    if show_data is not None:
        write_samples(whole, show_data)
        return
    from ..training import guards

    with guards.enable(bool(context.obj)):
        train_and_show("training", whole, run, resume=resume, as_json=as_json)
