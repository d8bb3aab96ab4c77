"""Targets of the clean latents: the truth, or a teacher's prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...families.base import Condition, InterpolationPipeline
from ...families.tooncrafter.guidance import Guidance
from ..drawings import Drawings
from ..guards import check
from ..teacher import Teacher
from .base import Batch


class Noised(NamedTuple):
    """A noised batch: x_t = `noisy`, made of `x0` and `noise` (B, F, C, h, w), at times `t` (B,); `guided` (B,):
    samples with motion guidance."""

    condition: Condition
    x0: Tensor
    noise: Tensor
    noisy: Tensor
    t: Tensor
    guided: Tensor


@dataclass(frozen=True)
class Target:
    """The target of a training step.

    Args:
        latents: (batch, noised batch) -> target of the clean latents (B, F, C, h, w).
        teacher: computes them, and draws the comparison in validation.
        drawings: the teacher's drawings, which then replace the true latents.
        truth: share of samples trained on the true frames instead of the teacher; None = not sampled.
        true_frames: with `truth` None, whether the pixel term compares with the true frames or the decoded target.
        times: the timesteps to choose from, noisiest first; None = the family's distribution.
    """

    latents: Callable[[Batch, Noised], Tensor]
    teacher: Teacher | None = None
    drawings: Drawings | None = None
    truth: float | None = None
    true_frames: bool = True
    times: Tensor | None = None


def true_latents(batch: Batch, step: Noised) -> Tensor:
    """The clean latents themselves."""
    return step.x0


def teacher_estimate(pipeline: InterpolationPipeline, teacher: Teacher, step: Noised) -> Tensor:
    """A teacher's clean estimate from the same noisy latents."""
    answer = teacher.denoise(step.noisy, step.t, step.condition)
    return pipeline.process.x0(answer, step.noisy, step.t).to(step.x0)


@torch.no_grad()
def end_of_path(
    pipeline: InterpolationPipeline, teacher: Teacher, path: Tensor, guidance: Guidance, step: Noised
) -> Tensor:
    """The consistency-distillation estimate of the end of the teacher's trajectory through x_t.

    One guided DDIM step of the teacher leads to the next timestep of `path`; the student's own estimate there is
    the target, and at the end of the trajectory the teacher's.
    """
    process, noisy, t = pipeline.process, step.noisy, step.t
    path = path.to(t.device)
    places = (t[:, None] == path).int().argmax(1)
    following = path[(places + 1).clamp(max=len(path) - 1)]
    taught = guided_answer(pipeline, teacher, guidance, step)
    further = process.ddim(taught, noisy, t, following)
    answer = check("target", pipeline.denoise(further, following, step.condition))
    ends = (places == len(path) - 1).reshape(-1, *[1] * (noisy.ndim - 1))
    return torch.where(ends, process.x0(taught, noisy, t), process.x0(answer, further, following))


def guided_answer(pipeline: InterpolationPipeline, teacher: Teacher, guidance: Guidance, step: Noised) -> Tensor:
    """The teacher's output with guidance."""
    branches = [step.condition]
    if not guidance.off and step.condition.null_tokens is not None:
        branches.append(pipeline.unconditional(step.condition))
    return guidance.combine(teacher.denoise_branches(step.noisy, step.t, branches))


def marked(batch: Batch, target: Target, drawn: Callable[[], Tensor]) -> dict[str, object]:
    """The batch with `true` (B,), the samples trained on true frames; `drawn` returns uniform numbers (B,)."""
    if target.truth is None:
        return {**batch, "true": torch.full((len(batch["frames"]),), target.true_frames)}
    true = drawn() < target.truth
    found = {**batch, "true": true}
    if batch.get("known") is not None:  # every frame of a drawing counts
        found["known"] = batch["known"] | ~true[:, None].to(batch["known"].device)
    return found


def choose(true: Tensor, truth: Tensor, other: Callable[[], Tensor]) -> Tensor:
    """Per sample (B, ...) the truth where `true`, otherwise `other`, which is computed only if needed."""
    if true.all():
        return truth
    column = true.to(truth.device).reshape(-1, *[1] * (truth.ndim - 1))
    return torch.where(column, truth, other().to(truth))


def random_times(
    pipeline: InterpolationPipeline, times: Tensor | None, last_share: float, generators: Sequence[torch.Generator]
) -> Tensor:
    """One timestep per sample, (B,): from `times`, or the family's distribution; the noisiest for the share
    `last_share`."""
    process = pipeline.process
    if times is None:
        t = torch.cat([process.training_times(1, generator) for generator in generators])
        last = torch.full_like(t, process.last_time)
    else:
        places = [torch.randint(len(times), (1,), generator=generator) for generator in generators]
        t = times[torch.cat(places)]
        last = times[0].expand_as(t)
    if not last_share:
        return t
    chosen = torch.cat([torch.rand(1, generator=generator) for generator in generators]) < last_share
    return torch.where(chosen, last, t)
