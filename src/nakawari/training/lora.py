"""Low-rank adapters (LoRA, Hu et al. 2022) on a denoiser, by PEFT through diffusers' adapter mixin."""

from __future__ import annotations

import re

import torch
from torch import nn

from ..errors import UsageError
from ..families.adapting import ADAPTABLE, autoencoder
from ..families.base import InterpolationPipeline
from .objectives.params_parts import LoraParams

ADAPTER = "default"


def train_adapter(networks: nn.Module, mode: bool) -> None:
    """Enable dropout only in the adapter: the frozen base computes the same in training and in use."""
    networks.eval()
    for name, module in networks.named_modules():
        if ".lora_dropout." in name:
            module.train(mode)


def add_lora(pipeline: InterpolationPipeline, params: LoraParams) -> list[str]:
    """Add a new adapter with float32 weights to the denoiser, and one to the decoder if `decoder_rank` is set.

    Only they are trained. Returns the adapted layers' names in the denoiser.

    Raises:
        UsageError: the target matches no layer.
        NakawariError: the model's decoder takes no adapter.
    """
    names = pipeline.lora_layers(params.target)
    _add(pipeline.denoiser, names, params.rank, params)
    if params.decoder_rank:
        vae = autoencoder(pipeline)
        # Temporal convolutions have a different constructor, which PEFT cannot call.
        inside = [name for name, layer in vae.named_modules() if type(layer) in ADAPTABLE]
        layers = [name for name in inside if name.startswith("decoder.")]
        if not layers:
            raise UsageError("The decoder of this model has no networks to adapt; set decoder_rank to 0.")
        _add(vae, layers, params.decoder_rank, params)
    return names


def _add(network: nn.Module, layers: list[str], rank: int, params: LoraParams) -> None:
    from peft import LoraConfig

    config = LoraConfig(
        r=rank,
        lora_alpha=rank if params.alpha is None else params.alpha,
        lora_dropout=params.dropout,
        init_lora_weights=True if params.init == "kaiming" else params.init,
        use_rslora=params.rslora,
        use_dora=params.dora,
        target_modules="|".join(re.escape(name) for name in layers),
    )
    network.requires_grad_(False)
    network.add_adapter(config, ADAPTER)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
