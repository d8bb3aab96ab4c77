"""A distillation recipe from the command's options; roles of teacher and student; importance of layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from .. import variants
from ..errors import UsageError
from ..families.base import default
from ..resources.empty import empty_pipeline
from .adaptation import crops_of, optim_of
from .data_sources import training_samples
from .defaults import defaults_of
from .objectives.base import collate, sample_generator
from .objectives.denoiser import DenoiserObjective
from .objectives.imitate import denoiser_imitates
from .objectives.params import ImitateParams
from .objectives.params_parts import TeacherParams
from .recipe import Recipe, parse_recipe
from .recipe_yaml import apply_overrides
from .run import build_objective, guide_of
from .students import Copied, importance, make_student, removable
from .teacher import Teacher

KINDS = ("imitate", "few_step")
"""The objectives with a teacher."""


@dataclass(frozen=True)
class Words:
    """The options of the command; `size` is (height, width); `frames` and `windows` as in
    `adaptation.Words`.

    Args:
        width: the student's channels relative to the teacher's.
        remove: number of residual layers to remove, least important first.
    """

    teacher: str
    data: Path
    regime: Literal["drawings", "answers"]
    width: float
    remove: int
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    frames: int | None = None
    size: tuple[int, int] | None = None
    seed: int = 0
    windows: int | None = None


def make_recipe(words: Words, changes: list[str]) -> Recipe:
    """A recipe for a student of `words.teacher`; `changes` are `key=value` overrides.

    `words.remove` is not in it yet: see `without_least_important`.
    """
    spec, chosen = variants.parse(words.teacher), defaults_of(words.teacher)
    origin = "+".join([spec.base, *(f"{use.folder}@{use.scale:g}" for use in spec.adapters)])
    steps, batch = default(words.steps, chosen.student_steps), default(words.batch_size, 2 * chosen.batch)
    every = max(1, steps // 5)
    data, can_validate = crops_of(words, chosen, default(words.windows, chosen.windows[1]))
    # Crops of windows hardly ever repeat, and their guides, the expensive part of a drawing, are precomputed.
    drawings: dict[str, Any] = {}
    if words.regime == "drawings" and "windows" in data:
        drawings = {"cache": None}
    elif words.regime == "drawings":
        # A drawing costs twenty steps of the teacher, so it should be reused.
        data["distinct"] = 64 * batch
    values: dict[str, Any] = {
        "name": f"{words.data.name or 'all'}-student",
        "seed": words.seed,
        "model": {"student": {"of": origin, "width": words.width}},
        "objective": {
            "kind": "imitate",
            "teacher": words.teacher,
            "regime": words.regime,
            "sampling": {"steps": 1} if not chosen.large else dict(chosen.sampling),
        }
        | drawings,
        "data": data,
        "optim": optim_of(steps, batch, default(words.learning_rate, chosen.student_rate)) | {"ema": 0.99},
        "validation": {"every": every, "samples": chosen.validated if can_validate else 0},
        "checkpoint": {"every": every},
        "log": {"samples_every": steps},
        "workers": 1,
    }
    apply_overrides(values, changes)
    return parse_recipe(values, "The distillation")


@dataclass(frozen=True)
class Roles:
    """Teacher and student: names, parameters of the denoisers, initialisation of the student (None = it is a
    variant)."""

    teacher: str
    teacher_parameters: int
    student: str
    student_parameters: int
    copied: Copied | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def roles(recipe: Recipe) -> Roles:
    """The roles in a recipe of one of `KINDS`; no weight is loaded."""
    if not isinstance(recipe.objective, TeacherParams):
        raise UsageError(
            f"The objective {recipe.objective.kind} has no teacher; distill trains {' and '.join(KINDS)}, "
            "nakawari train any other."
        )
    teacher = _size(empty_pipeline(recipe.objective.teacher, "cpu").denoiser)
    model = recipe.model
    if model.student is None:
        own = empty_pipeline(model.base, "cpu").denoiser if model.base is not None else None
        student = teacher if own is None else _size(own)
        return Roles(recipe.objective.teacher, teacher, model.base or "a new model", student, None)
    whole = empty_pipeline(model.student.of, "cpu", {"default": torch.float32})
    _, copied = make_student(model.student, whole)
    return Roles(recipe.objective.teacher, teacher, f"a part of {model.student.of}", copied.parameters, copied)


def _size(denoiser: torch.nn.Module) -> int:
    return sum(value.numel() for value in denoiser.parameters())


def importances(recipe: Recipe, count: int) -> dict[str, float]:
    """Removable layer of the student's origin -> the loss of its predictions without the layer against those with it,
    on the recipe's first batch; least important first. Raises `UsageError` if there are fewer than `count`."""
    if recipe.model.student is None:
        raise UsageError("Layers can be removed only from a student; give model.student in the recipe.")
    origin = recipe.model.student.of
    pipeline = variants.load(origin, formats={"default": torch.float32}).pipeline
    _check_count(count, len(removable(pipeline.denoiser)))
    params = ImitateParams(
        teacher=origin,
        regime="answers",
        pixel=None,
        cache=getattr(recipe.objective, "cache", ImitateParams.model_fields["cache"].default),
    )
    objective = denoiser_imitates(params, pipeline, Teacher.load(params)).eval()
    samples = training_samples(recipe, guide_of(objective))
    batch = collate([{**samples.sample(index), "index": index} for index in range(recipe.optim.batch_size)])

    def loss() -> float:
        return objective(batch, [sample_generator(recipe.seed, index) for index in batch["index"]]).loss.item()

    return importance(pipeline.denoiser, loss)


def without_least_important(recipe: Recipe, count: int, found: dict[str, float]) -> Recipe:
    """The recipe with the `count` least important layers removed from the student."""
    _check_count(count, len(found))
    values = recipe.model_dump(mode="json")
    student = values["model"]["student"]
    student["remove"] = sorted({*student["remove"], *list(found)[:count]})
    return parse_recipe(values, "The distillation")


def _check_count(count: int, there: int) -> None:
    if count > there:
        raise UsageError(f"Only {there} layers can be removed, not {count}; give --remove a smaller number.")


def prepare(recipe: Recipe, progress: Callable[[int, int], None] | None = None) -> int:
    """Write every drawing of the teacher that a run needs into the cache; existing ones are not drawn again.

    Args:
        progress: called with samples done and total samples.

    Returns: the number of new drawings.
    """
    objective = build_objective(recipe)
    if not isinstance(objective, DenoiserObjective) or objective.target.drawings is None:
        raise UsageError("--prepare is for the regime drawings; leave it out.")
    samples, size = training_samples(recipe, guide_of(objective)), recipe.optim.batch_size
    count = recipe.optim.steps * size
    count = min(count, recipe.data.distinct) if recipe.data.distinct else count
    for index in range(count):
        batch = collate([{**samples.sample(index), "index": index}])
        objective.prepare(batch, [sample_generator(recipe.seed, index)])
        if progress is not None:
            progress(index + 1, count)
    return objective.target.drawings.misses
