"""Parts b, c and d: a few-step student (consistency distillation): sampling speed, and a training step."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from nakawari.families.base import InterpolationPipeline
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.objectives.few_step import student_jumps
from nakawari.training.objectives.params import FewStepParams
from nakawari.training.teacher import Teacher

from . import lora, models
from .session import Found, Session
from .speed import whole

STEPS = (4, 2, 1)


def run(session: Session, family: str, topic: str) -> None:
    """`calls`, or `step`."""
    (calls if topic == "calls" else distilled)(session, family)


def calls(session: Session, family: str) -> None:
    """Whole calls of a student: its own sampler, no guidance. Weights are random; timing is not affected."""
    pipe = models.pipeline(session.settings, family, torch.bfloat16)
    pipe.sample_in_few_steps(STEPS[0])
    session.measure("few-step call, first bf16", 6, lambda: whole(pipe, session, 1))
    for steps in STEPS:
        session.measure(f"few-step call bf16, {steps} steps", 3, lambda steps=steps: whole(pipe, session, steps))


def distilled(session: Session, family: str) -> None:
    """One optimizer step of a rank-16 student: teacher with guidance, student without guidance and with gradient."""
    session.measure(f"{family} few-step student, rank 16, checkpointing", 15, lambda: step(session, family))


def step(session: Session, family: str) -> Found:
    """Encode a clip, evaluate teacher and student, backward pass, AdamW on the adapter."""
    objective = student(session, family)
    learning = list(objective.trainable_parameters().values())
    frames, height, width = models.clip_shape(session.settings, family)
    start, end = models.keys(session.settings, family)
    ramp = torch.linspace(0, 1, frames).view(1, -1, 1, 1, 1)
    clip = torch.lerp(start[:, None], end[:, None], ramp.to(start))
    assert clip.shape == (1, frames, 3, height, width)
    batch = {"frames": clip.to(session.settings.device), "index": [0]}
    device = torch.device(session.settings.device).type

    def loss() -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            return objective(batch, [sample_generator(0, 0)]).loss

    return lora.learnt(objective.pipeline, learning, loss)


def student(session: Session, family: str) -> DenoiserObjective:
    """The objective of a rank-16 adapter on a frozen bf16 base; its teacher has a separate denoiser."""
    pipe = models.pipeline(session.settings, family, torch.bfloat16)
    words = {"teacher": "itself", "guidance": 3.0, "lora": {"target": lora.TARGETS[family], "rank": 16}}
    objective = student_jumps(FewStepParams.model_validate(words), pipe, Teacher(second(pipe), "itself"))
    pipe.denoiser.enable_gradient_checkpointing()
    return objective.train()


def second(pipe: InterpolationPipeline) -> InterpolationPipeline:
    """The same model with a separate denoiser and all other parts shared."""
    parts = {name: part for name, part in pipe.components.items() if part is not None}
    return type(pipe)(**parts | {"unet": copy.deepcopy(pipe.denoiser)})
