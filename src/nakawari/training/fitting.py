"""Whether a run fits into memory, counted before anything is loaded, and settings with which it fits."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from ..errors import NakawariError
from ..memory import free, words
from ..processes import how_many
from ..variants import LARGE
from .counting import counted, largest
from .recipe import Recipe, load_recipe, parse_recipe

Changes = dict[str, Any]
CHOSEN = (
    "optim.accumulation",
    "optim.mixed_precision",
    "objective.gradient_checkpointing",
    "objective.base_dtype",
    "objective.offload",
)
"""Keys that a plan may set."""


def is_large(recipe: Recipe) -> bool:
    """Whether a run loads a large model, which is counted beforehand."""
    return largest(recipe) > LARGE


def fitting(recipe: Recipe, memory: int | None, fixed: Collection[str]) -> tuple[Recipe, Changes]:
    """The recipe with the fewest changes that fits, and the changes by dotted key.

    Args:
        memory: bytes; None = the free memory.
        fixed: dotted keys that are not changed.

    Raises:
        NakawariError: nothing fits.
    """
    device = place()
    budget = free(device) if memory is None else memory
    smallest = least = None
    for changes in alternatives(recipe, device, fixed):
        changed = with_changes(recipe, changes)
        need = counted(changed, device).peak(device)
        if need <= budget:
            return changed, changes
        if least is None or need < least:
            smallest, least = changes, need
    assert smallest is not None and least is not None
    raise NakawariError(
        f"{_work(recipe)} does not fit into {words(budget)} of memory: its smallest form{_said(smallest)} takes "
        f"{words(least)}; give a smaller --size, fewer --frames, a smaller --rank, or free memory."
    )


def check_fits(recipe: Recipe) -> None:
    """Raise `NakawariError` if a large run does not fit into the free memory, with settings that help."""
    if not is_large(recipe):
        return
    device = place()
    need, budget = counted(recipe, device).peak(device), free(device)
    if need <= budget:
        return
    _, changes = fitting(recipe, budget, ())
    smaller = counted(with_changes(recipe, changes), device).peak(device)
    raise NakawariError(
        f"{_work(recipe)} takes {words(need)} of memory, and {words(budget)} are free: with "
        f"{' '.join(f'--set {key}={_plain(value)}' for key, value in changes.items())} it takes {words(smaller)}."
    )


def alternatives(recipe: Recipe, device: str, fixed: Collection[str]) -> Iterator[Changes]:
    """The recipe's own settings, then each with one more memory saving, exact ones first."""
    objective = type(recipe.objective).model_fields
    half = {"objective.base_dtype": "bf16", "optim.mixed_precision": "bf16"}
    savings: list[Changes] = [
        {"optim.accumulation": max(1, recipe.optim.batch_size // how_many())},
        {"objective.gradient_checkpointing": True},
        half,
        {"objective.offload": True} if device == "cuda" else {},
    ]
    changes: Changes = {}
    yield changes
    for saving in savings:
        known = all(not key.startswith("objective.") or key.partition(".")[2] in objective for key in saving)
        if not (saving and known) or set(saving) & set(fixed):
            continue
        if with_changes(recipe, changes | saving) != with_changes(recipe, changes):
            changes = changes | saving
            yield changes


def with_changes(recipe: Recipe, changes: Changes) -> Recipe:
    """The recipe with other values at some dotted keys."""
    values = recipe.model_dump(mode="json")
    for key, value in changes.items():
        part, _, name = key.partition(".")
        values[part][name] = value
    return parse_recipe(values, "The run")


def describe(recipe: Recipe, changes: Changes) -> str:
    """The chosen settings and the resulting need as text."""
    chosen = ", ".join(f"{key}={_plain(value)}" for key, value in changes.items())
    device = place()
    return f"{f'chosen to fit: {chosen}; ' if chosen else ''}needs {words(counted(recipe, device).peak(device))}"


def chosen_before(recipe: Recipe, saved: Path) -> Recipe:
    """The recipe with the settings chosen by an earlier start of the same run."""
    before = load_recipe(saved).model_dump(mode="json")
    there = {key: before[key.partition(".")[0]].get(key.partition(".")[2]) for key in CHOSEN}
    known = type(recipe.objective).model_fields
    return with_changes(
        recipe,
        {key: value for key, value in there.items() if key.startswith("optim.") or key.partition(".")[2] in known},
    )


def place() -> str:
    """The device of training: cuda if available, otherwise cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _said(changes: Changes) -> str:
    return f" ({', '.join(f'{key}={_plain(value)}' for key, value in changes.items())})" if changes else ""


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _work(recipe: Recipe) -> str:
    height, width = recipe.data.size
    model = recipe.model
    name = model.base or (model.student.of if model.student is not None else "a new model")
    return (
        f"Training {name} on {recipe.optim.batch_size} clips of {max(recipe.data.frames)} frames of {width}x{height} "
        "a step"
    )
