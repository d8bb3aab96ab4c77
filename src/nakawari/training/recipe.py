"""A recipe: the definition of one training run as a YAML file.

Unknown keys, wrong types and values out of range raise `UsageError` that names the key and the allowed values.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, Field, SerializeAsAny, ValidationError, model_validator

from ..errors import UsageError
from ..files import write_text
from .data_params import Count, DataParams, Positive
from .objectives import OBJECTIVES, ObjectiveParams, RecipePart, params_class
from .recipe_yaml import apply_overrides, read_yaml
from .schedule import Schedule

Share = Annotated[float, Field(ge=0, lt=1)]
Model = TypeVar("Model", bound=BaseModel)


class StudentParams(RecipePart):
    """A model like `of` with a smaller denoiser; the rest is shared.

    Args:
        of: the variant to shrink.
        width: its channels relative to those of `of`; ToonCrafter and mini.
        denoiser: other changed entries of the denoiser's configuration, such as `channel_mult`.
        remove: names of residual layers to remove.
        init: initialise from the weights of `of`, or randomly.
    """

    of: str
    width: float = Field(1.0, gt=0, le=1)
    denoiser: dict[str, Any] = Field(default_factory=dict)
    remove: tuple[str, ...] = ()
    init: Literal["teacher", "random"] = "teacher"


class ModelParams(RecipePart):
    """The initial model; exactly one of three.

    Args:
        base: a variant.
        new: a new model with random weights, from a family's configuration.
        student: a smaller model of a variant.
    """

    base: str | None = None
    new: dict[str, Any] | None = None
    student: StudentParams | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.base, self.new, self.student)) != 1:
            raise ValueError("give exactly one of base, new and student")
        return self


class OptimParams(RecipePart):
    """AdamW and its schedule.

    Args:
        lr: peak learning rate.
        betas: of AdamW.
        weight_decay: on matrices and kernels, not on biases, norms and gains.
        eps: of AdamW.
        schedule: decay of the learning rate after the warm-up.
        warmup_steps: steps in which the learning rate rises.
        floor: final learning rate as a share of the peak.
        steps: optimizer steps.
        batch_size: samples per optimizer step, over all processes.
        accumulation: gradient accumulation: passes per step, so that fewer samples are in memory at once.
        grad_clip: maximum gradient norm; None = no clipping.
        ema: decay of the averaged weights, which are validated and saved; 0 = none.
        mixed_precision: precision of the forward and backward passes.
    """

    lr: float = Field(gt=0)
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    eps: float = Field(1e-8, gt=0)
    schedule: Schedule = "constant"
    warmup_steps: Count = 0
    floor: float = Field(0.0, ge=0, le=1)
    steps: Positive
    batch_size: Positive
    accumulation: Positive = 1
    grad_clip: float | None = Field(1.0, gt=0)
    ema: Share = 0.0
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulation {self.accumulation}")
        return self


class ValidationParams(RecipePart):
    """Validation on held-out samples.

    Args:
        every: steps between two validations.
        samples: number of samples; 0 = no validation, and best/ holds the last weights.
        metric: the score that selects the best step.
        mode: whether a higher or a lower score is better.
        patience: stop after this many validations without improvement; None = never.
    """

    every: Positive = 500
    samples: Count = 0
    metric: str = "psnr"
    mode: Literal["max", "min"] = "max"
    patience: Positive | None = None


class CheckpointParams(RecipePart):
    """Checkpoints.

    Args:
        every: steps between two checkpoints.
        keep: number of most recent checkpoints to keep.
    """

    every: Positive = 500
    keep: Positive = 2


class LogParams(RecipePart):
    """Logging.

    Args:
        samples_every: steps between two pictures of validation samples; None = never.
        trackers: trackers that log every step and the pictures; their files go into the run's logs.
    """

    samples_every: Positive | None = None
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()


class Recipe(RecipePart):
    """One training run.

    Args:
        name: name of the run, and default name of its folder.
        seed: random seed of the run.
        model: the initial model.
        objective: the objective; its keys depend on its kind.
        data: the training data.
        workers: data loader processes; 0 = none.
        shard: each of several processes keeps a share of the denoiser, of its gradients and of the optimizer's state.
        optim: the optimizer and its schedule.
        validation: on held-out samples.
        checkpoint: interval and number of checkpoints.
        log: logging of samples and to trackers.
        provenance: written by the run, and ignored when the recipe is read again.
    """

    name: str
    seed: Count = 0
    model: ModelParams
    objective: SerializeAsAny[ObjectiveParams]
    data: DataParams
    workers: Count = 0
    shard: bool = False
    optim: OptimParams
    validation: ValidationParams = ValidationParams()
    checkpoint: CheckpointParams = CheckpointParams()
    log: LogParams = LogParams()
    provenance: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        if self.data.distinct % self.optim.batch_size:
            raise ValueError(
                f"data.distinct {self.data.distinct} is not a multiple of optim.batch_size {self.optim.batch_size}"
            )
        return self


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides such as `optim.lr=1e-4`. Raises `UsageError`."""
    path = Path(path)
    values = read_yaml(path)
    apply_overrides(values, overrides)
    return parse_recipe(values, f"The recipe {path}")


