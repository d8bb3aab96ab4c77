"""Set up a loaded pipeline with the chosen memory settings."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from ..errors import NakawariError
from ..families.base import InterpolationPipeline
from .need import TOWERS, Offload

BACKEND = "inductor"
"""Options of `torch.compile`."""


def compile_steps(pipeline: InterpolationPipeline) -> None:
    """Compile the networks that run at every step, on their first call; they must be entirely on their device.

    Raises:
        NakawariError: no compiler is installed.
    """
    if BACKEND == "inductor" and not _can_compile(pipeline.device.type):
        raise NakawariError(
            "--compile needs a C++ compiler, on a GPU also Triton; install them, or leave out --compile."
        )
    for network in (pipeline.denoiser, pipeline.components.get("controlnet")):
        if isinstance(network, torch.nn.Module):
            network.compile(backend=BACKEND)


def _can_compile(device: str) -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError:
        return False
    return device == "cpu" or find_spec("triton") is not None


def apply(pipeline: InterpolationPipeline, device: str, offload: Offload, *, together: bool) -> None:
    """Move a pipeline from the CPU to its device with offloading, and set whether guidance runs in one batch.

    On a CPU there is no offloading, so only `together` has an effect.
    """
    if hasattr(pipeline, "batched_guidance"):
        pipeline.batched_guidance = together
    if device == "cpu" or offload == "none":
        pipeline.to(device)
    elif offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        towers_wait(pipeline, device)


def towers_wait(pipeline: InterpolationPipeline, device: str) -> None:
    """Put everything on `device`; the encoders only while they encode a condition: the denoiser's first call offloads
    them."""
    from accelerate import cpu_offload_with_hook

    pipeline.to(device)
    hooks = [
        cpu_offload_with_hook(part, torch.device(device))[1]
        for part in (pipeline.components.get(name) for name in TOWERS)
        if isinstance(part, torch.nn.Module)
    ]

    def send_away(*_: Any) -> None:
        for hook in hooks:
            hook.offload()

    pipeline.denoiser.register_forward_pre_hook(send_away)
