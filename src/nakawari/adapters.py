"""Adapters on a denoiser: loaded strictly, combined, merged into the weights and unmerged exactly.

An adapter is saved as one folder in both diffusers' and PEFT's layout; those of other trainers load, too, see
`families.adapter_files`. If the autoencoder's decoder was adapted, `decoder/` in it holds the adapter of the
autoencoder; if an image encoder needed an extra linear layer, it is in `image_adapter/`. A turbo adapter, which
makes its base draw in few steps, has the arguments of a call in `sampling.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .errors import NakawariError
from .families.adapter_files import weights_file
from .families.adapting import SAMPLING, few_steps, load_adapter, save_adapter, write_few_steps

if TYPE_CHECKING:
    from peft.tuners.tuners_utils import BaseTunerLayer

    from .families.base import InterpolationPipeline


def adapter_folder(folder: Path) -> Path:
    """The folder of the adapter `folder`: itself, or `best` in it if it is a run. Raises `NakawariError`."""
    return weights_file(folder).parent


def attach(pipeline: InterpolationPipeline, adapters: Sequence[tuple[Path, float]]) -> None:
    """Load adapters onto the denoiser, each with a scale on top of its alpha / rank; their changes are summed.

    Raises:
        NakawariError: a folder without an adapter, or an adapter made for other layers, widths or ranks.
    """
    for index, (source, scale) in enumerate(adapters):
        folder = load_adapter(pipeline, source, f"adapter{index}")
        if scale and (folder / SAMPLING).is_file():
            pipeline.sample_in_few_steps(few_steps(folder / SAMPLING))
    names = [f"adapter{index}" for index in range(len(adapters))]
    if names:
        pipeline.set_adapters(names, [scale for _, scale in adapters])


def adapted_networks(pipeline: InterpolationPipeline) -> list[nn.Module]:
    """The networks of a pipeline that have adapters."""
    return [part for part in pipeline.components.values() if isinstance(part, nn.Module) and adapted_layers(part)]


def save_turbo(denoiser: nn.Module, folder: Path, name: str, steps: int) -> None:
    """As `save_adapter`, for an adapter for `steps` sampling steps; see `write_few_steps`."""
    save_adapter(denoiser, folder, name)
    write_few_steps(folder, steps)


def adapted_layers(denoiser: nn.Module) -> dict[str, BaseTunerLayer]:
    """Name -> layer of all layers with an adapter."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name: module for name, module in denoiser.named_modules() if isinstance(module, BaseTunerLayer)}


@contextmanager
def disabled(*networks: nn.Module) -> Iterator[None]:
    """Disable all adapters of the networks inside the block."""
    layers = [layer for network in networks for layer in adapted_layers(network).values()]
    held = [(parameter, parameter.requires_grad) for layer in layers for parameter in layer.parameters()]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for parameter, learns in held:  # switching adapters also changes requires_grad
            parameter.requires_grad_(learns)


@torch.no_grad()
def merge(denoiser: nn.Module) -> dict[str, Tensor]:
    """Merge the active adapters into the weights, each at its scale, so that they cost no time.

    Returns: the original weights by layer name, for `unmerge`; {} if everything was merged already.

    Raises:
        NakawariError: the denoiser is quantized.
    """
    kept = {}
    for name, layer in adapted_layers(denoiser).items():
        if "weight" not in layer.get_base_layer()._parameters:
            raise NakawariError(
                f"Adapters cannot be merged into {name}, which is quantized; merge into the full model, then quantize."
            )
        if not layer.merged:
            kept[name] = layer.get_base_layer().weight.clone()
            layer.merge(safe_merge=True)
    return kept


@torch.no_grad()
def unmerge(denoiser: nn.Module, kept: Mapping[str, Tensor]) -> None:
    """Undo `merge` bit for bit: restore the weights that it returned and separate the adapters again."""
    for name, layer in adapted_layers(denoiser).items():
        if name in kept:
            layer.get_base_layer().weight.copy_(kept[name])
            layer.merged_adapters.clear()


def bake(denoiser: nn.Module) -> None:
    """Merge permanently: the denoiser is a plain model afterwards, saved and loaded without adapters."""
    merge(denoiser)
    for name, layer in adapted_layers(denoiser).items():
        parent, _, child = name.rpartition(".")
        setattr(denoiser.get_submodule(parent), child, layer.get_base_layer())
    denoiser._hf_peft_config_loaded = False
    if hasattr(denoiser, "peft_config"):
        del denoiser.peft_config


def bake_all(pipeline: InterpolationPipeline) -> None:
    """`bake` every network with adapters."""
    for network in adapted_networks(pipeline):
        bake(network)
