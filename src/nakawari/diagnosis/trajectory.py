"""Trajectory of a sampler: x_t and the clean latents predicted by each network output, step by step."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..diffusion import EDMProcess, Process
from ..families.base import InterpolationPipeline


@dataclass(frozen=True)
class Moments:
    """Per sample (B,): mean, standard deviation and Euclidean norm over all other axes; float64."""

    mean: Tensor
    std: Tensor
    norm: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Moments:
        """The moments of (B, ...)."""
        flat = values.detach().double().flatten(1).cpu()
        return cls(flat.mean(1), flat.std(1, correction=0), flat.norm(dim=1))

    @classmethod
    def cat(cls, parts: Sequence[Moments]) -> Moments:
        """Concatenate several batches."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ("mean", "std", "norm")))


@dataclass(frozen=True)
class Step:
    """One sampling step. `time`: in the units of the process (an integer step, or sigma); `signal`, `sigma`: the
    factors of clean latents and noise in x_t there; `x_t`, `x0`: moments before the step."""

    time: float
    signal: float
    sigma: float
    x_t: Moments
    x0: Moments


@dataclass
class Trajectory:
    """All steps of one call, and the first step's tensors (B, F, C, h, w): x_t, guided network output, time (B,)."""

    steps: list[Step] = field(default_factory=list)
    first: tuple[Tensor, Tensor, Tensor] | None = None


@contextmanager
def recorded(pipeline: InterpolationPipeline) -> Iterator[Trajectory]:
    """Record every step that the pipeline's scheduler takes inside the block.

    The network output is read at the scheduler's input, so guidance is included for every family.
    """
    trajectory = Trajectory()
    scheduler, process = pipeline.scheduler, pipeline.process
    original = scheduler.step

    @functools.wraps(original)
    def step(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        time = _time(process, scheduler, timestep, len(trajectory.steps))
        times = torch.full((len(sample),), time, device=sample.device)
        noisy, output = sample.float(), model_output.float()
        if trajectory.first is None:
            trajectory.first = (noisy.cpu().clone(), output.cpu().clone(), times.cpu())
        estimate = process.x0(output, noisy, times)
        signal, sigma = (float(factor(times[:1])) for factor in (process.signal, process.sigma))
        trajectory.steps.append(Step(time, signal, sigma, Moments.of(noisy), Moments.of(estimate)))
        return original(model_output, timestep, sample, *args, **kwargs)

    scheduler.step = step
    try:
        yield trajectory
    finally:
        scheduler.step = original


def _time(process: Process, scheduler: Any, timestep: Any, index: int) -> float:
    """The scheduler's time in the units of the process: EDM schedulers use ln(sigma) / 4, the process uses sigma."""
    return float(scheduler.sigmas[index]) if isinstance(process, EDMProcess) else float(timestep)


def join(trajectories: Sequence[Trajectory]) -> Trajectory:
    """Concatenate the trajectories of several batches, step by step, including `first`."""
    steps = [
        Step(
            group[0].time,
            group[0].signal,
            group[0].sigma,
            Moments.cat([step.x_t for step in group]),
            Moments.cat([step.x0 for step in group]),
        )
        for group in zip(*(trajectory.steps for trajectory in trajectories), strict=True)
    ]
    firsts = [trajectory.first for trajectory in trajectories if trajectory.first is not None]
    if not firsts or len({first[0].shape[1:] for first in firsts}) > 1:
        return Trajectory(steps)
    return Trajectory(steps, tuple(torch.cat(parts) for parts in zip(*firsts, strict=True)))  # type: ignore[arg-type]
