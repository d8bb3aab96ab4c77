"""Kind `repair`: train a low-rank adapter on a quantized base to correct quantization errors.

The base is packed, frozen and rounded exactly as in use, and the adapter is trained to match the full-precision
parent at the same noise, timestep and condition (the idea of QLoRA, Dettmers et al. 2023, with the parent instead of
the data).
"""

from __future__ import annotations

from ...errors import UsageError
from ...families.base import InterpolationPipeline
from ...quantization.layers import packed_layers
from ..recipe import Recipe
from ..teacher import Teacher, check_shared_latents
from . import adapt
from .denoiser import DenoiserObjective
from .params import RepairParams
from .targets import Target, teacher_estimate


def adapter_repairs(
    params: RepairParams, pipeline: InterpolationPipeline, teacher: Teacher, seed: int = 0
) -> DenoiserObjective:
    """The objective of an adapter trained on a teacher's clean latents. Raises `UsageError` for an unquantized base."""
    if not packed_layers(pipeline.denoiser):
        raise UsageError("The objective repair is for a quantized base; set model.base to one, such as mini:int4.")
    check_shared_latents(teacher, pipeline)
    target = Target(lambda batch, step: teacher_estimate(pipeline, teacher, step), teacher)
    return adapt.adapter_learns(params, pipeline, target, seed)


def build(
    params: RepairParams, pipeline: InterpolationPipeline, recipe: Recipe, teacher: Teacher | None = None
) -> DenoiserObjective:
    """The objective for any family; loads the teacher if none is given."""
    return adapter_repairs(params, pipeline, teacher or Teacher.load(params), recipe.seed)
