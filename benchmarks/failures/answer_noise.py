"""Kind `answer-noise`: the denoiser's raw output is compared with the noise, whatever the process's prediction type.

The frames of the pixel term are decoded without gradient, so that the term is logged but has no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from nakawari.families.base import InterpolationPipeline
from nakawari.training.objectives import adapt
from nakawari.training.objectives.base import Batch, StepOutput
from nakawari.training.objectives.conditions import inner
from nakawari.training.objectives.decoded import DecodedTerm
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.objectives.targets import marked
from nakawari.training.recipe import Recipe


class Params(adapt.AdaptParams):
    """As for `adapt`."""

    kind: Literal["answer-noise"] = "answer-noise"  # type: ignore[assignment]


class NoiseAnswer(DenoiserObjective):
    """`adapt` with only the loss mean |output - noise|."""

    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        batch = marked(batch, self.target, lambda: torch.empty(0))
        step = self.noised(batch, generators)
        output = self.pipeline.denoise(step.noisy, step.t, step.condition)
        loss = inner((output - step.noise).abs(), self.params.inner_only).flatten(1).mean(1)
        # An output of zero scores the mean of |noise|.
        logs = {"baseline": inner(step.noise.abs(), self.params.inner_only).mean()}
        estimate = self.pipeline.process.x0(output.detach(), step.noisy, step.t)
        logs |= {"spread": estimate.std() / step.x0.std().clamp(min=1e-8), "x0_std": step.x0.std()}
        if self.pixel is not None:
            with torch.no_grad():
                term = DecodedTerm(self.pipeline, self.pixel, self.params.pixel)
                pixel, nothing = term(estimate, step.x0, step, batch, generators)
            logs |= {"pixel": pixel.mean(), "pixel_baseline": nothing.mean()}
        return StepOutput(loss.mean(), logs, {"t": step.t, "loss": loss.detach(), "guided": step.guided})


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> NoiseAnswer:
    """Train an adapter with it."""
    objective = adapt.build(params, pipeline, recipe)
    objective.__class__ = NoiseAnswer
    return objective
