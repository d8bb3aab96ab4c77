"""A loaded pipeline set up to be drawn with in a chosen way."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from ..errors import NakawariError
from ..families.base import InterpolationPipeline
from .need import TOWERS, Offload

BACKEND = "inductor"
"""What `torch.compile` compiles with."""


def compile_steps(pipeline: InterpolationPipeline) -> None:
    """Compile the networks that run at every step, when they first run; they are whole on their device.

    Raises:
        NakawariError: this machine has no compiler.
    """
    if BACKEND == "inductor" and not _can_compile(pipeline.device.type):
        raise NakawariError("--compile needs a C++ compiler, on a GPU Triton too; install them, or leave it out.")
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
    """Place a pipeline that is on the CPU, and say whether its guidance runs in one batch.

    On a CPU nothing can wait elsewhere, so only `together` counts there.
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
    """Everything on `device`, but the towers only while they make a condition: the denoiser sends them away."""
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
