"""Run a recipe: build model, data and objective, and train into a run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from .. import families, trained_on, variants
from ..errors import NakawariError, UsageError
from ..families.base import InterpolationPipeline
from ..memory import guarded
from ..precision import exact_products
from ..processes import join
from ..provenance import provenance
from . import checkpoints, sharding
from .batches import check_divides
from .data_files import DataFiles, Preparing, data_fingerprint, files_seen
from .data_sources import held_out_samples, training_samples
from .fitting import check_fits, place
from .loop import train
from .objectives import ObjectiveParams, module_of
from .objectives.adapt import base_formats
from .objectives.base import Objective
from .recipe import ModelParams, Recipe, changed_keys, load_recipe, write_recipe
from .run_state import Outcome, Progress
from .students import make_student

SMALLER_RUN = (
    "set optim.batch_size or data.size smaller, objective.gradient_checkpointing true, or objective.base_dtype to bf16 "
    "or int8 (--set KEY=VALUE), if the recipe has these keys"
)
Resume = bool | Literal["auto"]


def train_from_recipe(
    recipe_path: Path | str,
    output: Path | str,
    overrides: Sequence[str] = (),
    *,
    resume: Resume = False,
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Train a recipe into the run folder `output`.

    Args:
        overrides: `key=value` overrides of the recipe.
        resume: True resumes from the last complete checkpoint, which must exist; "auto" resumes if there is one and
            starts otherwise; False requires a folder without a run.
        progress: called after each step.

    Raises:
        UsageError: wrong recipe or override, a folder that holds a run already, another recipe than the run's.
        NakawariError: three non-finite steps in a row, a full disk, data or model that cannot be read.
    """
    return train_recipe(load_recipe(recipe_path, overrides), output, resume=resume, progress=progress)


def train_recipe(
    recipe: Recipe,
    output: Path | str,
    *,
    resume: Resume = False,
    progress: Callable[[Progress], None] | None = None,
    preparing: Preparing | None = None,
) -> Outcome:
    """As `train_from_recipe`, for a `Recipe`.

    Args:
        preparing: progress callback while data are prepared, (what, done, total).
    """
    recipe = sharding.as_launched(recipe)
    check_fits(recipe)
    with guarded("training", SMALLER_RUN, place()), exact_products():
        return _train(recipe, Path(output), resume, progress, preparing)


def _train(
    recipe: Recipe,
    run: Path,
    resume: Resume,
    progress: Callable[[Progress], None] | None,
    preparing: Preparing | None,
) -> Outcome:
    processes = join()
    check_divides(recipe.optim.batch_size, recipe.optim.accumulation, processes.num_processes)
    if processes.is_main_process:
        checkpoints.sweep(run)
    processes.wait_for_everyone()
    step = _resume_step(run, resume)
    fingerprint = data_fingerprint(recipe.data)
    if step is not None:
        _check_same(run, recipe, fingerprint)
    objective, files = build_objective(recipe), DataFiles(recipe.data, preparing)
    with processes.main_process_first():
        samples = training_samples(recipe, guide_of(objective), files)
    held_out = held_out_samples(recipe, files)
    # All processes must check the folder before one of them fills it.
    processes.wait_for_everyone()
    if processes.is_main_process:
        write_recipe(run / "recipe.yaml", recipe, provenance(fingerprint) | {"processes": processes.num_processes})
    seen = files_seen(recipe.data).union(*(trained_on.of_variant(name) for name in _origins(recipe)))
    return train(recipe, objective, samples, held_out, run, resume_step=step, progress=progress, seen=seen)


def _origins(recipe: Recipe) -> set[str]:
    """The base and the teacher of the trained model."""
    model = recipe.model
    names = [model.base, model.student and model.student.of, getattr(recipe.objective, "teacher", None)]
    return {name for name in names if name is not None}


def build_objective(recipe: Recipe) -> Objective:
    """Build the model and the objective of a recipe; new weights depend only on its seed."""
    torch.manual_seed(recipe.seed)
    return module_of(recipe.objective.kind).build(recipe.objective, _model(recipe.model, recipe.objective), recipe)


def guide_of(objective: Objective) -> nn.Module | None:
    """The motion guide of an objective's model, if it has one."""
    return getattr(getattr(objective, "pipeline", None), "guide", None)


def _model(params: ModelParams, objective: ObjectiveParams) -> InterpolationPipeline:
    if params.student is not None:
        pipeline, _ = make_student(params.student)
    elif params.new is not None:
        pipeline = families.build(params.new)
    else:
        name, formats = base_formats(params.base, getattr(objective, "base_dtype", "fp32"))
        pipeline = variants.load(name, formats=formats).pipeline
    pipeline.set_progress_bar_config(disable=True)
    _check_finite(pipeline)
    return pipeline


def _check_finite(pipeline: InterpolationPipeline) -> None:
    """Raise `NakawariError` if the initial weights are not finite."""
    for name, parameter in pipeline.denoiser.named_parameters():
        if not torch.isfinite(parameter).all():
            raise NakawariError(
                f"The model's {name} holds values that are not finite, so it cannot be trained; "
                "convert or train the model again."
            )


def _resume_step(run: Path, resume: Resume) -> int | None:
    steps = checkpoints.saved_steps(run)
    if resume is False:
        if steps or (run / "log.jsonl").exists():
            raise UsageError(f"{run} already holds a run; resume it, or give another output folder.")
        if (run / "best").exists() and not (run / "recipe.yaml").exists():  # a model that was put there by hand
            raise UsageError(f"{run / 'best'} exists already and would be replaced; give another output folder.")
        return None
    if not steps and resume is True:
        raise NakawariError(f"{run} has no complete checkpoint to resume from; start the run without resuming.")
    return steps[-1] if steps else None


def _check_same(run: Path, recipe: Recipe, fingerprint: str) -> None:
    if not (run / "recipe.yaml").exists():
        return
    before = load_recipe(run / "recipe.yaml")
    if changed := changed_keys(before, recipe):
        raise UsageError(
            f"The recipe differs from that of the run in {run} in {', '.join(changed)}; "
            "resume with the run's own values, or give another output folder."
        )
    if (before.provenance or {}).get("data") != fingerprint:
        raise NakawariError(
            f"The training data differ from those of the run in {run}; restore them, or start a new run."
        )
