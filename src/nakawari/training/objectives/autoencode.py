"""Objective `autoencode`: train the autoencoder to reconstruct frames, with noise on its latents as from a denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UsageError
from ...families.base import InterpolationPipeline
from ..guards import check
from ..recipe import Recipe
from .base import Batch, StepOutput, rand, randn
from .conditions import condition_of, drawn_by_nothing, inner
from .params import AutoencodeParams
from .pipeline_objective import HeldOut, PipelineObjective
from .pixels import PixelLoss


class Autoencode(PipelineObjective):
    """Trains the pipeline's `vae`; the encoder gets gradients through latents, reference features and base."""

    def __init__(self, params: AutoencodeParams, pipeline: InterpolationPipeline) -> None:
        super().__init__(pipeline)
        self.params = params
        self.networks["vae"].requires_grad_(True)
        self.pixel = PixelLoss(params.pixel)
        self.measured_std: float | None = None
        self._latents: list[Tensor] = []

    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        p, frames = self.params, batch["frames"]
        guided = rand(generators) >= p.guide_dropout
        condition = condition_of(self.pipeline, batch, guided.tolist())
        latents = self.pipeline.encode(frames, condition)
        drawn = self.pipeline.decode(check("latents", self._roughen(latents, generators)), condition)
        truth = inner(frames, p.inner_only)
        pixel = self.pixel(inner(check("frames", drawn), p.inner_only), truth)
        nothing = drawn_by_nothing(frames, condition).detach()
        with torch.no_grad():
            baseline = self.pixel(inner(nothing, p.inner_only), truth).mean()
        logs = {"baseline": baseline, "pixel": pixel.mean(), "latent_std": latents.float().std()}
        return StepOutput(pixel.mean(), logs, {"pixel": pixel.detach(), "guided": guided})

    def _roughen(self, latents: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        column = (len(latents), 1, 1, 1, 1)
        level = (self.params.latent_noise * rand(generators)).reshape(column).to(latents)
        noisy = latents + level * randn(generators, latents.shape[1:], latents)
        kept = (rand(generators) >= self.params.latent_dropout).reshape(column).to(latents)
        return noisy * kept

    @torch.no_grad()
    def validate(self, batches: Sequence[Batch]) -> dict[str, float]:
        self._latents = []
        found = super().validate(batches)
        self.measured_std = torch.cat(self._latents).std().item()
        return found | {"latent_std": self.measured_std}

    def scores(self, held_out: HeldOut) -> dict[str, Tensor]:
        latents = self.pipeline.encode(held_out.batch["frames"], held_out.condition)
        self._latents.append(inner(latents).double().flatten())
        return super().scores(held_out)

    def save(self, folder: Path) -> None:
        vae = self.networks["vae"]
        trained = vae.config.scaling_factor
        if self.params.latent_std is not None and self.measured_std:
            vae.register_to_config(scaling_factor=trained * self.params.latent_std / self.measured_std)
        super().save(folder)
        # The run itself continues with its original scale.
        vae.register_to_config(scaling_factor=trained)

    def draw(self, held_out: HeldOut) -> Tensor:
        latents = self.pipeline.encode(held_out.batch["frames"], held_out.condition)
        return self.pipeline.decode(latents, held_out.condition)


def build(params: AutoencodeParams, pipeline: InterpolationPipeline, recipe: Recipe) -> Autoencode:
    """The objective for a pipeline with a `vae`. Raises `UsageError` for one without a latent scale, such as mini's,
    a fixed linear map."""
    if "scaling_factor" not in pipeline.components["vae"].config:
        raise UsageError(
            f"The autoencoder of a {pipeline.family} is a fixed linear map; the objective autoencode is for models "
            "of the families tooncrafter and framer."
        )
    return Autoencode(params, pipeline)
