"""What the clean latents of an estimate are compared with: the truth, or what a teacher says of them."""

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
    """A noised batch: x_t = `noisy`, made of `x0` and `noise` (B, F, C, h, w), at times `t` (B,); `guided` (B,), where
    the condition has motion guidance."""

    condition: Condition
    x0: Tensor
    noise: Tensor
    noisy: Tensor
    t: Tensor
    guided: Tensor


@dataclass(frozen=True)
class Target:
    """What a step learns from.

    Args:
        latents: (batch, noised batch) -> the clean latents (B, F, C, h, w) that the estimate should be.
        teacher: who is asked for them, and whose drawings validation shows.
        drawings: the teacher's drawings, which then take the place of the true latents.
        truth: share of samples that learn from the true frames instead of the teacher; None = none is drawn.
        true_frames: with `truth` None, whether the pixel term compares with the true frames or the decoded target.
        times: the times to choose from, noisiest first; None = as the family trains.
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
    """What a teacher makes of the same noisy latents."""
    answer = teacher.denoise(step.noisy, step.t, step.condition)
    return pipeline.process.x0(answer, step.noisy, step.t).to(step.x0)


@torch.no_grad()
def end_of_path(
    pipeline: InterpolationPipeline, teacher: Teacher, path: Tensor, guidance: Guidance, step: Noised
) -> Tensor:
    """Where the teacher's path through x_t ends, as far as teacher and student know (consistency distillation).

    One DDIM step of the teacher, with guidance, leads to the next time of `path`; the student's own estimate there is
    the target, and at the end of the path the teacher's.
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
    """The teacher's answer with its guidance."""
    branches = [step.condition]
    if not guidance.off and step.condition.null_tokens is not None:
        branches.append(pipeline.unconditional(step.condition))
    return guidance.combine(teacher.denoise_branches(step.noisy, step.t, branches))


def marked(batch: Batch, target: Target, drawn: Callable[[], Tensor]) -> dict[str, object]:
    """The batch with `true` (B,), which samples learn from the true frames; `drawn` gives uniform numbers (B,)."""
    if target.truth is None:
        return {**batch, "true": torch.full((len(batch["frames"]),), target.true_frames)}
    true = drawn() < target.truth
    found = {**batch, "true": true}
    if batch.get("known") is not None:  # of a drawing every frame counts
        found["known"] = batch["known"] | ~true[:, None].to(batch["known"].device)
    return found


def choose(true: Tensor, truth: Tensor, other: Callable[[], Tensor]) -> Tensor:
    """Per sample (B, ...) the truth where `true`, else the other, which is made only where it is needed."""
    if true.all():
        return truth
    column = true.to(truth.device).reshape(-1, *[1] * (truth.ndim - 1))
    return torch.where(column, truth, other().to(truth))


def random_times(
    pipeline: InterpolationPipeline, times: Tensor | None, last_share: float, generators: Sequence[torch.Generator]
) -> Tensor:
    """One time per sample, (B,): from `times`, or as the family trains; the noisiest for the share `last_share`."""
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
