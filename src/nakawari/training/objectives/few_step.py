"""Kind `few_step`: a student that gets from noise to a sample in one to a few steps (consistency distillation).

f(x_t, t) is the clean sample at the end of the teacher's path through x_t. The student learns it from one rule: two
neighbours on a path have the same end. Its target at x_t is its own answer, without gradient, at the point where one
DDIM step of the teacher, with guidance, leads; at the end of the path it is the teacher's own clean estimate.

f is the process's own x0, `c_skip x_t + c_out output`: with velocity and EDM alike c_out vanishes with the noise, so
f(x_0, 0) = x_0 holds by construction (Song et al. 2023, eq. 5; Lu & Song 2025, section 3).

Sources: Song et al. 2023 (consistency models, algorithm 2), Luo et al. 2023 (in latent space, with guidance folded in),
Song & Dhariwal 2024 (the student itself instead of its average as target; pseudo-Huber distance).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from ...adapters import save_turbo
from ...diffusion import Weighting
from ...families.base import InterpolationPipeline
from ...families.tooncrafter.guidance import Guidance
from ..lora import ADAPTER, LoraParams, add_lora
from ..recipe import Recipe
from ..teacher import Teacher, TeacherParams, check_shared_latents
from . import RecipePart
from .denoiser import DenoiserObjective, Learner
from .params import DenoisingParams, PixelTerm, WeightParams
from .targets import Target, end_of_path
from .terms import LatentTerms


class FewSteps(RecipePart):
    """How the student draws.

    Args:
        steps: in validation, and where a call does not say.
    """

    steps: int = Field(4, ge=1)


class FewStepPixels(PixelTerm):
    """A loss on decoded frames.

    Args:
        against: the true frames, or what the student's target decodes to.
    """

    against: Literal["truth", "target"] = "truth"


class Params(DenoisingParams, TeacherParams):
    """Args:
    lora: the student is its base with this adapter ("turbo adapter"); None = the whole denoiser learns.
    grid: how many times there are on a path; the teacher goes from each to the next in one DDIM step. A multiple of
        the steps that the student is to take: its sampler then stands where it was trained.
    guidance: scale of the teacher's guidance, which the student learns by heart; 1 = none.
    guidance_rescale: 0 to 1, as in the family's sampler.
    huber: the distance of latents is sqrt(e^2 + huber^2) - huber, quadratic below and linear above this error;
        None = squared error.
    weighting: factor on that distance, by the names of `DenoisingParams`.
    pixel: adds a loss on decoded frames.
    sampling: the steps that the student is for.

    The others as in `DenoisingParams` and `TeacherParams`. `teacher_sampling` is how the teacher draws the pictures
    that validation compares with.
    """

    kind: Literal["few_step"] = "few_step"
    lora: LoraParams | None = None
    grid: int = Field(40, ge=2, le=1000)
    guidance: float = Field(1.0, ge=0)
    guidance_rescale: float = Field(0.0, ge=0, le=1)
    huber: float | None = Field(0.001, gt=0)
    weighting: Weighting | WeightParams = "x0"
    pixel: FewStepPixels | None = None
    sampling: FewSteps = FewSteps()


def student_jumps(params: Params, pipeline: InterpolationPipeline, teacher: Teacher) -> DenoiserObjective:
    """The objective of a denoiser, or of an adapter on it, towards a consistency function of the teacher's paths; the
    pipeline's calls take few steps from now on."""
    check_shared_latents(teacher, pipeline)
    path = pipeline.process.sampling_times(params.grid)
    guidance = Guidance(params.guidance, None, params.guidance_rescale)

    def begin() -> None:
        if params.lora is None:
            pipeline.denoiser.requires_grad_(True)
        else:
            add_lora(pipeline, params.lora)
        pipeline.sample_in_few_steps(params.sampling.steps)

    def write(folder: Path) -> None:
        save_turbo(pipeline.denoiser, folder, ADAPTER, params.sampling.steps)

    return DenoiserObjective(
        params,
        pipeline,
        Learner(begin, None if params.lora is None else write, adapter=params.lora is not None),
        Target(
            lambda batch, step: end_of_path(pipeline, teacher, path, guidance, step),
            teacher,
            true_frames=params.pixel is None or params.pixel.against == "truth",
            times=path,
        ),
        LatentTerms(weights=params.weights, huber=params.huber, inner_only=params.inner_only),
    )


def build(
    params: Params, pipeline: InterpolationPipeline, recipe: Recipe, teacher: Teacher | None = None
) -> DenoiserObjective:
    """The objective for any family with a consistency sampler; loads the teacher where none is given."""
    return student_jumps(params, pipeline, teacher or Teacher.load(params))
