"""`nakawari distill`: a student that is smaller than its teacher, or needs fewer steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import training_options as options
from .adapt import show_plan, size_of
from .early import check
from .progress import Bar
from .training_run import fitted, train_and_show, with_trackers, write_samples

if TYPE_CHECKING:
    from ..training.distillation import Roles
    from ..training.recipe import Recipe

REGIMES = {"a": "drawings", "b": "answers", "drawings": "drawings", "answers": "answers"}


def command(
    context: typer.Context,
    recipe: options.RecipeFile = None,
    data: Annotated[Path | None, typer.Option(help="A folder of clips or triplets to train on.")] = None,
    teacher: Annotated[str, typer.Option(help="The teacher: a variant, such as mini or mini+runs/show@0.7.")] = "mini",
    regime: Annotated[
        str, typer.Option(help="Target: the teacher's drawings (a), or its predictions on the same noisy latents (b).")
    ] = "drawings",
    width: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1, help="The student's channels relative to the teacher's; default 0.5, 1 with --remove."
        ),
    ] = None,
    remove: Annotated[int, typer.Option(min=0, help="Number of layers to remove, least important first.")] = 0,
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
            "--plan",
            help="Print roles, memory and time, and stop; two probe steps are timed, for a large model none.",
        ),
    ] = False,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Make the teacher's drawings, which the run then reuses, and stop.")
    ] = False,
    show_data: options.ShowData = None,
    log_with: options.LogWith = None,
    memory: options.Memory = None,
    resume: options.Resume = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print roles, plan and outcome as JSON, one per line.")
    ] = False,
) -> None:
    """Train a student that is smaller than its teacher."""
    from ..errors import UsageError

    if (recipe is None) == (data is None):
        raise UsageError("nakawari distill needs either a RECIPE or --data FOLDER; see nakawari distill --help.")
    from ..training.shipped import recipe_file

    recipe = recipe and recipe_file(recipe)
    check(folders=[data], variants=[teacher if data else None], output=output)
    from ..training.recipe import check_changes, load_recipe

    changes = with_trackers(changes, log_with)
    if recipe is not None:
        whole = load_recipe(recipe, changes)
    else:
        if regime not in REGIMES:
            raise UsageError(f"{regime!r} is not a regime; --regime takes drawings (or a) and answers (or b).")
        if width is None:
            width = 1.0 if remove else 0.5
        check_changes(changes, "imitate", "The distillation")
        from ..training.distillation import Words, make_recipe

        kind = REGIMES[regime]
        crop = size_of(size)
        words = Words(teacher, data, kind, width, remove, steps, batch, learning_rate, frames, crop, seed, windows)
        whole = make_recipe(words, changes)
    if show_data is not None:
        write_samples(whole, show_data)
        return
    run = output or Path("runs") / (recipe.stem if recipe is not None else whole.name)
    from ..training import guards
    from ..training.distillation import roles
    from ..training.plan import make_plan

    if remove:
        whole = _leave_out(whole, remove, run if resume else None, as_json)
    if recipe is None or memory is not None:
        whole = fitted(whole, changes, memory, run if resume else None)
    _show_roles(roles(whole), as_json)
    if plan:
        show_plan(make_plan(whole), as_json)
        return
    if prepare:
        _prepare(whole)
        return
    with guards.enable(bool(context.obj)):
        train_and_show("distilling", whole, run, resume=resume, as_json=as_json)


def _leave_out(recipe: Recipe, count: int, resumed: Path | None, as_json: bool) -> Recipe:
    """Measure and print the importance of each layer, and remove the least important; a resumed run has chosen
    already."""
    from ..training.distillation import importances, without_least_important
    from ..training.recipe import load_recipe

    if resumed is not None and (resumed / "recipe.yaml").exists():
        return load_recipe(resumed / "recipe.yaml")
    found = importances(recipe, count)
    smaller = without_least_important(recipe, count, found)
    if as_json:
        typer.echo(json.dumps({"importance": found}))
        return smaller
    typer.echo("loss without each layer, least important first")
    for name, value in found.items():
        mark = "  left out" if name in smaller.model.student.remove else ""
        typer.echo(f"  {name:<24}{value:>12.4g}{mark}")
    return smaller


def _show_roles(found: Roles, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.to_json()))
        return
    share = found.student_parameters / found.teacher_parameters
    typer.echo(f"teacher  {found.teacher}: denoiser of {found.teacher_parameters:,} parameters, frozen, not saved")
    typer.echo(f"student  {found.student}: denoiser of {found.student_parameters:,} parameters ({share:.1%})")
    if found.copied is not None:
        copied = found.copied
        typer.echo(
            f"copied   {copied.copied:,} parameters; {copied.whole} tensors whole, {copied.sliced} in part, "
            f"{copied.fresh} initialised randomly"
        )
        if copied.removed:
            typer.echo(f"removed {', '.join(copied.removed)}")


def _prepare(recipe: Recipe) -> None:
    from ..training.distillation import prepare

    with Bar("drawing", "sample") as bar:
        drawn = prepare(recipe, bar.show)
    typer.echo(f"{drawn} drawings made; the others existed")
