"""Objective `imitate`: a student learns to draw as its teacher, in fewer parameters.

Two regimes, both written in x0 and noise through the family's process:

- `drawings`: the student's clean latents, from noise on the teacher's own sampled drawing x_T, are decoded and held
  against x_T: l1 |x' - x_T| + perceptual distance.
- `answers`: student and teacher are asked at one shared time, noise and condition; besides the decoded frames, their
  clean latents (smooth L1) and their noise (squared error) are compared. Made for teachers with an adapter at a scale.

Source of the two: a published distillation of ToonCrafter, whose weights 1.0, 0.5, 0.5, 0.25 are the defaults.
Feature imitation: Romero et al. 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from ...diffusion import Weighting
from ...families.base import Condition, InterpolationPipeline
from ..collapse import CollapseWatch, WatchParams, deviation_ratios, watched_times
from ..drawings import Drawings
from ..features import FeatureImitation
from ..recipe import Recipe
from ..teacher import Teacher, TeacherParams, check_shared_latents
from .base import Batch, StepOutput, rand
from .conditions import pick
from .denoising import Denoising, DenoisingParams, Noised, PixelTerm, Weights
from .pixels import Perceptual


class TeacherPixels(PixelTerm):
    """A loss on decoded frames against the teacher's: by default 1.0 of L1 and 0.5 of the perceptual distance."""

    weight: float = Field(1.0, gt=0)
    perceptual: Perceptual = "st-lpips"
    perceptual_weight: float = Field(0.5, ge=0)


class Params(TeacherParams, DenoisingParams):
    """Args:
    regime: `drawings` (regime A) or `answers` (regime B).
    pixel: on decoded frames, against the teacher's; None = none.
    smooth_l1: weight of the smooth L1 distance of clean latents; None = 0 for drawings, 0.5 for answers.
    weighting: as in `DenoisingParams`, added; None = nothing for drawings, 0.25 of `noise` for answers, which is
        0.25 |noise' - noise_T|^2.
    features: weight of the relative squared error of the blocks' outputs that student and teacher have in one shape.
    truth: share of samples that learn from the true frames instead of the teacher.
    cache: where drawings are kept; None = each is made when it is wanted, which suits a teacher of one step.
    watch: over the latents' variance.
    ablation: `answer-is-noise` trains the network's raw answer to be the noise, `dead-latents` multiplies the clean
        latents by zero before they are decoded or compared: two mistakes of a published trainer, to show what they
        do; None = neither.

    The others as in `DenoisingParams`, `TeacherParams`.
    """

    kind: Literal["imitate"] = "imitate"
    regime: Literal["drawings", "answers"] = "drawings"
    pixel: TeacherPixels | None = TeacherPixels()
    smooth_l1: float | None = Field(None, ge=0)
    weighting: Weighting | Weights | None = None
    features: float = Field(0.0, ge=0)
    truth: float = Field(0.0, ge=0, le=1)
    cache: Path | None = Path("~/.cache/nakawari/drawings")
    watch: WatchParams = WatchParams()
    ablation: Literal["answer-is-noise", "dead-latents"] | None = None

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not (self.latent_weight or any(self.weights.values()) or self.pixel or self.features):
            raise ValueError("nothing to learn from: give a pixel term, smooth_l1, weighting or features a weight")
        return self

    @property
    def latent_weight(self) -> float:
        """Weight of the smooth L1 term in this regime."""
        return {"drawings": 0.0, "answers": 0.5}[self.regime] if self.smooth_l1 is None else self.smooth_l1

    @property
    def weights(self) -> Weights:
        """The weighting as a sum."""
        if self.weighting is None:
            return {} if self.regime == "drawings" else {"noise": 0.25}
        return super().weights


