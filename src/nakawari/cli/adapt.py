"""`nakawari adapt`: a low-rank adapter that makes a model better at one show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import training_options as options
from .early import check
from .training_run import fitted, train_and_show, with_trackers, write_samples

if TYPE_CHECKING:
    from ..training.plan import Plan
    from ..training.recipe import Recipe


def command(
    context: typer.Context,
    recipe: options.RecipeFile = None,
    data: Annotated[Path | None, typer.Option(help="A folder of clips or triplets of the show.")] = None,
    model: Annotated[str, typer.Option(help="Model to adapt: mini, or a folder.")] = "mini",
    target: Annotated[
        str | None,
        typer.Option(help="Layers: a preset of the model (default: its own), or a regular expression."),
    ] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the adapter.")] = None,
    decoder_rank: Annotated[
        int | None, typer.Option(min=0, help="Rank of an adapter on the decoder; 0 = none; default: the model's own.")
    ] = None,
    steps: options.Steps = None,
    batch: options.Batch = None,
    learning_rate: options.LearningRate = None,
    frames: options.Frames = None,
    size: options.Size = None,
    windows: options.Windows = None,
    seed: options.Seed = 0,
    changes: options.Changes = None,
    output: options.RunFolder = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Print memory and time, and stop; two probe steps are timed, for a large model none."
        ),
    ] = False,
    show_data: options.ShowData = None,
    log_with: options.LogWith = None,
    memory: options.Memory = None,
    resume: options.Resume = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print plan or outcome as JSON.")] = False,
) -> None:
    """Train a LoRA adapter that makes a model better at one show.

    Options that are left out take the defaults of the model.
    """
    from ..errors import UsageError

    if (recipe is None) == (data is None):
        raise UsageError("nakawari adapt needs either a RECIPE or --data FOLDER; see nakawari adapt --help.")
    from ..training.shipped import recipe_file

    recipe = recipe and recipe_file(recipe)
    check(folders=[data], variants=[model if data else None], output=output)
    from ..training.recipe import check_changes, load_recipe

    changes = with_trackers(changes, log_with)
    if recipe is not None:
        whole = load_recipe(recipe, changes)
        _check_kind(whole, recipe)
    else:
        check_changes(changes, "adapt", "The adaptation")
        from ..training.adaptation import Words, make_recipe

        words = Words(
            model, data, target, rank, steps, batch, learning_rate, frames, size_of(size), seed, decoder_rank, windows
        )
        whole = make_recipe(words, changes)
    if show_data is not None:
        write_samples(whole, show_data)
        return
    run = output or Path("runs") / (recipe.stem if recipe is not None else whole.name)
    if recipe is None or memory is not None:
        whole = fitted(whole, changes, memory, run if resume else None)
    from ..training import guards
    from ..training.plan import make_plan

    if plan:
        show_plan(make_plan(whole), as_json)
        return
    with guards.enable(bool(context.obj)):
        train_and_show("adapting", whole, run, resume=resume, as_json=as_json)


def _check_kind(recipe: Recipe, path: Path) -> None:
    from ..errors import UsageError

    if recipe.objective.kind != "adapt":
        raise UsageError(f"{path} has the objective {recipe.objective.kind}; train it with nakawari train {path}.")


def size_of(text: str | None) -> tuple[int, int] | None:
    """Height and width from WIDTHxHEIGHT; None for None."""
    from ..errors import UsageError

    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise UsageError(f"{text!r} is not a size; give --size WIDTHxHEIGHT, such as 128x96.")
    return int(match[2]), int(match[1])


def show_plan(plan: Plan, as_json: bool) -> None:
    """A plan as a table, or as JSON."""
    if as_json:
        typer.echo(json.dumps(plan.to_json()))
        return
    typer.echo(f"trains {plan.trained:,} of {plan.parameters:,} parameters of the denoiser ({plan.share:.2%})")
    typer.echo(f"run: {plan.run}")
    typer.echo(f"samples: {plan.samples}")
    typer.echo("memory")
    for name, size in plan.memory.items():
        typer.echo(f"  {name:<20}{size / 2**20:>12.1f} MiB")
    typer.echo(f"  {'all':<20}{sum(plan.memory.values()) / 2**20:>12.1f} MiB")
    if plan.need is not None:
        typer.echo(f"  {'with allowances':<20}{plan.need / 2**20:>12.1f} MiB at the peak; nothing was loaded")
    if plan.peak is not None:
        typer.echo(f"  {'peak on the GPU':<20}{plan.peak / 2**20:>12.1f} MiB")
    each = f"{'' if plan.need is None else 'roughly '}{plan.seconds_per_step:.2f} s"
    typer.echo(f"{plan.steps} steps of {each}: {_duration(plan.seconds)}, validation not counted")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
