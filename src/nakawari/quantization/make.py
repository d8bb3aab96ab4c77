"""A quantized variant from a loaded one: one precision throughout, or a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..adapters import adapted_networks, bake_all
from ..errors import NakawariError, UsageError
from ..families.base import InterpolationPipeline
from ..memory import guarded
from . import plans
from .folder import Origin, origin, save
from .precisions import HALVES, check_name, check_runs, check_whole, quantize_layers, uniform

Parts = Literal["denoiser", "all"]


def prepare(pipeline: InterpolationPipeline, variant: str) -> Origin:
    """Merge adapters into the denoiser, so that they are quantized with it, and describe what is there."""
    if adapted_networks(pipeline):
        bake_all(pipeline)
    _check_finite(pipeline.denoiser, variant)
    return origin(pipeline, variant)


def _check_finite(denoiser: nn.Module, variant: str) -> None:
    """A scale made of a weight that is no number would spoil a whole channel."""
    for name, value in denoiser.named_parameters():
        if not torch.isfinite(value).all():
            raise NakawariError(
                f"{variant} holds values that are not finite, first in {name}; take an earlier checkpoint, or convert "
                "it again."
            )


def quantize(
    pipeline: InterpolationPipeline, variant: str, precision: str, folder: Path, parts: Parts = "denoiser"
) -> dict[str, Any]:
    """Quantize the denoiser in place and write the variant into `folder`; returns its record.

    fp16 and bf16 are casts: group norms of the denoiser still run in float32. `parts="all"` casts all but the
    motion guide.

    Raises:
        UsageError: an unknown precision, one that this machine cannot run, a model that is quantized already.
    """
    check_name(precision)
    if parts == "all" and precision not in HALVES:
        raise UsageError(f"--parts all goes with {' and '.join(HALVES)}; {precision} is for the denoiser alone.")
    check_runs(precision, pipeline.denoiser.device)
    # Before adapters are merged, which a quantized base cannot take.
    check_whole(pipeline.denoiser)
    with guarded(f"quantizing {variant}", "close other programs", pipeline.denoiser.device):
        source = prepare(pipeline, variant)
        if precision in HALVES:
            quantize_layers(pipeline.denoiser, {})
            cast(pipeline, HALVES[precision], parts)
        else:
            quantize_layers(pipeline.denoiser, uniform(pipeline.denoiser, precision))
        return save(pipeline, folder, source, precision)


def cast(pipeline: InterpolationPipeline, dtype: torch.dtype, parts: Parts) -> None:
    """Cast the denoiser, or every part with weights but the motion guide, whose flow is in pixels."""
    whole = [part for name, part in pipeline.components.items() if name != "guide" and isinstance(part, nn.Module)]
    for module in whole if parts == "all" else [pipeline.denoiser]:
        nn.Module.to(
            module, dtype
        )  # diffusers' own `to` warns of modules to be kept in float32, of which there are none


def export(pipeline: InterpolationPipeline, variant: str, base: Path, precision: str, path: Path) -> int:
    """Write the whole variant, adapters merged, as one file in the upstream layout; returns its number of tensors.

    `base` is the folder that `nakawari convert` wrote and the variant was loaded from.

    Raises:
        UsageError: another precision than fp16 and bf16, or a model that the layout has no place for.
    """
    from ..families.tooncrafter.export import export_checkpoint
    from ..families.tooncrafter.pipeline import ToonCrafterPipeline

    if precision not in HALVES:
        raise UsageError(f"--export-checkpoint goes with {' and '.join(HALVES)}, not with {precision}.")
    if not isinstance(pipeline, ToonCrafterPipeline):
        raise UsageError(
            f"--export-checkpoint writes ToonCrafter's layout; this is a model of {pipeline.family}; leave it out."
        )
    prepare(pipeline, variant)
    quantize_layers(pipeline.denoiser, {})
    return export_checkpoint(pipeline, base, path, HALVES[precision])


def quantize_by_plan(pipeline: InterpolationPipeline, variant: str, plan_file: Path, folder: Path) -> dict[str, Any]:
    """As `quantize`, each layer in the precision that the plan gives it."""
    plan = plans.read(plan_file)
    source = prepare(pipeline, variant)
    precisions = plans.resolve(plan, pipeline.denoiser)
    for precision in sorted(set(precisions.values())):
        check_runs(precision, pipeline.denoiser.device)
    quantize_layers(pipeline.denoiser, precisions)
    return save(pipeline, folder, source, "plan", plan={"file": plan_file.name, "precisions": plan.precisions})
