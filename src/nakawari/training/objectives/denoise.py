"""Objective `denoise`: the denoiser learns the data, with a loss written in x0 through the family's process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ...diffusion import Weighting
from ...families.base import Condition, InterpolationPipeline
from ..guards import check
from ..recipe import Recipe
from . import ObjectiveParams, RecipePart
from .base import Batch, StepOutput, rand, randn, sample_generator
from .conditions import condition_of, drawn_by_nothing, exchange, inner, keys_of, pick, some_frames
from .pipeline_objective import PipelineObjective
from .pixels import PixelLoss, PixelParams

Weights = dict[Weighting, float]


class PixelTerm(PixelParams):
    """A loss on decoded frames: `weight` times the pixel loss, on `frames` random frames of each clip."""

    weight: float = Field(gt=0)
    frames: int = Field(2, ge=1)


class Sampling(RecipePart):
    """How validation draws: steps, guidance scale (1 = none), eta."""

    steps: int = Field(8, ge=1)
    guidance: float = 1.0
    eta: float = Field(0.0, ge=0)


class Params(ObjectiveParams):
    """Args:
    weighting: the factor on the squared error of x0, one of native, x0, noise, min-snr, or a weighted sum of them.
    inner_only: leave the two key frames out of the loss.
    pixel: a loss on decoded frames, with gradient through the decoder; None = none.
    guide_dropout: share of samples without motion guidance.
    text_dropout, image_dropout: shares of samples without text, and without text and image.
    train_decoder: the autoencoder's decoder learns too, from the pixel term.
    sampling: how validation draws.
    """

    kind: Literal["denoise"] = "denoise"
    weighting: Weighting | Weights = "native"
    inner_only: bool = False
    pixel: PixelTerm | None = None
    guide_dropout: float = Field(0.0, ge=0, le=1)
    text_dropout: float = Field(0.0, ge=0, le=1)
    image_dropout: float = Field(0.0, ge=0, le=1)
    train_decoder: bool = False
    sampling: Sampling = Sampling()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.train_decoder and self.pixel is None:
            raise ValueError("train_decoder needs a pixel term to learn from")
        if self.text_dropout + self.image_dropout > 1:
            raise ValueError("text_dropout and image_dropout are shares of one whole, together at most 1")
        return self

    @property
    def weights(self) -> Weights:
        """The weighting as a sum."""
        return {self.weighting: 1.0} if isinstance(self.weighting, str) else self.weighting


class Denoise(PipelineObjective):
    """Trains the pipeline's denoiser over a frozen autoencoder."""

    def __init__(self, params: Params, pipeline: InterpolationPipeline) -> None:
        super().__init__(pipeline)
        self.params = params
        pipeline.denoiser.requires_grad_(True)
        if params.train_decoder:
            self.networks["vae"].decoder.requires_grad_(True)
        self.pixel = PixelLoss(params.pixel) if params.pixel else None

    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        process, frames = self.pipeline.process, batch["frames"]
        with torch.no_grad():
            guided = rand(generators) >= self.params.guide_dropout
            condition = condition_of(self.pipeline, batch, guided.tolist())
            x0 = check("x0", self.pipeline.encode(frames, condition).float())
            condition = self._drop(condition, generators)
        t = torch.cat([process.training_times(1, generator) for generator in generators]).to(x0.device)
        noise = randn(generators, x0.shape[1:], x0)
        noisy = process.add_noise(x0, noise, t)
        estimate = process.x0(check("output", self.pipeline.denoise(noisy, t, condition)), noisy, t)
        loss, baseline = self.latent_loss(estimate, x0, t), self.latent_loss(torch.zeros_like(x0), x0, t)
        spread = estimate.detach().std() / x0.std().clamp(min=1e-8)
        logs = {"latent": loss.mean(), "latent_baseline": baseline.mean(), "spread": spread, "x0_std": x0.std()}
        if self.pixel is not None:
            pixel, nothing = self._pixel_loss(estimate, frames, condition, generators)
            loss, baseline = loss + pixel, baseline + nothing
            logs |= {"pixel": pixel.mean(), "pixel_baseline": nothing.mean()}
        logs["baseline"] = baseline.mean()
        return StepOutput(loss.mean(), logs, {"t": t, "loss": loss.detach(), "guided": guided})

    def latent_loss(self, estimate: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The weighted squared error of x0, per sample (B,)."""
        error = inner(estimate - x0, self.params.inner_only).square().flatten(1).mean(1)
        process = self.pipeline.process
        return sum(share * process.loss_weight(t, name) for name, share in self.params.weights.items()) * error

    def _drop(self, condition: Condition, generators: Sequence[torch.Generator]) -> Condition:
        drawn, p = rand(generators), self.params
        if condition.tokens is None:
            return condition
        image = drawn < p.image_dropout
        text = (drawn >= p.image_dropout) & (drawn < p.image_dropout + p.text_dropout)
        without_text = self.pipeline.unconditional(condition, keep_image=True)
        return exchange(
            exchange(condition, without_text, text.tolist()), self.pipeline.unconditional(condition), image.tolist()
        )

    def _pixel_loss(
        self, estimate: Tensor, frames: Tensor, condition: Condition, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        """The weighted pixel term and what drawing nothing scores on it, each per sample (B,)."""
        params, count = self.params.pixel, frames.shape[1]
        first, last = (1, count - 1) if self.params.inner_only and count > 2 else (0, count)
        number = min(params.frames, last - first)
        # In order of time, as the decoder's temporal layers know frames.
        drawn = [torch.randperm(last - first, generator=g)[:number].sort().values + first for g in generators]
        chosen = torch.stack(drawn).to(frames.device)
        truth = pick(frames, chosen)
        pixels = self.pipeline.decode(pick(estimate, chosen), some_frames(condition, chosen))
        with torch.no_grad():
            nothing = self.pixel(pick(drawn_by_nothing(frames, condition), chosen), truth)
        return params.weight * self.pixel(pixels, truth), params.weight * nothing

    def draw(self, batch: Batch, guided: bool) -> Tensor:
        frames, how = batch["frames"], self.params.sampling
        words = {name: batch[name] for name in ("prompt", "fps") if batch.get(name) is not None}
        if not guided:
            words["guided"] = False
        drawn = self.pipeline(
            *keys_of(frames),
            num_frames=frames.shape[1],
            num_inference_steps=how.steps,
            guidance_scale=how.guidance,
            eta=how.eta,
            generator=[sample_generator(0, index) for index in batch["index"]],
            output_type="pt",
            **words,
        )
        return drawn.frames * 2 - 1


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> Denoise:
    """The objective for any family."""
    return Denoise(params, pipeline)
