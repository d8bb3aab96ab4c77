"""Kind `few_step`: a student that gets from noise to a sample in one to a few steps (consistency distillation).

f(x_t, t) is the clean sample at the end of the teacher's trajectory through x_t. Two adjacent points of a trajectory
have the same end, so the student's target at x_t is its own prediction, without gradient, at the point that one guided
DDIM step of the teacher reaches; at the end of the trajectory it is the teacher's own clean estimate.

f is the process's own x0, `c_skip x_t + c_out output`: for velocity and EDM c_out vanishes with the noise, so
f(x_0, 0) = x_0 holds by construction (Song et al. 2023, eq. 5; Lu & Song 2025, section 3).

Sources: Song et al. 2023 (consistency models, algorithm 2), Luo et al. 2023 (in latent space, with guidance distilled),
Song & Dhariwal 2024 (the student itself instead of its average as target; pseudo-Huber distance).
"""

from __future__ import annotations

from pathlib import Path

from ...adapters import save_turbo
from ...families.base import InterpolationPipeline
from ...families.tooncrafter.guidance import Guidance
from ..lora import ADAPTER, add_lora
from ..recipe import Recipe
from ..teacher import Teacher, check_shared_latents
from .denoiser import DenoiserObjective, Learner
from .params import FewStepParams
from .targets import Target, end_of_path
from .terms import LatentTerms


def student_jumps(params: FewStepParams, pipeline: InterpolationPipeline, teacher: Teacher) -> DenoiserObjective:
    """The objective of a denoiser, or of an adapter on it, trained to the consistency function of the teacher; the
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
    params: FewStepParams, pipeline: InterpolationPipeline, recipe: Recipe, teacher: Teacher | None = None
) -> DenoiserObjective:
    """The objective for any family with a consistency sampler; loads the teacher if none is given."""
    return student_jumps(params, pipeline, teacher or Teacher.load(params))
