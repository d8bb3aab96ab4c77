"""Kind `answer-is-noise`: a student's raw answer is trained to be the noise, whatever the process takes it for."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nakawari.families.base import InterpolationPipeline
from nakawari.training.objectives import imitate
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.recipe import Recipe


class Params(imitate.ImitateParams):
    """As those of `imitate`."""

    kind: Literal["answer-is-noise"] = "answer-is-noise"  # type: ignore[assignment]


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> DenoiserObjective:
    """`imitate` with clean latents for a target that the noise as an answer stands for."""
    objective = imitate.build(params, pipeline, recipe)
    process = pipeline.process
    objective.target = replace(objective.target, latents=lambda batch, step: process.x0(step.noise, step.noisy, step.t))
    return objective
