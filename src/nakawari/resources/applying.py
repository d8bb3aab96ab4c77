"""A loaded pipeline set up to be drawn with in a chosen way."""

from __future__ import annotations

from typing import Any

import torch

from ..families.base import InterpolationPipeline
from .need import TOWERS, Offload


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
