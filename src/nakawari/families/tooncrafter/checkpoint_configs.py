"""Derive the configuration of every component from the tensor shapes of an upstream checkpoint.

Shapes determine widths, depths and components; the rest (number of norm groups, width of some attention heads) is
the same in all published checkpoints of this architecture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import CLIPTextModel, CLIPVisionModel

from . import towers
from .checkpoint_layout import (
    RESAMPLER_PREFIX,
    TEXT_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    VISUAL_PREFIX,
    last_text_block,
)
from .resampler import Resampler
from .unet import INIT_ATTENTION_HEADS, ToonCrafterUNet
from .vae import DualReferenceAutoencoder

Shapes = Mapping[str, Sequence[int]]

HEAD_DIM = 64
QUERIES_PER_FRAME = 16
FUSION_HEADS = 8
VISION_HEAD_DIMS = {1280: 80, 1408: 88, 1664: 104}
"""Head width of OpenCLIP's H, g and bigG image towers by width; 64 for all others."""


def _below(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    return {key.removeprefix(prefix): tuple(shape) for key, shape in shapes.items() if key.startswith(prefix)}


def _count(shapes: Shapes, pattern: str) -> int:
    """One more than the largest index that `pattern` matches at the start of a name."""
    found = [int(match[1]) for key in shapes if (match := re.match(pattern, key))]
    return max(found, default=-1) + 1


def _fps_key(shapes: Shapes) -> bool:
    return any(key.startswith(("fps_embedding.", "framestride_embed.")) for key in shapes)


def unet_config(shapes: Shapes) -> dict[str, Any]:
    """Keyword arguments of `ToonCrafterUNet` for an upstream state dict's shapes. KeyError names what is missing."""
    unet = _below(shapes, UNET_PREFIX)
    channels = unet["input_blocks.0.0.weight"][0]
    levels: list[list[int]] = [[]]
    attention = set()
    for index in range(1, _count(unet, r"input_blocks\.(\d+)\.")):
        if f"input_blocks.{index}.0.op.weight" in unet:
            levels.append([])
            continue
        levels[-1].append(unet[f"input_blocks.{index}.0.out_layers.3.weight"][0])
        if f"input_blocks.{index}.1.proj_in.weight" in unet:
            attention.add(2 ** (len(levels) - 1))
    cross = "middle_block.1.transformer_blocks.0.attn2."
    joint = unet.get("init_attn.0.proj_in.weight")
    return {
        "in_channels": unet["input_blocks.0.0.weight"][1],
        "out_channels": unet["out.2.weight"][0],
        "model_channels": channels,
        "attention_resolutions": tuple(sorted(attention)),
        "num_res_blocks": len(levels[0]),
        "channel_mult": tuple(level[-1] // channels for level in levels if level),
        "num_head_channels": joint[0] // INIT_ATTENTION_HEADS if joint else HEAD_DIM,
        "transformer_depth": _count(unet, r"middle_block\.1\.transformer_blocks\.(\d+)\."),
        "context_dim": unet[cross + "to_k.weight"][1],
        "temporal_length": resampler_config(shapes)["video_length"],
        "addition_attention": joint is not None,
        "image_cross_attention": cross + "to_k_ip.weight" in unet,
        "image_cross_attention_scale_learnable": cross + "alpha" in unet,
        "fps_condition": _fps_key(unet),
    }


def vae_config(shapes: Shapes) -> dict[str, Any]:
    """Keyword arguments of `DualReferenceAutoencoder`. KeyError names what is missing."""
    vae = _below(shapes, VAE_PREFIX)
    channels, in_channels = vae["encoder.conv_in.weight"][:2]
    levels = _count(vae, r"encoder\.down\.(\d+)\.")
    fusion = [level for level in range(levels) if f"decoder.attn_refinement.{level}.to_q.weight" in vae]
    config = {
        "in_channels": in_channels,
        "out_channels": vae["decoder.conv_out.weight"][0],
        "latent_channels": vae["decoder.conv_in.weight"][1],
        "ch": channels,
        "ch_mult": tuple(vae[f"encoder.down.{i}.block.0.conv1.weight"][0] // channels for i in range(levels)),
        "num_res_blocks": _count(vae, r"encoder\.down\.0\.block\.(\d+)\."),
        "attn_levels": tuple(fusion),
        "mid_attention": "encoder.mid.attn_1.q.weight" in vae,
        "fusion_heads": FUSION_HEADS,
    }
    if fusion:
        config["fusion_head_dim"] = vae[f"decoder.attn_refinement.{fusion[0]}.to_q.weight"][0] // FUSION_HEADS
    return config


def resampler_config(shapes: Shapes) -> dict[str, Any]:
    """Keyword arguments of `Resampler`. KeyError names what is missing."""
    resampler = _below(shapes, RESAMPLER_PREFIX)
    _, queries, dim = resampler["latents"]
    return {
        "dim": dim,
        "depth": _count(resampler, r"layers\.(\d+)\."),
        "dim_head": HEAD_DIM,
        "heads": resampler["layers.0.0.to_q.weight"][0] // HEAD_DIM,
        "num_queries": QUERIES_PER_FRAME,
        "embedding_dim": resampler["proj_in.weight"][1],
        "output_dim": resampler["proj_out.weight"][0],
        "ff_mult": resampler["layers.0.1.1.weight"][0] // dim,
        "video_length": queries // QUERIES_PER_FRAME,
    }


def text_tower_config(shapes: Shapes) -> dict[str, Any]:
    """Keyword arguments of `towers.text_config`. KeyError names what is missing."""
    text = _below(shapes, TEXT_PREFIX)
    vocabulary, width = text["token_embedding.weight"]
    return {
        "width": width,
        "layers": last_text_block(shapes),
        "heads": width // HEAD_DIM,
        "vocab_size": vocabulary,
        "context_length": text["positional_embedding"][0],
    }


def image_tower_config(shapes: Shapes) -> dict[str, Any]:
    """Keyword arguments of `towers.vision_config`. KeyError names what is missing."""
    visual = _below(shapes, VISUAL_PREFIX)
    width, _, patch, _ = visual["conv1.weight"]
    side = round((visual["positional_embedding"][0] - 1) ** 0.5)
    return {
        "width": width,
        "layers": _count(visual, r"transformer\.resblocks\.(\d+)\."),
        "heads": width // VISION_HEAD_DIMS.get(width, HEAD_DIM),
        "patch_size": patch,
        "image_size": side * patch,
    }


_BUILDERS: dict[str, tuple[Callable[[Shapes], dict[str, Any]], Callable[..., nn.Module]]] = {
    "unet": (unet_config, ToonCrafterUNet),
    "vae": (vae_config, DualReferenceAutoencoder),
    "text_encoder": (text_tower_config, lambda **config: CLIPTextModel(towers.text_config(**config))),
    "image_encoder": (image_tower_config, lambda **config: CLIPVisionModel(towers.vision_config(**config))),
    "resampler": (resampler_config, Resampler),
}
_PREFIXES = {
    "unet": UNET_PREFIX,
    "vae": VAE_PREFIX,
    "text_encoder": TEXT_PREFIX,
    "image_encoder": VISUAL_PREFIX,
    "resampler": RESAMPLER_PREFIX,
}


def build_empty(component: str, shapes: Shapes) -> nn.Module:
    """The module of one component on the meta device, with its size from the shapes.

    Raises:
        KeyError: with the upstream name of a required missing tensor.
        ValueError: the shapes contradict each other.
    """
    config, make = _BUILDERS[component]
    try:
        found = config(shapes)
    except KeyError as error:
        # Resampler shapes are also read for the denoiser; its own check reports them with the correct prefix.
        prefix = RESAMPLER_PREFIX if error.args[0] == "latents" else _PREFIXES[component]
        raise KeyError(prefix + error.args[0]) from error
    with torch.device("meta"):
        return make(**found)
