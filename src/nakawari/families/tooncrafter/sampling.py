"""Sampling with a `ToonCrafterScheduler`, shared by families, and its noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from .scheduler import ToonCrafterScheduler

Generators = Generator | Sequence[Generator] | None
OutputType = Literal["pil", "np", "pt", "latent"]
OnStep = Callable[[int, int, Tensor, Tensor], Tensor | None]


def draw_noise(like: Tensor, generator: Generators) -> Tensor:
    """Standard normal noise of the shape of `like` (B, ...), float32, drawn on the CPU, sample by sample."""
    generators = generator if isinstance(generator, Sequence) else [generator] * len(like)
    if len(generators) != len(like):
        raise ValueError(f"{len(like)} samples need as many generators, not {len(generators)}")
    return torch.stack([torch.randn(like.shape[1:], generator=g) for g in generators]).to(like.device)


def sample(
    scheduler: ToonCrafterScheduler,
    answer: Callable[[Tensor, int, int], Tensor],
    x: Tensor,
    *,
    eta: float,
    temperature: float,
    generator: Generators,
    progress: Callable[[list[int]], Iterable[int]],
    on_step: OnStep,
) -> Tensor:
    """Clean latents from noise `x` (B, F, C, h, w), float32.

    Args:
        scheduler: with its timesteps set.
        answer: (x_t, time, number of the step) -> the network's output with guidance, float32.
        eta, temperature: see `ToonCrafterScheduler.step`.
        generator: for the noise of the steps.
        progress: wraps the timesteps in a progress bar.
        on_step: called with (number, time, x, x0) after each step; may return another x.
    """
    times = scheduler.timesteps.tolist()
    # Moved to the device before the first step, so that steps need not wait for copies.
    noises = {time: draw_noise(x, generator) for time in times if scheduler.wants_noise(time, eta)}
    for number, time in enumerate(progress(times)):
        output = answer(x, time, number)
        x, x0 = scheduler.step(output, time, x, eta, noises.get(time), temperature, return_dict=False)
        changed = on_step(number, time, x, x0)
        x = x if changed is None else changed
    return x
