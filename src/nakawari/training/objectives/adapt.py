"""Kind `adapt`: train a low-rank adapter on the true frames of one show; everything else is frozen.

noise_l1 * |noise' - noise| + a weighted squared error + pixel.weight * pixel loss(x0', x0), decoded with gradient.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ...errors import UsageError
from ...families.adapting import DECODER, IMAGE_ADAPTER, autoencoder, save_adapter
from ...families.base import InterpolationPipeline
from ...quantization.layers import packed_layers
from ...quantization.precisions import quantize_layers, uniform
from ...variants import parse
from ..condition_cache import ConditionCache
from ..lora import ADAPTER, add_lora
from ..offload import Offload
from ..recipe import Recipe
from .denoiser import DenoiserObjective, Extras, Learner
from .params import AdaptParams
from .prior import Prior
from .targets import Target, true_latents
from .terms import LatentTerms


def adapter_learns(
    params: AdaptParams, pipeline: InterpolationPipeline, target: Target, seed: int = 0
) -> DenoiserObjective:
    """The objective of an adapter on the denoiser, and of a linear layer behind an image encoder that needs one.

    Args:
        target: the training target.
        seed: of the prior's clips.
    """
    shrink(pipeline, params.base_dtype)
    new_image_adapter = pipeline.add_image_adapter()
    if new_image_adapter:
        _check_conditions_may_change(params)
    params = params.with_rates_of(pipeline)

    def begin() -> None:
        add_lora(pipeline, params.lora)
        if new_image_adapter:
            pipeline.components[IMAGE_ADAPTER].requires_grad_(True)
        if params.gradient_checkpointing:
            pipeline.denoiser.enable_gradient_checkpointing()

    def write(folder: Path) -> None:
        """Write the adapter in diffusers' layout, and the decoder's and the image adapter if they exist."""
        save_adapter(pipeline.denoiser, folder, ADAPTER)
        if params.lora.decoder_rank:
            save_adapter(autoencoder(pipeline), folder / DECODER, ADAPTER)
        if pipeline.components.get(IMAGE_ADAPTER) is not None:
            pipeline.components[IMAGE_ADAPTER].save_pretrained(folder / IMAGE_ADAPTER)

    return DenoiserObjective(
        params,
        pipeline,
        Learner(begin, write, adapter=True, condition=new_image_adapter, over_base=True),
        target,
        LatentTerms(params.noise_l1, params.weights, inner_only=params.inner_only),
        Extras(
            sampling=params.sampling.words(),
            cache=None if params.cache is None else ConditionCache(params.cache, pipeline, params.pixel is not None),
            offload=Offload(only_for_conditions(pipeline, params) if params.offload else []),
            prior=None if params.prior is None else Prior(params.prior, pipeline, seed),
        ),
    )


def _check_conditions_may_change(params: AdaptParams) -> None:
    for option in ("cache", "offload"):
        if getattr(params, option):
            raise UsageError(
                f"objective.{option} cannot be used while an image adapter is trained, which changes the conditions; "
                f"leave the {option} out."
            )


def only_for_conditions(pipeline: InterpolationPipeline, params: AdaptParams) -> list[torch.nn.Module]:
    """The networks that training needs only for conditions."""
    parts = pipeline.components
    needed = {pipeline.denoiser} | ({parts["vae"]} if params.pixel is not None else set())
    return [part for part in parts.values() if isinstance(part, torch.nn.Module) and part not in needed]


KEPT_WHOLE = ("vae", "guide")
"""Components that stay in float32: they are small, and their errors are visible."""


def base_formats(name: str, base_dtype: str) -> tuple[str, dict[str, torch.dtype]]:
    """The variant and the number formats for loading a base: float32, or directly the format of its frozen parts,
    so that it is never in memory in a larger one."""
    formats = {"default": torch.float32}
    if base_dtype == "int8" and parse(name).precision is None:
        name = f"{name}:int8"
    if base_dtype == "bf16":
        formats = {"default": torch.bfloat16} | dict.fromkeys(KEPT_WHOLE, torch.float32)
    return name, formats


def shrink(pipeline: InterpolationPipeline, base_dtype: str) -> None:
    """Convert the frozen base to `base_dtype`, unless it was loaded so."""
    if base_dtype == "int8" and not packed_layers(pipeline.denoiser):
        quantize_layers(pipeline.denoiser, uniform(pipeline.denoiser, "int8"))
    elif base_dtype == "bf16":
        for name, part in pipeline.components.items():
            if isinstance(part, torch.nn.Module) and name not in KEPT_WHOLE:
                # Not diffusers' own method, which warns about missing float32 parts.
                torch.nn.Module.to(part, torch.bfloat16)


def build(params: AdaptParams, pipeline: InterpolationPipeline, recipe: Recipe) -> DenoiserObjective:
    """The objective for any family."""
    if params.base_dtype == "bf16" and recipe.optim.mixed_precision != "bf16":
        raise UsageError("objective.base_dtype bf16 computes in bf16; set optim.mixed_precision to bf16 as well.")
    return adapter_learns(params, pipeline, Target(true_latents), recipe.seed)
