"""Pipelines of the published size with random weights, and their inputs.

Weights preserve the scale of activations; zero-initialised ones are random too, so that nothing is timed
or compared with zeros.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

from nakawari.families.base import Condition, InterpolationPipeline
from nakawari.families.framer.configs import FULL, TINY
from nakawari.families.framer.controlnet import ControlNetSVD
from nakawari.families.framer.pipeline import FramerPipeline
from nakawari.families.framer.schedulers import make_scheduler
from nakawari.families.framer.unet import FramerUNet
from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline
from nakawari.families.tooncrafter.resampler import Resampler
from nakawari.families.tooncrafter.scheduler import ToonCrafterScheduler
from nakawari.families.tooncrafter.towers import text_config, vision_config
from nakawari.families.tooncrafter.unet import ToonCrafterUNet
from nakawari.families.tooncrafter.vae import DualReferenceAutoencoder
from nakawari.quantization.precisions import HALVES, quantize_layers, uniform

from .session import Settings

FAMILIES = ("tooncrafter", "framer")
FRAMES = {"tooncrafter": 16, "framer": 14}
"""Number of frames of the released models."""
STEPS = {"tooncrafter": 50, "framer": 30}
PRECISIONS = ("fp32-strict", "fp32", "tf32", "fp16", "bf16", "int8", "int8-dynamic", "fp8", "fp8-dynamic")
"""`fp32` is torch's default: TF32 in convolutions, not in matrix products. `fp32-strict` has none, `tf32` in both.
Below 16 bits the layers are packed and the rest is bf16."""


def clip_shape(settings: Settings, family: str) -> tuple[int, int, int]:
    """Frames, height and width."""
    return (6, 32, 32) if settings.tiny else (FRAMES[family], 320, 512)


def made(build: Callable[[], nn.Module], device: str, dtype: torch.dtype, seed: int = 0) -> Any:
    """A network on `device` with random weights, without additional memory."""
    with torch.device("meta"):
        module = build()
    return _filled(module.to(dtype).to_empty(device=device), seed).eval().requires_grad_(False)


@torch.no_grad()
def _filled(module: nn.Module, seed: int) -> nn.Module:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    generator = torch.Generator(tensors[0][1].device).manual_seed(seed)
    for name, value in tensors:
        if not value.is_floating_point():  # token positions
            value.copy_(torch.arange(value.numel()).reshape(value.shape))
        elif value.ndim > 1:
            value.normal_(0, 0.5 / math.sqrt(value[0].numel()), generator=generator)
        else:
            value.fill_(float(name.endswith("weight")))
    return module


def pipeline(settings: Settings, family: str, dtype: torch.dtype, device: str | None = None) -> InterpolationPipeline:
    """A whole pipeline, each part made on the run's device and then moved to `device`."""
    parts = {
        name: made(build, settings.device, dtype, seed).to(device or settings.device)
        for seed, (name, build) in enumerate(_builders(settings, family).items())
    }
    return _whole(family, parts)


def shapes_only(settings: Settings, family: str) -> InterpolationPipeline:
    """A whole pipeline on the meta device, for counting FLOPs."""
    with torch.device("meta"):
        parts = {name: build().eval().requires_grad_(False) for name, build in _builders(settings, family).items()}
    # Some parameters of diffusers are always created on the CPU.
    return _whole(family, {name: part.to("meta") for name, part in parts.items()})


def _builders(settings: Settings, family: str) -> dict[str, Callable[[], nn.Module]]:
    return (_framer if family == "framer" else _tooncrafter)(settings)


def _whole(family: str, parts: dict[str, nn.Module]) -> InterpolationPipeline:
    if family == "framer":
        pipe: InterpolationPipeline = FramerPipeline(**parts, scheduler=make_scheduler("euler"))
    else:
        pipe = ToonCrafterPipeline(**parts, scheduler=ToonCrafterScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _tooncrafter(settings: Settings) -> dict[str, Callable[[], nn.Module]]:
    tower, unet, vae, resampler = {}, {}, {}, {}
    if settings.tiny:
        frames = clip_shape(settings, "tooncrafter")[0]
        tower = {"width": 32, "layers": 1, "heads": 2}
        unet = {"model_channels": 32, "num_head_channels": 16, "context_dim": 32, "num_res_blocks": 1}
        unet |= {"channel_mult": (1, 2), "attention_resolutions": (1, 2)}
        vae = {"ch": 32, "ch_mult": (1, 1, 1, 1), "num_res_blocks": 1, "fusion_heads": 2, "fusion_head_dim": 16}
        resampler = {"dim": 32, "depth": 1, "dim_head": 16, "heads": 2, "num_queries": 16, "embedding_dim": 32}
        resampler |= {"output_dim": 32, "video_length": frames}
    return {
        "unet": lambda: ToonCrafterUNet(**unet),
        "vae": lambda: DualReferenceAutoencoder(**vae),
        "resampler": lambda: Resampler(**resampler),
        "text_encoder": lambda: CLIPTextModel(text_config(**tower)),
        "image_encoder": lambda: CLIPVisionModel(vision_config(**tower)),
    }


def _framer(settings: Settings) -> dict[str, Callable[[], nn.Module]]:
    config = TINY if settings.tiny else FULL
    return {
        "unet": lambda: FramerUNet(**config["unet"]),
        "controlnet": lambda: ControlNetSVD.from_unet(FramerUNet(**config["unet"]), **config["controlnet"]),
        "vae": lambda: AutoencoderKLTemporalDecoder(**config["vae"]),
        "image_encoder": lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**config["image_encoder"])),
    }


