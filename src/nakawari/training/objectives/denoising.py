"""What the objectives share that train a denoiser on noisy latents, with losses written in x0 and noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ...diffusion import Weighting
from ...families.base import Condition, InterpolationPipeline
from ...families.calling import settings_for
from ..guards import check
from . import ObjectiveParams, RecipePart
from .base import Batch, StepOutput, rand, randn, sample_generator
from .conditions import (
    condition_of,
    drawn_by_nothing,
    exchange,
    inner,
    keys_of,
    pick,
    some_frames,
    tracks_of,
    without_control,
    without_image,
)
from .pipeline_objective import PipelineObjective
from .pixels import PixelLoss, PixelParams

Weights = dict[Weighting, float]


class PixelTerm(PixelParams):
    """A loss on decoded frames: `weight` times the pixel loss, on `frames` random in-betweens of each clip.

    For the share `true_latents` of the samples the true latents are decoded: a decoder that learns here goes on
    reading what its encoder writes.
    """

    weight: float = Field(gt=0)
    frames: int = Field(2, ge=1)
    true_latents: float = Field(0.0, ge=0, lt=1)


class Sampling(RecipePart):
    """How validation draws: steps, guidance scale (1 = none), eta."""

    steps: int = Field(8, ge=1)
    guidance: float = 1.0
    eta: float = Field(0.0, ge=0)


class Noised(NamedTuple):
    """What the network is asked: x_t = `noisy`, made of `x0` and `noise` (B, F, C, h, w), at times `t` (B,); `guided`
    (B,), where the condition has motion guidance."""

    condition: Condition
    x0: Tensor
    noise: Tensor
    noisy: Tensor
    t: Tensor
    guided: Tensor


class DenoisingParams(ObjectiveParams):
    """Args:
    weighting: the factor on the squared error of x0, one of native, x0, noise, min-snr, or a weighted sum of them.
    inner_only: leave the two key frames out of the loss.
    pixel: a loss on decoded frames, with gradient through the decoder; None = none.
    last_time_share: share of samples at the noisiest time instead of a time drawn as the family trains: where few steps
        decide everything and the noise tells nothing.
    guide_dropout: share of samples without motion guidance.
    text_dropout, image_dropout: shares of samples without text, and without text and image.
    image_only_dropout: share of samples with text and without image.
    control_dropout: share of samples without their tracks, where they have some.
    sampling: how validation draws.
    """

    weighting: Weighting | Weights = "native"
    inner_only: bool = False
    pixel: PixelTerm | None = None
    last_time_share: float = Field(0.0, ge=0, le=1)
    guide_dropout: float = Field(0.0, ge=0, le=1)
    text_dropout: float = Field(0.0, ge=0, le=1)
    image_dropout: float = Field(0.0, ge=0, le=1)
    image_only_dropout: float = Field(0.0, ge=0, le=1)
    control_dropout: float = Field(0.0, ge=0, le=1)
    sampling: Sampling = Sampling()

    @model_validator(mode="after")
    def _shares(self) -> Self:
        # A subclass may leave rates open (None) until it knows the family.
        if sum(rate or 0 for rate in (self.text_dropout, self.image_dropout, self.image_only_dropout)) > 1:
            raise ValueError(
                "text_dropout, image_dropout and image_only_dropout are shares of one whole, together at most 1"
            )
        return self

    @property
    def weights(self) -> Weights:
        """The weighting as a sum."""
        return {self.weighting: 1.0} if isinstance(self.weighting, str) else self.weighting


class Denoising(PipelineObjective):
    """A step on the pipeline's denoiser; a subclass says what of it learns.

    Args:
        params: of the objective.
        pipeline: the model.
        learns_condition: whether something learns that makes the condition.

    A batch may hold `known` (B, F), False for frames without a true picture: they are left out of every loss. It may
    hold `tracks`, (F, P, 2) for each clip, which families with point control are told.
    """

    def __init__(
        self, params: DenoisingParams, pipeline: InterpolationPipeline, learns_condition: bool = False
    ) -> None:
        super().__init__(pipeline)
        self.params, self.learns_condition = params, learns_condition
        self.pixel = PixelLoss(params.pixel) if params.pixel else None

    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        step = self.noised(batch, generators)
        answer = check("output", self.pipeline.denoise(step.noisy, step.t, step.condition))
        estimate = self.pipeline.process.x0(answer, step.noisy, step.t)
        wanted, known = self.wanted(batch, step), batch.get("known")
        loss = self.latent_loss(estimate, wanted, step.t, known)
        silent = self.pipeline.process.x0(torch.zeros_like(answer), step.noisy, step.t)
        baseline = self.latent_loss(silent, wanted, step.t, known)
        spread = estimate.detach().std() / wanted.std().clamp(min=1e-8)
        logs = {"latent": loss.mean(), "latent_baseline": baseline.mean(), "spread": spread, "x0_std": wanted.std()}
        if self.pixel is not None:
            read = self.read_by_decoder(estimate, step, generators)
            pixel, nothing = self._pixel_loss(read, wanted, batch, step.condition, generators)
            loss, baseline = loss + pixel, baseline + nothing
            logs |= {"pixel": pixel.mean(), "pixel_baseline": nothing.mean()}
        logs["baseline"] = baseline.mean()
        return StepOutput(loss.mean(), logs, {"t": step.t, "loss": loss.detach(), "guided": step.guided})

    def noised(self, batch: Batch, generators: Sequence[torch.Generator]) -> Noised:
        """Noise on the clean latents of a batch, and the condition, with its parts dropped at their rates."""
        guided = rand(generators) >= self.params.guide_dropout
        condition, x0 = self.encoded(batch, guided.tolist())
        condition = self._drop(condition, generators)
        t = self._times(generators).to(x0.device)
        noise = randn(generators, x0.shape[1:], x0)
        condition = self._drop_control(condition, generators)
        return Noised(condition, x0, noise, self.pipeline.process.add_noise(x0, noise, t), t, guided)

    def wanted(self, batch: Batch, step: Noised) -> Tensor:
        """The clean latents (B, F, C, h, w) that the network's answer should stand for."""
        return step.x0

    def _times(self, generators: Sequence[torch.Generator]) -> Tensor:
        process = self.pipeline.process
        t = torch.cat([process.training_times(1, generator) for generator in generators])
        if not self.params.last_time_share:
            return t
        last = rand(generators) < self.params.last_time_share
        return torch.where(last, torch.full_like(t, process.last_time), t)

    def encoded(self, batch: Batch, guided: Sequence[bool]) -> tuple[Condition, Tensor]:
        """The condition of a batch, sample i with motion guidance where `guided[i]`, and its clean latents."""
        with torch.set_grad_enabled(self.learns_condition):
            condition = condition_of(self.pipeline, batch, guided)
        with torch.no_grad():
            return condition, check("x0", self.pipeline.encode(batch["frames"], condition).float())

    def latent_loss(self, estimate: Tensor, x0: Tensor, t: Tensor, known: Tensor | None = None) -> Tensor:
        """The weighted squared error of x0, per sample (B,)."""
        return self.weight_at(t) * self.frame_mean((estimate - x0).square(), known)

    def weight_at(self, t: Tensor) -> Tensor:
        """The weighting's factor at `t`, (B,)."""
        process = self.pipeline.process
        return sum(share * process.loss_weight(t, name) for name, share in self.params.weights.items())

    def frame_mean(self, values: Tensor, known: Tensor | None) -> Tensor:
        """(B, F, ...) -> (B,), over the frames that count."""
        values = inner(values, self.params.inner_only)
        if known is None:
            return values.flatten(1).mean(1)
        counted = inner(known, self.params.inner_only).to(values)
        return (values.flatten(2).mean(2) * counted).sum(1) / counted.sum(1).clamp(min=1)

    def _drop(self, condition: Condition, generators: Sequence[torch.Generator]) -> Condition:
        drawn, p = rand(generators), self.params
        if condition.tokens is None:
            return condition
        both, text = p.image_dropout, p.image_dropout + p.text_dropout
        alone = text + p.image_only_dropout
        without_text = self.pipeline.unconditional(condition, keep_image=True)
        for other, low, high in (
            (without_text, both, text),
            (without_image(condition), text, alone),
            (self.pipeline.unconditional(condition), 0.0, both),
        ):
            condition = exchange(condition, other, ((drawn >= low) & (drawn < high)).tolist())
        return condition

    def _drop_control(self, condition: Condition, generators: Sequence[torch.Generator]) -> Condition:
        if condition.control is None or not self.params.control_dropout:
            return condition
        dropped = rand(generators) < self.params.control_dropout
        return exchange(condition, without_control(condition), dropped.tolist())

    def read_by_decoder(self, estimate: Tensor, step: Noised, generators: Sequence[torch.Generator]) -> Tensor:
        """The estimates, some of them exchanged for the truth."""
        if not self.params.pixel.true_latents:
            return estimate
        true = (rand(generators) < self.params.pixel.true_latents).to(estimate.device)
        return torch.where(true[:, None, None, None, None], step.x0, estimate)

    def pictures(self, batch: Batch, chosen: Tensor, wanted: Callable[[], Tensor]) -> Tensor:
        """The frames (B, k, 3, H, W) that the drawn ones should be, at the places `chosen` (B, k); `wanted` decodes
        the wanted latents there."""
        return pick(batch["frames"], chosen)

    def _pixel_loss(
        self,
        estimate: Tensor,
        wanted: Tensor,
        batch: Batch,
        condition: Condition,
        generators: Sequence[torch.Generator],
    ) -> tuple[Tensor, Tensor]:
        """The weighted pixel term and what drawing nothing scores on it, each per sample (B,)."""
        params, frames = self.params.pixel, batch["frames"]
        chosen = self._some(batch, params.frames, generators).to(frames.device)
        # A decoder with references treats the first and the last frame as the keys: these are always decoded.
        ends = chosen.new_tensor([0, frames.shape[1] - 1]).expand(len(chosen), 2)
        decoded = torch.cat([ends[:, :1], chosen, ends[:, 1:]], dim=1)

        def drawn(latents: Tensor) -> Tensor:
            return self.pipeline.decode(pick(latents, decoded), some_frames(condition, decoded))[:, 1:-1]

        pixels = drawn(estimate)
        with torch.no_grad():
            truth = self.pictures(batch, chosen, lambda: drawn(wanted))
            nothing = self.pixel(pick(drawn_by_nothing(frames, condition), chosen), truth)
        return params.weight * self.pixel(pixels, truth), params.weight * nothing

    def _some(self, batch: Batch, number: int, generators: Sequence[torch.Generator]) -> Tensor:
        """Indices (B, k) of at most `number` random in-betweens that count, in order of time, as the decoder's
        temporal layers know frames."""
        count = batch["frames"].shape[1]
        known = batch.get("known")
        places = inner(torch.arange(count)[None])[0]
        allowed = [places if known is None else places[known[row].cpu()[places]] for row in range(len(generators))]
        number = min(number, *(len(row) for row in allowed))
        drawn = [
            row[torch.randperm(len(row), generator=g)[:number].sort().values]
            for row, g in zip(allowed, generators, strict=True)
        ]
        return torch.stack(drawn)

    def asked(self) -> dict[str, Any]:
        """How validation draws, in the words of a call."""
        how = self.params.sampling
        return {"num_inference_steps": how.steps, "guidance_scale": how.guidance, "eta": how.eta}

    def draw(self, batch: Batch, guided: bool) -> Tensor:
        frames = batch["frames"]
        wanted = {name: batch.get(name) for name in ("prompt", "fps")} | {
            "tracks": tracks_of(self.pipeline, batch),
            "guided": None if guided else False,
            **self.asked(),
        }
        # A sampler that takes no eta is one that adds no noise.
        dispensable = ("guided",) if wanted.get("eta") else ("guided", "eta")
        drawn = self.pipeline(
            *keys_of(frames),
            num_frames=frames.shape[1],
            generator=[sample_generator(0, index) for index in batch["index"]],
            output_type="pt",
            **settings_for(self.pipeline, wanted, "objective.sampling", dispensable),
        )
        return drawn.frames * 2 - 1
