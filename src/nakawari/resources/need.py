"""What drawing one clip takes in each of its phases: weights that are there, tensors that are made, arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..families.base import Condition, InterpolationPipeline
from ..quantization.precisions import weight_bytes
from .tracking import Work, track

Offload = Literal["none", "towers", "model", "sequential"]
OFFLOADS: tuple[Offload, ...] = get_args(Offload)
"""What waits in the CPU's memory while it does not compute: nothing; the towers once a clip is encoded; every network;
every layer."""
TOWERS = ("text_encoder", "image_encoder", "image_adapter", "resampler")
"""What is wanted for a clip's condition alone."""
_LAYER = 64e6
"""Bytes of the largest layers that are on the device together where every layer waits."""
OVERHEAD = {"cpu": 0.45e9, "cuda": 0.6e9}
"""Python, torch and its libraries in memory (measured: 0.46 GB before a model is loaded); on a GPU the context of CUDA
and workspaces, an allowance that was not measured."""
SLACK = {"cpu": 1.4, "cuda": 1.1}
"""What the allocator and the kernels' own buffers take beyond the tensors, a factor on these. On a CPU from one clip at
full size in bf16 (11.2 GB); on a GPU an allowance that was not measured."""


@dataclass(frozen=True)
class Size:
    """What is drawn at once.

    Args:
        frames: of a clip, both keys included.
        height, width: in pixels.
        branches: of guidance, 1 to 3.
    """

    frames: int
    height: int
    width: int
    branches: int


@dataclass(frozen=True)
class Need:
    """What one clip takes.

    Args:
        weights: network -> bytes.
        phases: `condition`, `step` (one branch), `step together` (all branches in one batch), `decode` -> its work.
        branches: of guidance.
    """

    weights: Mapping[str, int]
    phases: Mapping[str, Work]
    branches: int

    def peak(self, device: str, *, together: bool, offload: Offload) -> int:
        """Bytes on `device` at the worst moment.

        Args:
            together: whether guidance runs all branches in one batch.
            offload: what waits elsewhere.
        """
        made = {name: work.peak for name, work in self.phases.items()}
        step = made["step together" if together else "step"]
        there = self._there(offload)
        worst = max(
            there["condition"] + SLACK[device] * made["condition"],
            there["step"] + SLACK[device] * step,
            there["decode"] + SLACK[device] * made["decode"],
        )
        return int(OVERHEAD[device] + worst)

    def _there(self, offload: Offload) -> dict[str, float]:
        """Bytes of weights on the device in each phase."""
        weights = dict(self.weights)
        every = sum(weights.values())
        towers = sum(weights.get(name, 0) for name in TOWERS)
        largest = max((weights.get(name, 0) for name in (*TOWERS, "vae")), default=0)
        decoding = weights.get("vae", 0) + weights.get("controlnet", 0)
        if offload == "none":
            return dict.fromkeys(("condition", "step", "decode"), every)
        if offload == "towers":
            return {"condition": every, "step": every - towers, "decode": every - towers}
        if offload == "model":
            return {"condition": largest + weights.get("vae", 0), "step": every - towers, "decode": decoding}
        return dict.fromkeys(("condition", "step", "decode"), min(every, _LAYER))

    def flops(self, steps: int) -> int:
        """Arithmetic of a clip of `steps` sampling steps."""
        step = self.phases["step"].flops * self.branches
        return self.phases["condition"].flops + steps * step + self.phases["decode"].flops


@torch.no_grad()
def need_of(pipeline: InterpolationPipeline, size: Size, decode_chunk: int | None = None) -> Need:
    """What `size` takes of a pipeline whose networks are on the meta device, `decode_chunk` frames decoded at once."""
    key = torch.empty(1, 3, size.height, size.width, device="meta")
    condition, encoding = track(lambda: _condition(pipeline, key, size.frames))
    noisy = _noisy(pipeline, condition)
    phases = {
        "condition": encoding,
        "step": _step(pipeline, noisy, condition, 1),
        "step together": _step(pipeline, noisy, condition, size.branches),
        "decode": track(lambda: pipeline.decode(noisy, condition, chunk=decode_chunk))[1],
    }
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    return Need({name: weight_bytes(part) for name, part in networks.items()}, phases, size.branches)


def _condition(pipeline: InterpolationPipeline, key: Tensor, frames: int) -> Condition:
    generator = [torch.Generator().manual_seed(0)]
    return pipeline.condition(key, key, num_frames=frames, guided=False, generator=generator)


def _noisy(pipeline: InterpolationPipeline, condition: Condition) -> Tensor:
    """Latents like those that the denoiser answers with; they stay in memory beside everything else."""
    channels = pipeline.denoiser.config.out_channels
    shape = (condition.batch, condition.num_frames, channels, *condition.latents.shape[-2:])
    return torch.empty(shape, device="meta")


def _step(pipeline: InterpolationPipeline, noisy: Tensor, condition: Condition, branches: int) -> Work:
    many = Condition.cat([condition] * branches)
    dtype = pipeline.denoiser.dtype
    times = torch.ones(branches, device="meta")
    return track(lambda: pipeline.denoise(noisy.repeat(branches, 1, 1, 1, 1).to(dtype), times, many))[1]
