"""Memory and FLOPs of sampling one clip, phase by phase: weights on the device, tensors allocated, operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..families.base import Condition, InterpolationPipeline
from ..families.cache import CacheLevel
from ..quantization.precisions import weight_bytes
from .tracking import Work, track

Offload = Literal["none", "towers", "model", "sequential"]
OFFLOADS: tuple[Offload, ...] = get_args(Offload)
"""What is offloaded to CPU memory while unused: nothing; the encoders once a clip is encoded; every network;
every layer."""
TOWERS = ("text_encoder", "image_encoder", "image_adapter", "resampler")
"""Networks used only to encode a clip's condition."""
_LAYER = 64e6
"""Bytes of the largest layers that are on the device together when every layer is offloaded."""
OVERHEAD = {"cpu": 0.45e9, "cuda": 0.6e9}
"""Memory of Python, torch and its libraries (measured: 0.46 GB before a model is loaded); on a GPU the CUDA context
and workspaces, an allowance that was not measured."""
SLACK = {"cpu": 1.4, "cuda": 1.1}
"""Factor on the tensors for the overhead of the allocator and the kernels' buffers. On a CPU from one clip at
full size in bf16 (11.2 GB); on a GPU an allowance that was not measured."""


@dataclass(frozen=True)
class Size:
    """The size of one batch.

    Args:
        frames: of a clip, both keys included.
        height, width: in pixels.
        branches: guidance branches, 1 to 3.
        clips: clips in one batch.
        tracks: whether point tracks are given, in a family with point control.
        cache: feature cache between steps; None = none.
    """

    frames: int
    height: int
    width: int
    branches: int
    clips: int = 1
    tracks: bool = False
    cache: CacheLevel | None = None


@dataclass(frozen=True)
class Kept:
    """Memory and savings of a cache level.

    Args:
        level: the cache level.
        bytes: memory kept from step to step, all branches.
        whole, shallow: FLOPs of a full evaluation of all branches, and of the outermost layers only.
    """

    level: CacheLevel
    bytes: int
    whole: int
    shallow: int

    def flops(self, steps: int) -> int:
        """FLOPs of all sampling steps."""
        count = self.level.count(steps)
        return count * self.whole + (steps - count) * self.shallow


@dataclass(frozen=True)
class Need:
    """Memory and FLOPs of one clip.

    Args:
        weights: network -> bytes; also `adapters`, if there are any.
        phases: `condition`, `step` (one branch), `step together` (all branches in one batch), `decode` -> its `Work`.
        branches: guidance branches.
        kept: feature cache between steps; None = none.
    """

    weights: Mapping[str, int]
    phases: Mapping[str, Work]
    branches: int
    kept: Kept | None = None

    def peak(self, device: str, *, together: bool, offload: Offload) -> int:
        """Peak memory on `device` in bytes.

        Args:
            together: whether guidance runs all branches in one batch.
            offload: what is offloaded.
        """
        made = {name: work.peak for name, work in self.phases.items()}
        step = made["step together" if together else "step"] + (self.kept.bytes if self.kept else 0)
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
        """FLOPs of a clip with `steps` sampling steps."""
        every = self.kept.flops(steps) if self.kept else steps * self.phases["step"].flops * self.branches
        return self.phases["condition"].flops + every + self.phases["decode"].flops


def need_of(pipeline: InterpolationPipeline, size: Size) -> Need:
    """The `Need` of `size` for a pipeline on the meta device, all frames decoded at once."""
    return next(needs_of(pipeline, size, (None,)))[1]


def needs_of(
    pipeline: InterpolationPipeline, size: Size, chunks: Sequence[int | None]
) -> Iterator[tuple[int | None, Need]]:
    """As `need_of`, for each number of frames decoded at once (None = all); the other phases are counted once."""
    condition, encoding = _condition(pipeline, size)
    noisy = _noisy(pipeline, condition)
    step = _step(pipeline, noisy, condition, 1)
    together = step if size.branches == 1 else _step(pipeline, noisy, condition, size.branches)
    phases = {"condition": encoding, "step": step, "step together": together}
    kept = None if size.cache is None else _kept(pipeline, noisy, condition, size.branches, size.cache)
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    weights = {name: weight_bytes(part) for name, part in networks.items()}
    for chunk in chunks:
        yield chunk, Need(weights, phases | {"decode": _decode(pipeline, noisy, condition, chunk)}, size.branches, kept)


@torch.no_grad()
def _condition(pipeline: InterpolationPipeline, size: Size) -> tuple[Condition, Work]:
    key = torch.empty(size.clips, 3, size.height, size.width, device="meta")
    told: dict[str, Any] = {"num_frames": size.frames, "guided": False}
    told["generator"] = [torch.Generator().manual_seed(0) for _ in range(size.clips)]
    if size.tracks and pipeline.components.get("controlnet") is not None:
        told["control"] = [torch.zeros(size.frames, 1, 2).numpy()] * size.clips
    return track(lambda: pipeline.condition(key, key, **told))


@torch.no_grad()
def _decode(pipeline: InterpolationPipeline, latents: Tensor, condition: Condition, chunk: int | None) -> Work:
    """One decoding, or two if the family's call decodes twice."""
    if getattr(pipeline.config, "double_decode", False):
        return track(lambda: pipeline.decode_twice(latents, condition, 1))[1]
    return track(lambda: pipeline.decode(latents, condition, chunk=chunk))[1]


@torch.no_grad()
def _kept(
    pipeline: InterpolationPipeline, noisy: Tensor, condition: Condition, branches: int, level: CacheLevel
) -> Kept:
    """The cached deep features of every branch."""
    many = Condition.cat([condition] * branches)
    deep, whole = track(lambda: _in_part(pipeline, noisy, many, level.depth, None))
    shallow = track(lambda: _in_part(pipeline, noisy, many, level.depth, deep))[1]
    return Kept(level, 2 * sum(part.untyped_storage().nbytes() for part in deep), whole.flops, shallow.flops)


def _in_part(
    pipeline: InterpolationPipeline, noisy: Tensor, condition: Condition, depth: int, deep: Any
) -> tuple[Tensor, ...]:
    """The features that `families.cache` keeps of one evaluation."""
    count = len(condition.latents) // len(noisy)
    joined = noisy.repeat(count, 1, 1, 1, 1).to(pipeline.denoiser.dtype)
    if pipeline.family == "framer":
        time = torch.tensor(0.25, device="meta")
        return pipeline.network(joined, time, condition, branches=count, depth=depth, deep=deep)[1]
    times = torch.ones(len(joined), device="meta")
    return (pipeline.denoise_in_part(joined, times, condition, depth, None if deep is None else deep[0])[1],)


def _noisy(pipeline: InterpolationPipeline, condition: Condition) -> Tensor:
    """Latents of the denoiser's output shape; they stay in memory throughout."""
    channels = pipeline.denoiser.config.out_channels
    shape = (condition.batch, condition.num_frames, channels, *condition.latents.shape[-2:])
    return torch.empty(shape, device="meta")


@torch.no_grad()
def _step(pipeline: InterpolationPipeline, noisy: Tensor, condition: Condition, branches: int) -> Work:
    many = Condition.cat([condition] * branches)
    dtype = pipeline.denoiser.dtype
    times = torch.ones(branches * len(noisy), device="meta")
    return track(lambda: pipeline.denoise(noisy.repeat(branches, 1, 1, 1, 1).to(dtype), times, many))[1]
