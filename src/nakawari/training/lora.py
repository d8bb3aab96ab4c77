"""Low-rank adapters (LoRA, Hu et al. 2022) on a denoiser, by PEFT through diffusers' adapter mixin."""

from __future__ import annotations

import re
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from ..errors import UsageError
from ..families.base import InterpolationPipeline
from .objectives import RecipePart

ADAPTER = "default"
_ADAPTABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class LoraParams(RecipePart):
    """Args:
    target: a preset of the family by name, or a regular expression over the denoiser's module names; of what it
        matches, linear and convolution layers are adapted.
    rank: width of the adapter.
    alpha: the adapter's output is multiplied by alpha / rank; None = rank.
    dropout: share of the adapter's inputs set to zero in training.
    init: how the inner matrix starts; the outer one starts at zero. What PEFT has beside these changes the base.
    rslora: multiply by alpha / sqrt(rank) instead (Kalajdzievski 2023).
    dora: learn each output's magnitude apart (Liu et al. 2024).
    """

    target: str = "cross-attention"
    rank: int = Field(16, ge=1)
    alpha: float | None = Field(None, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    init: Literal["kaiming", "gaussian"] = "kaiming"
    rslora: bool = False
    dora: bool = False


def target_layers(pipeline: InterpolationPipeline, target: str) -> list[str]:
    """The names of the layers that a preset or a regular expression adapts; none at all raises `UsageError`."""
    presets = ", ".join(sorted(pipeline.lora_presets))
    try:
        pattern = re.compile(pipeline.lora_presets.get(target, target))
    except re.error as error:
        raise UsageError(
            f"{target!r} is neither a preset ({presets}) nor a regular expression ({error}); choose a preset."
        ) from error
    modules = pipeline.denoiser.named_modules()
    names = [name for name, module in modules if pattern.fullmatch(name) and isinstance(module, _ADAPTABLE)]
    if not names:
        raise UsageError(
            f"The target {target!r} matches no layer of this {pipeline.family} denoiser; "
            f"presets are {presets}, and any regular expression over its module names will do."
        )
    return names


def add_lora(pipeline: InterpolationPipeline, params: LoraParams) -> list[str]:
    """Put a new adapter, with float32 weights, onto the denoiser; only it learns. Returns the adapted layers' names."""
    from peft import LoraConfig

    names = target_layers(pipeline, params.target)
    config = LoraConfig(
        r=params.rank,
        lora_alpha=params.rank if params.alpha is None else params.alpha,
        lora_dropout=params.dropout,
        init_lora_weights=True if params.init == "kaiming" else params.init,
        use_rslora=params.rslora,
        use_dora=params.dora,
        target_modules="|".join(re.escape(name) for name in names),
    )
    denoiser = pipeline.denoiser
    denoiser.requires_grad_(False)
    denoiser.add_adapter(config, ADAPTER)
    for parameter in denoiser.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    return names
