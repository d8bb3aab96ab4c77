"""Part d: one optimizer step of a rank-16 adapter on the full denoiser, a bf16 base, one clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nakawari.families.base import Condition, InterpolationPipeline
from nakawari.training.lora import add_lora
from nakawari.training.objectives.params_parts import LoraParams

from . import models
from .session import Found, Session, clean, peak, synchronise, timed

TARGETS = {"tooncrafter": "spatial-cross-attention", "framer": "attention"}


def run(session: Session, family: str) -> None:
    """With and without activation checkpointing."""
    pipe = models.pipeline(session.settings, family, torch.bfloat16)
    told = models.condition(pipe, session.settings)
    keep_only_the_denoiser(pipe)
    for name, checkpointing in (("checkpointing", True), ("all activations kept", False)):
        session.measure(
            f"{family} rank 16, {name}",
            10,
            lambda checkpointing=checkpointing: step(pipe, told, TARGETS[family], checkpointing),
        )


def keep_only_the_denoiser(pipe: InterpolationPipeline) -> None:
    """Free all other networks: training encodes once, then keeps only the denoiser and its conditions."""
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module) and name not in ("unet", "controlnet"):
            part.to("cpu")


def step(pipe: InterpolationPipeline, told: Condition, target: str, checkpointing: bool) -> Found:
    """Forward, backward and AdamW on the adapter, with float32 weights under bf16 autocast."""
    denoiser = pipe.denoiser
    if not getattr(denoiser, "peft_config", None):
        add_lora(pipe, LoraParams(target=target, rank=16))
    (denoiser.enable_gradient_checkpointing if checkpointing else denoiser.disable_gradient_checkpointing)()
    torch.manual_seed(0)
    x0, noise = models.noise(pipe, told), models.noise(pipe, told)
    learning = [value for value in denoiser.parameters() if value.requires_grad]
    return learnt(pipe, learning, lambda: loss_of(pipe, x0, noise, told, x0.device))


def learnt(pipe: InterpolationPipeline, learning: Sequence[Tensor], loss: Callable[[], Tensor]) -> Found:
    """Time and peak memory of an AdamW step after a first one, number of trained values, and whether any changed."""
    optimizer = torch.optim.AdamW(learning, lr=1e-4)

    def once() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    once()
    synchronise()
    clean()
    found = timed(once, 2, 0) | peak()
    return found | {"trained": sum(value.numel() for value in learning), "moved": moved(pipe)}


def moved(pipe: InterpolationPipeline) -> bool:
    """Whether the weights changed: the B matrices of an adapter start at zero."""
    return any(bool(value.any()) for name, value in pipe.denoiser.named_parameters() if "lora_B" in name)


def loss_of(pipe: InterpolationPipeline, x0: Tensor, noise: Tensor, told: Condition, device: torch.device) -> Tensor:
    """Mean squared error of the network output in the middle of the schedule."""
    process = pipe.process
    middle = process.sampling_times(3)[1]
    t = middle.to(device).expand(len(x0))
    noisy = process.add_noise(x0, noise, t)
    with torch.autocast(device.type, torch.bfloat16):
        answer = pipe.denoise(noisy, t, told)
    return (answer.float() - process.output(x0, noise, t)).square().mean()
