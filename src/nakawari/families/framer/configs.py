"""Named configurations of the parts of a Framer pipeline, and an untrained pipeline made from one.

`FULL` is the released model: Framer (Wang et al. 2024) on Stable Video Diffusion XT (Blattmann et al. 2023).
`TINY` has the same parts at a size for tests and small experiments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from .autoencoder import FramerAutoencoder
from .controlnet import ControlNetSVD
from .linear_start import start_linear
from .pipeline import FramerPipeline
from .schedulers import make_scheduler
from .unet import FramerUNet

Config = Mapping[str, Mapping[str, Any]]

FULL: Config = {
    "unet": {},
    "controlnet": {},
    "vae": {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": 768,
        "scaling_factor": 0.18215,
        "force_upcast": True,
    },
    "image_encoder": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "projection_dim": 1024,
        "hidden_act": "gelu",
    },
}
"""Parameters: UNet 1,524,625,966; ControlNet 682,024,417; autoencoder 97,742,847; image encoder 632,076,800."""

TINY: Config = {
    "unet": {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        "up_block_types": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        "layers_per_block": 1,
        "num_attention_heads": (2, 4),
        "cross_attention_dim": 16,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 24,
        "num_frames": 5,
    },
    "controlnet": {"conditioning_embedding_out_channels": (4, 8, 8, 16)},
    "vae": {
        "block_out_channels": (32, 32, 32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "layers_per_block": 1,
        "latent_channels": 4,
        "sample_size": 32,
        "scaling_factor": 0.18215,
        "force_upcast": True,
    },
    "image_encoder": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 224,
        "patch_size": 56,
        "projection_dim": 16,
        "hidden_act": "gelu",
    },
}


def _autoencoder(linear_start: bool = False, **config: Any) -> FramerAutoencoder:
    vae = FramerAutoencoder(**config)
    if linear_start:
        start_linear(vae)
    return vae


def build(
    *,
    unet: Mapping[str, Any],
    vae: Mapping[str, Any],
    image_encoder: Mapping[str, Any],
    controlnet: Mapping[str, Any] | None = None,
    pipeline: Mapping[str, Any] | None = None,
) -> FramerPipeline:
    """A pipeline with random weights from torch's global generator.

    Args:
        unet: arguments of `FramerUNet`.
        vae: of `FramerAutoencoder`.
        image_encoder: of `CLIPVisionConfig`.
        controlnet: arguments of `ControlNetSVD` that the UNet does not have; it starts as a copy of the UNet's encoder.
            None = a pipeline without point control.
        pipeline: settings of `FramerPipeline`; `norm_groups` applies to all components with group norms.

    In `vae`, `linear_start: True` initialises by `linear_start.start_linear`.
    """
    settings = dict(pipeline or {})
    norms = {"norm_groups": settings.pop("norm_groups")} if "norm_groups" in settings else {}
    denoiser = FramerUNet(**{**unet, **norms}).eval()
    return FramerPipeline(
        vae=_autoencoder(**{**vae, **norms}).eval(),
        image_encoder=CLIPVisionModelWithProjection(CLIPVisionConfig(**image_encoder)).eval(),
        unet=denoiser,
        scheduler=make_scheduler("euler"),
        controlnet=None if controlnet is None else ControlNetSVD.from_unet(denoiser, **controlnet).eval(),
        **settings,
    )
