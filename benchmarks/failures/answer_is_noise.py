"""Kind `answer-is-noise`: a student's raw output is trained to predict noise, whatever the process's prediction
type."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nakawari.families.base import InterpolationPipeline
from nakawari.training.objectives import imitate
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.recipe import Recipe


class Params(imitate.ImitateParams):
    """As for `imitate`."""

    kind: Literal["answer-is-noise"] = "answer-is-noise"  # type: ignore[assignment]


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> DenoiserObjective:
    """`imitate` with the clean latents as target that a noise output implies."""
    objective = imitate.build(params, pipeline, recipe)
    process = pipeline.process
    objective.target = replace(objective.target, latents=lambda batch, step: process.x0(step.noise, step.noisy, step.t))
    return objective
