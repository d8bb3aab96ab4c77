"""The teacher of a distillation: a frozen variant, never trained, never saved with the run.

It is not a child module of an objective, so optimizer, checkpoints, device placement and `best/` do not include it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from .. import variants
from ..errors import UsageError
from ..families.base import Condition, InterpolationPipeline
from ..families.calling import settings_for
from .objectives.base import Batch, sample_generator
from .objectives.conditions import condition_of
from .objectives.params_parts import TeacherParams, TeacherSampling
from .tensors import hash_states


class Teacher:
    """A frozen pipeline in evaluation mode.

    Args:
        pipeline: used without a copy, and frozen.
        name: the variant's name, for messages.
        sampling: its sampling settings.
    """

    def __init__(self, pipeline: InterpolationPipeline, name: str, sampling: TeacherSampling | None = None) -> None:
        self.pipeline, self.name = pipeline, name
        self.sampling = sampling or TeacherSampling()
        pipeline.set_progress_bar_config(disable=True)
        for network in self.networks.values():
            network.requires_grad_(False).eval()

    @classmethod
    def load(cls, params: TeacherParams) -> Self:
        """Load the teacher of a recipe. Raises `NakawariError` if it is not a nakawari model."""
        return cls(variants.load(params.teacher).pipeline, params.teacher, params.teacher_sampling)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All its networks by component name."""
        return {name: part for name, part in self.pipeline.components.items() if isinstance(part, nn.Module)}

    def to(self, device: torch.device) -> Self:
        """Move the teacher to the student's device."""
        if self.pipeline.device != device:
            self.pipeline.to(device)
        return self

    def state_hash(self) -> str:
        """SHA-256 over every parameter and buffer of all its networks: the same before and after a run."""
        return hash_states(self.networks).hexdigest()

    def key(self) -> str:
        """SHA-256 over weights, settings and sampling: all that its drawings depend on besides the keys."""
        digest = hash_states(self.networks)
        digest.update(repr([sorted(_settings(self.pipeline).items()), self.sampling]).encode())
        return digest.hexdigest()

    @torch.no_grad()
    def denoise(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The output of its network at x_t = `noisy` (B, F, C, h, w), times (B,); float32, without gradient.

        A condition without tokens' text or image (see `InterpolationPipeline.unconditional`) gives the other branch of
        guidance.
        """
        return self.denoise_branches(noisy, t, [condition])[0]

    @torch.no_grad()
    def denoise_branches(self, noisy: Tensor, t: Tensor, branches: Sequence[Condition]) -> list[Tensor]:
        """The same for each branch of guidance; see `InterpolationPipeline.denoise_branches`."""
        denoiser = self.to(noisy.device).pipeline.denoiser
        answers = self.pipeline.denoise_branches(noisy.to(denoiser.dtype), t, branches)
        return [answer.float() for answer in answers]

    @torch.no_grad()
    def draw(self, batch: Batch, guided: bool = True) -> Tensor:
        """Clean latents (B, F, C, h, w) of its drawings between the keys of `batch`, float32.

        A sample's noise depends only on its keys, so the same clip is always drawn equally.
        """
        frames = batch["frames"]
        generators = [_generator(clip) for clip in frames]
        pipeline = self.to(frames.device).pipeline
        wanted = {
            "num_inference_steps": self.sampling.steps,
            "guidance_scale": self.sampling.guidance,
            "eta": self.sampling.eta,
        }
        drawn = pipeline(
            condition=condition_of(pipeline, batch, [guided] * len(frames), generators),
            generator=generators,
            output_type="latent",
            **settings_for(pipeline, wanted, "objective.teacher_sampling", ("eta",)),
        )
        return drawn.frames.float()


def check_shared_latents(teacher: Teacher, student: InterpolationPipeline) -> None:
    """Check that student and teacher share latents and noise schedule. Raises `UsageError`."""
    if student.family != teacher.pipeline.family:
        raise UsageError(
            f"The teacher {teacher.name} is of the family {teacher.pipeline.family}, the student of {student.family}; "
            "give a teacher of the student's family."
        )
    if student.process != teacher.pipeline.process:
        raise UsageError(
            f"The teacher {teacher.name} has another noise schedule than the student; make the student from it."
        )
    own, others = student.components.get("vae"), teacher.pipeline.components.get("vae")
    residual = [model.config.get("residual", False) for model in (teacher.pipeline, student)]
    if residual[0] != residual[1] or _settings(own) != _settings(others) or not _same_weights(others, own):
        raise UsageError(
            f"The teacher {teacher.name} has another autoencoder than the student, so their latents differ; "
            "make the student from the teacher."
        )


def _same_weights(teacher: nn.Module, student: nn.Module) -> bool:
    """Whether weights are equal in the teacher's precision, which may be lower; on the meta device, equal in shape."""
    theirs, ours = teacher.state_dict(), student.state_dict()
    if theirs.keys() != ours.keys():
        return False
    return all(
        value.shape == ours[name].shape
        and (value.is_meta or torch.equal(value.cpu(), ours[name].to(value.dtype).cpu()))
        for name, value in theirs.items()
    )


def _settings(part: Any) -> dict[str, Any]:
    """A configuration without entries about its origin."""
    return {name: str(value) for name, value in dict(part.config).items() if not name.startswith("_")}


def _generator(clip: Tensor) -> torch.Generator:
    keys = clip[[0, -1]].detach().cpu().contiguous().numpy().tobytes()
    return sample_generator(0, int.from_bytes(hashlib.sha256(keys).digest()[:8], "little"))
