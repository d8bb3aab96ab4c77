"""Make a quantized variant from a loaded one, with one precision for all layers or a plan."""

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
    """Merge adapters into the denoiser, so that they are quantized with it; returns the model's `Origin`."""
    if adapted_networks(pipeline):
        bake_all(pipeline)
    _check_finite(pipeline.denoiser, variant)
    return origin(pipeline, variant)


def _check_finite(denoiser: nn.Module, variant: str) -> None:
    """Refuse weights that are not finite: their scale would spoil a whole channel."""
    for name, value in denoiser.named_parameters():
        if not torch.isfinite(value).all():
            raise NakawariError(
                f"{variant} holds values that are not finite, first in {name}; use an earlier checkpoint, or convert "
                "it again."
            )


def quantize(
    pipeline: InterpolationPipeline, variant: str, precision: str, folder: Path, parts: Parts = "denoiser"
) -> dict[str, Any]:
    """Quantize the denoiser in place and write the variant into `folder`; returns its record.

    fp16 and bf16 are casts: the denoiser's group norms still run in float32. `parts="all"` casts everything except the
    motion guide.

    Raises:
        UsageError: an unknown precision, one that this machine cannot run, a model that is quantized already.
    """
    check_name(precision)
    if parts == "all" and precision not in HALVES:
        raise UsageError(f"--parts all needs {' or '.join(HALVES)}; {precision} applies to the denoiser only.")
    check_runs(precision, pipeline.denoiser.device)
    # Checked before adapters are merged, which a quantized base does not support.
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
    """Cast the denoiser, or every part with weights except the motion guide, which needs float32 for flow in pixels."""
    whole = [part for name, part in pipeline.components.items() if name != "guide" and isinstance(part, nn.Module)]
    for module in whole if parts == "all" else [pipeline.denoiser]:
        nn.Module.to(module, dtype)  # diffusers' `to` warns about modules to be kept in float32; there are none


def export(pipeline: InterpolationPipeline, variant: str, base: Path, precision: str, path: Path) -> int:
    """Write the whole variant, adapters merged, as one file in the upstream layout; returns its number of tensors.

    `base` is the folder that `nakawari convert` wrote and the variant was loaded from.

    Raises:
        UsageError: a precision other than fp16 and bf16, or a model that the layout does not support.
    """
    from ..families.tooncrafter.export import export_checkpoint
    from ..families.tooncrafter.pipeline import ToonCrafterPipeline

    if precision not in HALVES:
        raise UsageError(f"--export-checkpoint needs {' or '.join(HALVES)}, not {precision}.")
    if not isinstance(pipeline, ToonCrafterPipeline):
        raise UsageError(
            f"--export-checkpoint writes ToonCrafter's layout, but this is a {pipeline.family} model; leave it out."
        )
    prepare(pipeline, variant)
    quantize_layers(pipeline.denoiser, {})
    return export_checkpoint(pipeline, base, path, HALVES[precision])


def quantize_by_plan(pipeline: InterpolationPipeline, variant: str, plan_file: Path, folder: Path) -> dict[str, Any]:
    """As `quantize`, with each layer in its precision of the plan."""
    plan = plans.read(plan_file)
    source = prepare(pipeline, variant)
    precisions = plans.resolve(plan, pipeline.denoiser)
    for precision in sorted(set(precisions.values())):
        check_runs(precision, pipeline.denoiser.device)
    quantize_layers(pipeline.denoiser, precisions)
    return save(pipeline, folder, source, "plan", plan={"file": plan_file.name, "precisions": plan.precisions})