def check_changes(changes: Sequence[str], kind: str, what: str) -> None:
    """Check that overrides name keys of this kind of recipe, before there is a recipe to apply them to.

    Raises:
        UsageError: for the first unknown key, with `what` as the subject of the sentence.
    """
    values: dict[str, Any] = {"objective": {"kind": kind}}
    apply_overrides(values, changes)
    for model, part, prefix in ((params_class(kind), values.pop("objective"), ("objective",)), (Recipe, values, ())):
        try:
            model.model_validate(part)
        except ValidationError as error:
            unknown = [one for one in error.errors() if one["type"] == "extra_forbidden"]
            if unknown:
                raise UsageError(f"{what} {_sentence(model, unknown[0], prefix)}") from error


def parse_recipe(values: dict[str, Any], what: str = "The recipe") -> Recipe:
    """A recipe from nested plain values. Raises `UsageError` with `what` as the subject of the sentence."""
    values = dict(values)
    objective = values.get("objective")
    if isinstance(objective, dict):
        values["objective"] = _parse_objective(objective, what)
    return _validate(Recipe, values, (), what)


def _parse_objective(values: dict[str, Any], what: str) -> ObjectiveParams:
    if "kind" not in values:
        raise UsageError(f"{what} lacks the key 'objective.kind'; {_kinds()}.")
    try:
        model = params_class(values["kind"])
    except KeyError as error:
        raise UsageError(
            f"{what} has 'objective.kind' {values['kind']!r}, which does not exist; {_kinds()}."
        ) from error
    values = _without_retired(values)
    return _validate(model, values, ("objective",), what)


_RETIRED = {("ablation", None), ("kl", 0.0), ("true_latents", 0.0)}
"""Removed keys with their neutral values: recipes written by earlier runs contain every key."""


def _without_retired(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_retired(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if isinstance(value, (dict, list)) or (key, value) not in _RETIRED
    }


def _kinds() -> str:
    return f"allowed are {', '.join(sorted(OBJECTIVES))}"


def _validate(model: type[Model], values: dict[str, Any], prefix: tuple[str, ...], what: str) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # Unknown keys first: a misspelt key also makes the correct one missing.
        errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        raise UsageError(f"{what} {_sentence(model, errors[0], prefix)}") from error


def _sentence(model: type[BaseModel], error: Any, prefix: tuple[str, ...]) -> str:
    location = _without_tags(model, error["loc"])
    key = ".".join(str(part) for part in (*prefix, *location)) or "recipe"
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = _keys_beside(model, error["loc"])
        near = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        return f"has the unknown key '{key}'{hint}; allowed there: {', '.join(allowed)}."
    if kind == "missing":
        return f"lacks the key '{key}'; add it."
    if kind == "union_tag_not_found":
        return f"lacks the key '{key}.kind'; add it."
    if kind == "union_tag_invalid":
        return f"has '{key}.kind' '{context['tag']}'; allowed are {context['expected_tags']}."
    if kind == "literal_error":
        return f"has '{key}' {error['input']!r}; allowed are {context['expected']}."
    message = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], dict):
        return f"is wrong at '{key}': {message[0].lower()}{message[1:]}."
    return f"has '{key}' {error['input']!r}: {message[0].lower()}{message[1:]}."


def _walk(model: type[BaseModel], location: Sequence[int | str]) -> Iterator[tuple[int | str, type[BaseModel], bool]]:
    """Each part of pydantic's location, the model that contains it, and whether it is a union's tag instead of a
    key."""
    candidates = [model]
    for part in location:
        named = [c for c in candidates if part in c.model_fields]
        tagged = [
            c for c in candidates if "kind" in c.model_fields and c.model_fields["kind"].annotation == Literal[part]
        ]
        is_tag = len(candidates) > 1 and bool(tagged)
        yield part, (tagged if is_tag else named or candidates)[0], is_tag
        if is_tag:
            candidates = tagged
        elif named:
            candidates = list(_models_in(named[0].model_fields[str(part)].annotation)) or named[:1]


def _without_tags(model: type[BaseModel], location: Sequence[int | str]) -> tuple[int | str, ...]:
    return tuple(part for part, _, is_tag in _walk(model, location) if not is_tag)


def _keys_beside(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys allowed at the last part of `location`."""
    return list([owner for _, owner, _ in _walk(model, location)][-1].model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models_in(part)


def write_recipe(path: Path, recipe: Recipe, provenance: dict[str, Any]) -> None:
    """Write the resolved recipe, readable by `load_recipe`."""
    values = recipe.model_dump(mode="json") | {"provenance": provenance}
    write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


_MAY_CHANGE = ("name", "workers", "shard", "validation", "checkpoint", "log", "provenance")


def changed_keys(old: Recipe, new: Recipe) -> list[str]:
    """Dotted keys that differ and must not change when resuming; the length and the bookkeeping of a run may."""
    before, after = (_flat(recipe.model_dump(mode="json", exclude=set(_MAY_CHANGE))) for recipe in (old, new))
    return sorted(
        key for key in before.keys() | after.keys() if key != "optim.steps" and before.get(key) != after.get(key)
    )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    parts = (_flat(child, f"{prefix}.{key}" if prefix else str(key)) for key, child in value.items())
    return {key: leaf for part in parts for key, leaf in part.items()}