def set_tf32(precision: str) -> None:
    """Set TF32 for float32 products, see `PRECISIONS`."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision != "fp32-strict"


def dtype_of(precision: str) -> torch.dtype:
    """Dtype of activations, and of weights that are not packed."""
    exact = precision in ("fp32-strict", "fp32", "tf32")
    return torch.float32 if exact else HALVES.get(precision, torch.bfloat16)


def at_precision(network: nn.Module, precision: str) -> nn.Module:
    """A converted copy of a float32 network; the network itself if nothing changes."""
    dtype = dtype_of(precision)
    if dtype == torch.float32:
        return network
    cast = copy.deepcopy(network).to(dtype)
    if precision not in HALVES:
        quantize_layers(cast, uniform(cast, precision))
    return cast.eval()


def keys(settings: Settings, family: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two key drawings (1, 3, H, W) in [-1, 1]: soft random shapes."""
    _, height, width = clip_shape(settings, family)
    coarse = torch.rand(2, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    drawn = nn.functional.interpolate(coarse, (height, width), mode="bilinear").to(settings.device)
    return drawn[:1], drawn[1:]


def tracks(settings: Settings) -> np.ndarray:
    """Two moving points of a Framer clip, (F, 2, 2) in pixels."""
    frames, height, width = clip_shape(settings, "framer")
    size = np.array([width, height])
    return np.linspace(size * [[0.2, 0.3], [0.6, 0.5]], size * [[0.5, 0.4], [0.8, 0.7]], frames)


@torch.no_grad()
def condition(pipe: InterpolationPipeline, settings: Settings, seed: int = 0) -> Condition:
    """The condition of one clip; for Framer with point control."""
    frames = clip_shape(settings, pipe.family)[0]
    control = [tracks(settings)] if pipe.family == "framer" else None
    return pipe.condition(*keys(settings, pipe.family, seed), num_frames=frames, control=control)


def both_branches(pipe: InterpolationPipeline, told: Condition) -> Condition:
    """The condition of a guided step whose two branches are one batch."""
    return Condition.cat([pipe.unconditional(told), told])


def noise(pipe: InterpolationPipeline, told: Condition) -> Tensor:
    """Noisy latents of one clip, repeated if `told` has two branches."""
    channels = pipe.denoiser.config.out_channels
    one = torch.randn(1, *told.latents.shape[1:2], channels, *told.latents.shape[3:], device="cpu")
    return one.to(told.latents.device).expand(told.batch, -1, -1, -1, -1).contiguous()


@torch.no_grad()
def evaluate(pipe: InterpolationPipeline, x: Tensor, told: Condition) -> Tensor:
    """The network output in the middle of sampling, in the network's dtype as in a call."""
    dtype = pipe.denoiser.dtype
    if pipe.family == "framer":
        time = torch.tensor(0.25, device=x.device)
        return pipe.network(x.to(dtype), time, told, branches=told.batch)[0].sample
    times = torch.full((len(x),), 500, device=x.device)
    return pipe.denoise(x.to(dtype), times, told)


def call(pipe: InterpolationPipeline, settings: Settings, steps: int, seed: int = 0, **options: Any) -> Tensor:
    """One guided call of the pipeline, frames (1, F, 3, H, W) in [0, 1]."""
    if pipe.family == "framer":
        options |= {"tracks": [tracks(settings)]}
    frames = clip_shape(settings, pipe.family)[0]
    return pipe(
        *keys(settings, pipe.family, seed),
        num_frames=frames,
        num_inference_steps=steps,
        generator=[torch.Generator().manual_seed(seed)],
        output_type="pt",
        **options,
    ).frames
