"""The training objectives. An objective is a module with a `build` function; its recipe keys are in `params`.

The registry holds only names: an objective is imported when a recipe is run.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from pydantic import BaseModel, ConfigDict

OBJECTIVES: dict[str, str] = {
    "adapt": "nakawari.training.objectives.adapt",
    "autoencode": "nakawari.training.objectives.autoencode",
    "denoise": "nakawari.training.objectives.denoise",
    "few_step": "nakawari.training.objectives.few_step",
    "imitate": "nakawari.training.objectives.imitate",
    "repair": "nakawari.training.objectives.repair",
}
"""Value of `objective.kind` in a recipe -> module with `build(params, pipeline, recipe)`; others have `Params` too."""


class RecipePart(BaseModel):
    """A part of a recipe; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ObjectiveParams(RecipePart):
    """Base of every objective's parameters; `kind` says which objective."""

    kind: str


def module_of(kind: str) -> ModuleType:
    """The module of an objective; KeyError for an unknown kind."""
    return import_module(OBJECTIVES[kind])


def params_class(kind: str) -> type[ObjectiveParams]:
    """The parameters that recipes of this kind may set; KeyError for an unknown kind."""
    from .params import PARAMS

    return PARAMS[kind] if kind in PARAMS else module_of(kind).Params
