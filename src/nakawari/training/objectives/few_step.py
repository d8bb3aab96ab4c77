"""Objective `few_step`: a student that gets from noise to a sample in one to a few steps (consistency distillation).

f(x_t, t) is the clean sample at the end of the teacher's path through x_t. The student learns it from one rule: two
neighbours on a path have the same end. Its target at x_t is its own answer, without gradient, at the point where one
DDIM step of the teacher, with guidance, leads; at the end of the path it is the teacher's own clean estimate.

f is the process's own x0, `c_skip x_t + c_out output`: with velocity and EDM alike c_out vanishes with the noise, so
f(x_0, 0) = x_0 holds by construction (Song et al. 2023, eq. 5; Lu & Song 2025, section 3).

Sources: Song et al. 2023 (consistency models, algorithm 2), Luo et al. 2023 (in latent space, with guidance folded in),
Song & Dhariwal 2024 (the student itself instead of its average as target; pseudo-Huber distance).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...adapters import save_turbo
from ...diffusion import Weighting
from ...families.base import Condition, InterpolationPipeline
from ...families.tooncrafter.guidance import Guidance
from ..guards import check
from ..lora import ADAPTER, LoraParams, add_lora, train_adapter
from ..recipe import Recipe
from ..teacher import Teacher, TeacherParams, check_shared_latents
from . import RecipePart
from .base import Batch, Objective, rand
from .denoising import Denoising, DenoisingParams, Noised, PixelTerm, Weights
from .pixels import middle_psnr


class FewSteps(RecipePart):
    """How many steps validation takes, and the student where a call does not say."""

    steps: int = Field(4, ge=1)


class FewStepPixels(PixelTerm):
    """A loss on decoded frames, against the true ones or against what the student's target decodes to."""

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
    weighting: Weighting | Weights = "x0"
    pixel: FewStepPixels | None = None
    sampling: FewSteps = FewSteps()


class FewStep(Denoising):
    """Trains the denoiser, or an adapter on it, towards a consistency function of the teacher's paths.

    Args:
        params: of the objective.
        pipeline: the student; its calls take few steps from now on.
        teacher: asked, never changed, never saved.
    """

    params: Params

    def __init__(self, params: Params, pipeline: InterpolationPipeline, teacher: Teacher) -> None:
        super().__init__(params, pipeline)
        check_shared_latents(teacher, pipeline)
        self.teacher = teacher
        self.path = pipeline.process.sampling_times(params.grid)
        if params.lora is None:
            pipeline.denoiser.requires_grad_(True)
        else:
            add_lora(pipeline, params.lora)
        pipeline.sample_in_few_steps(params.sampling.steps)
        self._taught: dict[tuple[int, ...], Tensor] = {}

    def _times(self, generators: Sequence[torch.Generator]) -> Tensor:
        places = [torch.randint(len(self.path), (1,), generator=generator) for generator in generators]
        t = self.path[torch.cat(places)]
        if not self.params.last_time_share:
            return t
        last = rand(generators) < self.params.last_time_share
        return torch.where(last, self.path[0], t)

    @torch.no_grad()
    def wanted(self, batch: Batch, step: Noised) -> Tensor:
        """Where the path through x_t ends, as far as teacher and student know."""
        process, noisy, t = self.pipeline.process, step.noisy, step.t
        path = self.path.to(t.device)
        places = (t[:, None] == path).int().argmax(1)
        following = path[(places + 1).clamp(max=len(path) - 1)]
        taught = self._guided(noisy, t, step.condition)
        further = process.ddim(taught, noisy, t, following)
        answer = check("target", self.pipeline.denoise(further, following, step.condition))
        ends = (places == len(path) - 1).reshape(-1, *[1] * (noisy.ndim - 1))
        return torch.where(ends, process.x0(taught, noisy, t), process.x0(answer, further, following))

    def _guided(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The teacher's answer with its guidance."""
        guidance = Guidance(self.params.guidance, None, self.params.guidance_rescale)
        branches = [condition]
        if not guidance.off and condition.null_tokens is not None:
            branches.append(self.pipeline.unconditional(condition))
        return guidance.combine([self.teacher.denoise(noisy, t, branch) for branch in branches])

    def latent_loss(self, estimate: Tensor, x0: Tensor, t: Tensor, known: Tensor | None = None) -> Tensor:
        """The weighted distance of x0, per sample (B,)."""
        width = self.params.huber
        if width is None:
            return super().latent_loss(estimate, x0, t, known)
        distance = self.frame_mean(((estimate - x0).square() + width**2).sqrt() - width, known)
        return self.weight_at(t) * distance

    def pictures(self, batch: Batch, chosen: Tensor, wanted: Callable[[], Tensor]) -> Tensor:
        if self.params.pixel is not None and self.params.pixel.against == "target":
            return wanted()
        return super().pictures(batch, chosen, wanted)

    def train(self, mode: bool = True) -> Objective:
        """See `train_adapter`, where an adapter is all that learns."""
        super().train(mode)
        if self.params.lora is not None:
            train_adapter(self.networks, mode)
        return self

    def asked(self) -> dict[str, Any]:
        """The student's own defaults."""
        return {}

    def _scores(self, batch: Batch) -> dict[str, Tensor]:
        """As elsewhere, with `psnr_teacher`, of the teacher's own drawings."""
        return super()._scores(batch) | {"psnr_teacher": middle_psnr(self.draw_taught(batch), batch["frames"])}

    def draw_taught(self, batch: Batch) -> Tensor:
        """The clips as the teacher draws them; as `draw`. Drawn once."""
        key = tuple(batch["index"])
        if key not in self._taught:
            self._taught[key] = self.pipeline.decode(self.teacher.draw(batch), self.guided_condition(batch))
        return self._taught[key]

    def save(self, folder: Path) -> None:
        """The adapter with its steps beside it, or the whole model, which remembers them in its configuration."""
        if self.params.lora is None:
            super().save(folder)
        else:
            save_turbo(self.pipeline.denoiser, folder, ADAPTER, self.params.sampling.steps)


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> FewStep:
    """The objective for any family with a consistency sampler."""
    return FewStep(params, pipeline, Teacher.load(params))
