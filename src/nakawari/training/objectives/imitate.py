"""Kind `imitate`: train a student with fewer parameters to draw like its teacher.

Two regimes, both written in x0 and noise through the family's process:

- `drawings`: the student's clean latents, from noise on the teacher's own sampled drawing x_T, are decoded and compared
  with x_T: l1 |x' - x_T| + perceptual distance.
- `answers`: student and teacher are evaluated at the same timestep, noise and condition; besides the decoded frames,
their
  clean latents (smooth L1) and their noise (squared error) are compared. Intended for teachers with an adapter at a
  scale.

Source of the two: a published distillation of ToonCrafter, whose weights 1.0, 0.5, 0.5, 0.25 are the defaults.
Feature imitation: Romero et al. 2015.
"""

from __future__ import annotations

from torch import Tensor

from ...families.base import InterpolationPipeline
from ..collapse import CollapseWatch
from ..drawings import Drawings
from ..features import FeatureImitation
from ..recipe import Recipe
from ..teacher import Teacher, check_shared_latents
from .base import Batch
from .denoiser import DenoiserObjective, Extras, Learner
from .params import ImitateParams
from .targets import Noised, Target, choose, teacher_estimate
from .terms import LatentTerms


def denoiser_imitates(params: ImitateParams, pipeline: InterpolationPipeline, teacher: Teacher) -> DenoiserObjective:
    """The objective of a student's denoiser; the teacher is not part of the module."""
    check_shared_latents(teacher, pipeline)
    features = FeatureImitation(pipeline.denoiser, teacher.pipeline.denoiser) if params.features else None

    def answers(batch: Batch, step: Noised) -> Tensor:
        if features is None and batch["true"].all():
            return step.x0
        taught = teacher_estimate(pipeline, teacher, step)
        return choose(batch["true"], step.x0, lambda: taught)

    def drawn(batch: Batch, step: Noised) -> Tensor:
        """The drawing itself; the teacher is evaluated only if its features are needed."""
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
    params: ImitateParams, pipeline: InterpolationPipeline, recipe: Recipe, teacher: Teacher | None = None
) -> DenoiserObjective:
    """The objective for any family; loads the teacher if none is given."""
    return denoiser_imitates(params, pipeline, teacher or Teacher.load(params))