class Imitate(Denoising):
    """Trains the denoiser of the student's pipeline; the teacher stands outside of this module.

    A batch gets `true` (B,), which samples learn from the true frames.
    """

    params: Params

    def __init__(self, params: Params, pipeline: InterpolationPipeline, teacher: Teacher) -> None:
        check_shared_latents(teacher, pipeline)
        super().__init__(params, pipeline)
        self.networks.requires_grad_(False)
        pipeline.denoiser.requires_grad_(True)
        self.teacher = teacher
        self.drawings = Drawings(teacher, params.cache)
        self.features = None
        if params.features:
            self.features = FeatureImitation(pipeline.denoiser, teacher.pipeline.denoiser)
        self.watch = CollapseWatch(params.watch)
        self._last: Noised | None = None
        self._ratios: dict[str, float] = {}

    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        batch = self._marked(batch, generators)
        if self.features is None:
            return super().forward(batch, generators)
        with self.features.watching():
            output = super().forward(batch, generators)
            error = self.params.features * self.features.loss(len(generators))
        # A student without any of the teacher's features is off by their whole energy.
        logs = dict(output.logs) | {"features": error.mean()}
        logs["baseline"] = logs["baseline"] + self.params.features
        return StepOutput(output.loss + error.mean(), logs, output.details)

    def _marked(self, batch: Batch, generators: Sequence[torch.Generator]) -> dict[str, Any]:
        true = rand(generators) < self.params.truth
        marked = {**batch, "true": true}
        if batch.get("known") is not None:  # of a drawing every frame counts
            marked["known"] = batch["known"] | ~true[:, None].to(batch["known"].device)
        return marked

    @torch.no_grad()
    def prepare(self, batch: Batch, generators: Sequence[torch.Generator]) -> None:
        """Make the drawings that `forward` will want for this batch, if they are not there."""
        self.noised(self._marked(batch, generators), generators)

    def encoded(self, batch: Batch, guided: Sequence[bool]) -> tuple[Condition, Tensor]:
        condition, x0 = super().encoded(batch, guided)
        if self.params.regime == "answers":
            return condition, x0
        return condition, _choose(batch["true"], x0, lambda: self.drawings.latents(batch, guided).to(x0))

    def noised(self, batch: Batch, generators: Sequence[torch.Generator]) -> Noised:
        self._last = super().noised(batch, generators)
        return self._last

    def wanted(self, batch: Batch, step: Noised) -> Tensor:
        process = self.pipeline.process
        if self.params.ablation == "answer-is-noise":
            return process.x0(step.noise, step.noisy, step.t)
        answers = self.params.regime == "answers" and not batch["true"].all()
        if not answers and self.features is None:
            return step.x0
        asked = self.teacher.denoise(step.noisy, step.t, step.condition)
        if not answers:
            return step.x0
        return _choose(batch["true"], step.x0, lambda: process.x0(asked, step.noisy, step.t))

    def latent_loss(self, estimate: Tensor, x0: Tensor, t: Tensor, known: Tensor | None = None) -> Tensor:
        """Smooth L1 and the weighted squared error of x0, per sample (B,)."""
        loss = super().latent_loss(estimate, x0, t, known) if self.params.weights else estimate.new_zeros(len(x0))
        if not self.params.latent_weight:
            return loss
        error = functional.smooth_l1_loss(self._alive(estimate), x0, reduction="none")
        return loss + self.params.latent_weight * self.frame_mean(error, known)

    def read_by_decoder(self, estimate: Tensor, step: Noised, generators: Sequence[torch.Generator]) -> Tensor:
        return super().read_by_decoder(self._alive(estimate), step, generators)

    def pictures(self, batch: Batch, chosen: Tensor, wanted: Callable[[], Tensor]) -> Tensor:
        return _choose(batch["true"], pick(batch["frames"], chosen), wanted)

    def step_end(self, step: int) -> str | None:
        self._ratios = {}
        if not self.watch.due(step) or self._last is None:
            return None
        self._ratios = self._look(self._last)
        return self.watch.judge(step, self._ratios)

    def observed(self) -> dict[str, float]:
        """Deviation of the student's clean latents over the teacher's, by time, where this step was looked at."""
        return {f"deviation_{name}": ratio for name, ratio in self._ratios.items()}

    def _look(self, last: Noised) -> dict[str, float]:
        denoiser = self.pipeline.denoiser
        training = denoiser.training
        denoiser.eval()
        try:
            return deviation_ratios(
                self.pipeline.process,
                last.x0,
                last.noise,
                watched_times(self.pipeline.process),
                lambda noisy, t: self.pipeline.denoise(noisy, t, last.condition),
                lambda noisy, t: self.teacher.denoise(noisy, t, last.condition),
            )
        finally:
            denoiser.train(training)

    def _alive(self, estimate: Tensor) -> Tensor:
        return estimate * 0 if self.params.ablation == "dead-latents" else estimate


def _choose(true: Tensor, truth: Tensor, other: Callable[[], Tensor]) -> Tensor:
    """Per sample (B, ...) the truth where `true`, else the other, which is made only where it is needed."""
    if true.all():
        return truth
    column = true.to(truth.device).reshape(-1, *[1] * (truth.ndim - 1))
    return torch.where(column, truth, other().to(truth))


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> Imitate:
    """The objective for any family; loads the teacher."""
    return Imitate(params, pipeline, Teacher.load(params))
