"""What the reference trainer minimised, kept to show what it does: never train with it to get a model.

The raw output of the denoiser is held against the noise, whatever the family's process wants it to mean, and the frames
of the pixel term are decoded without gradient, so that the term is measured and teaches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..guards import check
from .base import Batch, StepOutput
from .conditions import inner
from .denoising import Denoising


def noise_answer(objective: Denoising, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
    """A step of `objective` with the loss mean |output - noise| in place of all others."""
    step, pipeline, inner_only = objective.noised(batch, generators), objective.pipeline, objective.params.inner_only
    output = check("output", pipeline.denoise(step.noisy, step.t, step.condition))
    loss = inner((output - step.noise).abs(), inner_only).flatten(1).mean(1)
    # An output of zero scores the mean of |noise|.
    logs = {"baseline": inner(step.noise.abs(), inner_only).mean()}
    estimate = pipeline.process.x0(output.detach(), step.noisy, step.t)
    logs |= {"spread": estimate.std() / step.x0.std().clamp(min=1e-8), "x0_std": step.x0.std()}
    if objective.pixel is not None:
        with torch.no_grad():
            pixel, nothing = objective._pixel_loss(estimate, step.x0, batch, step.condition, generators)
        logs |= {"pixel": pixel.mean(), "pixel_baseline": nothing.mean()}
    return StepOutput(loss.mean(), logs, {"t": step.t, "loss": loss.detach(), "guided": step.guided})
