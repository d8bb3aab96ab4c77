"""Objective `repair`: a low-rank adapter on a quantized base gives back what rounding took.

Quantization-aware fine-tuning with the real thing: the base is packed, frozen and rounded as it will be in use, and
the adapter learns to answer as the full-precision parent at the same noise, time and condition (the idea of QLoRA,
Dettmers et al. 2023, with the parent in the place of the data).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ...errors import UsageError
from ...families.base import InterpolationPipeline
from ...quantization.layers import packed_layers
from ..recipe import Recipe
from ..teacher import Teacher, TeacherParams, check_shared_latents
from .adapt import Adapt
from .adapt import Params as AdaptParams
from .base import Batch
from .denoising import Noised


class Params(TeacherParams, AdaptParams):
    """Args:
    teacher: the full-precision model that the base was quantized from.

    The others as in `adapt.Params`; a pixel term still looks at the true frames.
    """

    kind: Literal["repair"] = "repair"  # type: ignore[assignment]


class Repair(Adapt):
    """Trains an adapter against a teacher's clean latents."""

    params: Params

    def __init__(self, params: Params, pipeline: InterpolationPipeline, teacher: Teacher, seed: int = 0) -> None:
        if not packed_layers(pipeline.denoiser):
            raise UsageError("The objective repair is for a quantized base; set model.base to one, such as mini:int4.")
        check_shared_latents(teacher, pipeline)
        super().__init__(params, pipeline, seed)
        self.teacher = teacher

    def wanted(self, batch: Batch, step: Noised) -> Tensor:
        """What the teacher makes of the same noisy latents."""
        answer = self.teacher.denoise(step.noisy, step.t, step.condition)
        return self.pipeline.process.x0(answer, step.noisy, step.t).to(step.x0)


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> Repair:
    """The objective for any family; loads the teacher."""
    return Repair(params, pipeline, Teacher.load(params), recipe.seed)
