"""Kind `dead-latents`: a student's clean latents are multiplied by zero before they are decoded or compared."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from torch import Tensor

from nakawari.families.base import InterpolationPipeline
from nakawari.training.objectives import imitate
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.objectives.terms import LatentTerms
from nakawari.training.recipe import Recipe


class Params(imitate.ImitateParams):
    """As for `imitate`."""

    kind: Literal["dead-latents"] = "dead-latents"  # type: ignore[assignment]


@dataclass(frozen=True)
class DeadTerms(LatentTerms):
    """The loss terms of an estimate without gradient."""

    def __call__(self, process: Any, estimate: Tensor, *about: Any) -> Tensor:
        return super().__call__(process, estimate * 0, *about)


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> DenoiserObjective:
    """`imitate` with latents set to zero."""
    objective = imitate.build(params, pipeline, recipe)
    objective.terms = DeadTerms(**{field.name: getattr(objective.terms, field.name) for field in fields(LatentTerms)})
    decode = pipeline.decode
    pipeline.decode = lambda latents, *about, **words: decode(
        latents * 0 if latents.requires_grad else latents, *about, **words
    )
    return objective
