"""Kind `imitate`: a student learns to draw as its teacher, in fewer parameters.

Two regimes, both written in x0 and noise through the family's process:

- `drawings`: the student's clean latents, from noise on the teacher's own sampled drawing x_T, are decoded and held
  against x_T: l1 |x' - x_T| + perceptual distance.
- `answers`: student and teacher are asked at one shared time, noise and condition; besides the decoded frames, their
  clean latents (smooth L1) and their noise (squared error) are compared. Made for teachers with an adapter at a scale.

Source of the two: a published distillation of ToonCrafter, whose weights 1.0, 0.5, 0.5, 0.25 are the defaults.
Feature imitation: Romero et al. 2015.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from ...diffusion import Weighting
from ...families.base import InterpolationPipeline
from ..collapse import CollapseWatch, WatchParams
from ..drawings import Drawings
from ..features import FeatureImitation
from ..recipe import Recipe
from ..teacher import Teacher, TeacherParams, check_shared_latents
from .base import Batch
from .denoiser import DenoiserObjective, Extras, Learner
from .params import DenoisingParams, PixelTerm, WeightParams
from .pixels import Perceptual
from .targets import Noised, Target, choose, teacher_estimate
from .terms import LatentTerms


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

    The others as in `DenoisingParams`, `TeacherParams`.
    """

    kind: Literal["imitate"] = "imitate"
    regime: Literal["drawings", "answers"] = "drawings"
    pixel: TeacherPixels | None = TeacherPixels()
    smooth_l1: float | None = Field(None, ge=0)
    weighting: Weighting | WeightParams | None = None
    features: float = Field(0.0, ge=0)
    truth: float = Field(0.0, ge=0, le=1)
    cache: Path | None = Path("~/.cache/nakawari/drawings")
    watch: WatchParams = WatchParams()

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
    def weights(self) -> WeightParams:
        """The weighting as a sum."""
        if self.weighting is None:
            return {} if self.regime == "drawings" else {"noise": 0.25}
        return super().weights


def denoiser_imitates(params: Params, pipeline: InterpolationPipeline, teacher: Teacher) -> DenoiserObjective:
    """The objective of a student's denoiser; the teacher stands outside of the module."""
    check_shared_latents(teacher, pipeline)
    features = FeatureImitation(pipeline.denoiser, teacher.pipeline.denoiser) if params.features else None

    def answers(batch: Batch, step: Noised) -> Tensor:
        if features is None and batch["true"].all():
            return step.x0
        taught = teacher_estimate(pipeline, teacher, step)
        return choose(batch["true"], step.x0, lambda: taught)

    def drawn(batch: Batch, step: Noised) -> Tensor:
        """The drawing itself; the teacher is asked where its features are wanted."""
        if features is not None:
            teacher.denoise(step.noisy, step.t, step.condition)
        return step.x0

    of_drawings = params.regime == "drawings"
    return DenoiserObjective(
        params,
        pipeline,
        Learner(lambda: pipeline.denoiser.requires_grad_(True)),
        Target(
            drawn if of_drawings else answers,
            teacher,
            drawings=Drawings(teacher, params.cache) if of_drawings else None,
            truth=params.truth,
        ),
        LatentTerms(weights=params.weights, smooth_l1=params.latent_weight, inner_only=params.inner_only),
        Extras(
            sampling=params.sampling.words(),
            features=None if features is None else (features, params.features),
            watch=CollapseWatch(params.watch),
        ),
    )


def build(
    params: Params, pipeline: InterpolationPipeline, recipe: Recipe, teacher: Teacher | None = None
) -> DenoiserObjective:
    """The objective for any family; loads the teacher where none is given."""
    return denoiser_imitates(params, pipeline, teacher or Teacher.load(params))
