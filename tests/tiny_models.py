"""Tiny, untrained models of the ToonCrafter and mini families, every weight random."""

from __future__ import annotations

from typing import Any

import torch
from transformers import CLIPTextModel, CLIPVisionModel

from nakawari.families import build
from nakawari.families.mini.pipeline import MiniPipeline
from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline
from nakawari.families.tooncrafter.resampler import Resampler
from nakawari.families.tooncrafter.scheduler import ToonCrafterScheduler
from nakawari.families.tooncrafter.towers import text_config, vision_config
from nakawari.families.tooncrafter.unet import ToonCrafterUNet
from nakawari.families.tooncrafter.vae import DualReferenceAutoencoder

STEPS = 4
"""Of a call that names none."""
UNET: dict[str, Any] = {
    "in_channels": 8,
    "model_channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "num_head_channels": 8,
    "context_dim": None,
    "image_cross_attention": False,
    "addition_attention": False,
    "fps_condition": False,
    "norm_num_groups": 4,
    "dropout": 0.0,
}
VAE: dict[str, Any] = {
    "ch": 8,
    "ch_mult": (1, 2),
    "num_res_blocks": 1,
    "attn_levels": (),
    "mid_attention": False,
    "norm_num_groups": 4,
}


def shaken(module: torch.nn.Module, seed: int = 0) -> None:
    """Fill every parameter with small random values, zero-initialised ones included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


def plain_model(seed: int = 0) -> ToonCrafterPipeline:
    """A model without encoders and without motion guidance."""
    settings = {"max_frames": 8, "default_steps": STEPS}
    pipeline = build({"family": "tooncrafter", "unet": UNET, "vae": VAE, "pipeline": settings})
    return _finished(pipeline, seed)


def mini_model(seed: int = 0) -> MiniPipeline:
    """The bundled mini, but narrower."""
    unet = {"model_channels": 8, "num_head_channels": 8, "norm_num_groups": 4, "guide_hidden": 4}
    pipeline = build({"family": "mini", "unet": unet, "pipeline": {"max_frames": 8, "default_steps": 2}})
    shaken(pipeline.unet, seed)
    pipeline.unet.eval()
    pipeline.vae.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def towered_model(projector: int = 6) -> ToonCrafterPipeline:
    """A tiny model with CLIP encoders, the image encoder of width 8, all weights random."""
    torch.manual_seed(0)
    context = {"context_dim": 8, "image_cross_attention": True, "image_tokens_per_frame": 2}
    pipeline = ToonCrafterPipeline(
        unet=ToonCrafterUNet(**UNET | context),
        vae=DualReferenceAutoencoder(**VAE),
        scheduler=ToonCrafterScheduler(),
        resampler=Resampler(8, 1, 4, 2, num_queries=2, embedding_dim=projector, output_dim=8, video_length=3),
        text_encoder=CLIPTextModel(text_config(width=8, layers=1, heads=2)),
        image_encoder=CLIPVisionModel(vision_config(width=8, layers=1, heads=2, patch_size=112)),
        double_decode=False,
        default_steps=STEPS,
    )
    for part in (pipeline.resampler, pipeline.text_encoder, pipeline.image_encoder):
        part.eval()
    return _finished(pipeline, 0)


def _finished(pipeline: ToonCrafterPipeline, seed: int) -> ToonCrafterPipeline:
    for part in (pipeline.unet, pipeline.vae):
        shaken(part, seed)
        part.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
