"""Part e: sampling under the memory limit of a small card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from nakawari.families.base import InterpolationPipeline

from . import models
from .session import Found, Session
from .speed import whole

STAGES: dict[str, dict[str, Sequence[str]]] = {
    "tooncrafter": {
        "condition": ("text_encoder", "image_encoder", "resampler", "vae"),
        "denoise": ("unet",),
        "decode": ("vae",),
    },
    "framer": {
        "image_tokens": ("image_encoder",),
        "condition": ("vae",),
        "network": ("unet", "controlnet"),
        "decode": ("vae",),
    },
}
"""Networks that each part of a call needs on the device."""


def run(session: Session, family: str, gigabytes: float, *ways: str) -> None:
    """All settings, or the named ones, from the plain one to the one with least memory; 2 steps each, as memory is the
    same at every step."""
    settings = session.settings
    if settings.cuda:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(gigabytes * 1e9 / total)
    drew = [
        session.measure(f"{family} {gigabytes:g} GB, {name}", 10, lambda way=way: way(session, family))
        for name, way in WAYS.items()
        if not ways or name in ways
    ]
    session.send(f"{family} {gigabytes:g} GB", {"draws": any(found is not None for found in drew)})


def resident(session: Session, family: str) -> Found:
    """Everything on the device in fp16, both branches together, the decoder on all frames."""
    return whole(models.pipeline(session.settings, family, torch.float16), session, 2)


def model_offload(session: Session, family: str) -> Found:
    """As in diffusers: unused networks are offloaded to CPU memory."""
    pipe = thrifty(models.pipeline(session.settings, family, torch.float16, "cpu"))
    if session.settings.cuda:
        pipe.enable_model_cpu_offload()
    return whole(pipe, session, 2)


def by_stage(session: Session, family: str) -> Found:
    """Only the networks of the current part of a call are on the device."""
    pipe = thrifty(models.pipeline(session.settings, family, torch.float16, "cpu"))
    return whole(staged(pipe, session.settings.device), session, 2)


def by_stage_int8(session: Session, family: str) -> Found:
    """The same with an 8-bit denoiser."""
    pipe = thrifty(models.pipeline(session.settings, family, torch.float16, "cpu"))
    # On a CPU packing takes most of a minute.
    unet = models.at_precision(pipe.unet.to(session.settings.device), "int8").to("cpu", torch.float16)
    pipe.register_modules(unet=unet)
    return whole(staged(pipe, session.settings.device), session, 2)


WAYS: dict[str, Callable[[Session, str], Found]] = {
    "resident": resident,
    "model offload": model_offload,
    "by stage": by_stage,
    "by stage int8": by_stage_int8,
}


def thrifty(pipe: InterpolationPipeline) -> InterpolationPipeline:
    """Guidance branches one at a time, if the family supports it."""
    if hasattr(pipe, "batched_guidance"):
        pipe.batched_guidance = False
    return pipe


def staged(pipe: InterpolationPipeline, device: str) -> InterpolationPipeline:
    """The pipeline with every part of a call wrapped: its networks are moved to the device, the others off it."""
    runs_on = type(f"Staged{type(pipe).__name__}", (type(pipe),), {"_execution_device": torch.device(device)})
    pipe.__class__ = runs_on
    networks = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    for stage, needed in STAGES[pipe.family].items():
        setattr(runs_on, stage, _with_networks(getattr(runs_on, stage), networks, needed, device))
    return pipe


def _with_networks(
    method: Callable[..., Any], networks: dict[str, torch.nn.Module], needed: Sequence[str], device: str
) -> Callable[..., Any]:
    def run(self: InterpolationPipeline, *args: Any, **options: Any) -> Any:
        moved = False
        for name, network in networks.items():
            goal = torch.device(device if name in needed else "cpu")
            if network.device.type != goal.type:
                network.to(goal)
                moved = True
        if moved:
            clean_cache()
        return method(self, *args, **options)

    return run


def clean_cache() -> None:
    """Release the allocator's free blocks without resetting the peak."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
