"""The x0 error of each quantized layer: one layer packed at a time, the denoised x0 compared with the parent's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.clips import Clip, Frames, clip_name, find_clips, group_of, read_clip
from ..data.splits import for_training
from ..data.synthetic import SyntheticScene
from ..data.training_data import change
from ..decibels import psnr_of
from ..errors import NakawariError
from ..families.base import Condition, InterpolationPipeline
from .formats import stored_bytes
from .layers import kind, packable, packed_as
from .precisions import fitting

Progress = Callable[[int, int], None]
_SCENE = 7_000_000
"""First seed of the calibration scenes, far from the seeds of training and tests."""
_STRETCH = 8
"""Minimum number of frames from key to key in a real clip; more if the number of frames requires it."""
_LEAST_CHANGE = 1.0
"""Minimum mean change from key to key, in 8-bit levels, of a usable stretch of a clip."""


@dataclass(frozen=True)
class Settings:
    """Calibration settings: `clips` clips of `frames` frames of (height, width), at `times` noise levels.

    The clips are synthetic scenes, or stretches of videos or image folders below `folder`, one of each source.
    """

    clips: int = 4
    frames: int = 4
    size: tuple[int, int] = (64, 96)
    times: int = 3
    seed: int = 0
    folder: Path | None = None


@dataclass(frozen=True)
class Calibration:
    """`frames`: (N, F, 3, H, W); the other fields hold T N clips, time by time, with the same noise at each time.

    `times`: (T N,); `noisy`: (T N, F, C, h, w).
    """

    frames: Tensor
    condition: Condition
    times: Tensor
    noisy: Tensor


@dataclass(frozen=True)
class Cost:
    """One layer in one precision: bytes of its weight, and the mean squared error of x0 with only this layer packed."""

    bytes: int
    error: float


@dataclass(frozen=True)
class Sensitivity:
    """Layer name -> kind, and -> precision -> cost. `spread`: variance of the parent's x0."""

    kinds: dict[str, str]
    costs: dict[str, dict[str, Cost]]
    spread: float

    def decibel(self, error: float) -> float:
        """A squared error of x0 as signal-to-noise ratio in dB; infinite for zero error."""
        return math.inf if error <= 0 else 10 * math.log10(self.spread / error)


@torch.no_grad()
def calibrate(pipeline: InterpolationPipeline, settings: Settings) -> Calibration:
    """Clips, conditions and noisy latents; the times are even quantiles of the family's training times."""
    seeds = [_SCENE + settings.seed * 1000 + index for index in range(settings.clips)]
    clips = np.stack(_scenes(seeds, settings) if settings.folder is None else real_clips(settings.folder, settings))
    device = pipeline.denoiser.device
    frames = (torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 127.5 - 1).to(device)
    condition = pipeline.condition(frames[:, 0], frames[:, -1], num_frames=settings.frames)
    x0 = pipeline.encode(frames, condition).float()
    noise = torch.stack([torch.randn(x0.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    drawn = pipeline.process.training_times(4096, torch.Generator().manual_seed(0)).sort().values
    places = [(2 * index + 1) * len(drawn) // (2 * settings.times) for index in range(settings.times)]
    times = drawn[places].repeat_interleave(len(x0)).to(device)
    copies = (settings.times, 1, 1, 1, 1)
    noisy = pipeline.process.add_noise(x0.repeat(copies), noise.to(device).repeat(copies), times)
    return Calibration(frames, Condition.cat([condition] * settings.times), times, noisy)


def _scenes(seeds: Sequence[int], settings: Settings) -> list[Frames]:
    moments = np.linspace(0, 1, settings.frames).tolist()
    return [SyntheticScene(seed, settings.size).render(moments) for seed in seeds]


def real_clips(folder: Path, settings: Settings) -> list[Frames]:
    """Moving stretches (F, H, W, 3) of clips below `folder`, at most one per source, determined by the seed.

    Raises:
        NakawariError: no clips, or too few with enough moving frames.
    """
    rng = np.random.default_rng(settings.seed)
    stride = max(1, _STRETCH // (settings.frames - 1))
    found: dict[str, Frames] = {}
    paths = for_training(find_clips(folder), folder)
    for index in rng.permutation(len(paths)):
        path = paths[index]
        name = clip_name(path, folder)
        if group_of(name) in found:
            continue
        stretch = Clip(name, read_clip(path, settings.size)[0]).sample_window(rng, settings.frames, stride)
        if stretch is not None and change(stretch[[0, -1]]) >= _LEAST_CHANGE:
            found[group_of(name)] = stretch
        if len(found) == settings.clips:
            return list(found.values())
    raise NakawariError(
        f"{folder} has {len(found)} clips of {(settings.frames - 1) * stride + 1} moving frames, not {settings.clips}; "
        "lower --clips or --frames."
    )


@torch.no_grad()
def estimates(pipeline: InterpolationPipeline, calibration: Calibration) -> Tensor:
    """The denoised latents, (T N, F, C, h, w), float32."""
    noisy, t = calibration.noisy, calibration.times
    output = pipeline.denoise(noisy.to(pipeline.denoiser.dtype), t, calibration.condition)
    return pipeline.process.x0(output.float(), noisy, t)


def measure(
    pipeline: InterpolationPipeline,
    calibration: Calibration,
    precisions: Sequence[str],
    progress: Progress = lambda done, total: None,
) -> Sensitivity:
    """Pack one layer at a time, in each of `precisions`, and measure the error of x0."""
    parent = estimates(pipeline, calibration)
    layers = packable(pipeline.denoiser)
    costs: dict[str, dict[str, Cost]] = {}
    for done, (name, layer) in enumerate(layers.items()):
        progress(done, len(layers))
        costs[name] = {}
        for precision in dict.fromkeys(fitting(layer, precision) for precision in precisions):
            with packed_as(pipeline.denoiser, {name: precision}):
                error = error_of(estimates(pipeline, calibration), parent)
            costs[name][precision] = Cost(stored_bytes(layer.weight.shape, precision), error)
    progress(len(layers), len(layers))
    return Sensitivity({name: kind(layer) for name, layer in layers.items()}, costs, parent.var().item())


def error_of(estimate: Tensor, parent: Tensor) -> float:
    """Mean squared difference; infinite if a value is not finite."""
    error = (estimate - parent).double().square().mean().item()
    return error if math.isfinite(error) else math.inf


@torch.no_grad()
def drawn(pipeline: InterpolationPipeline, calibration: Calibration, seed: int = 0) -> Tensor:
    """The clips sampled by the model from their keys with its default settings, (N, F, 3, H, W) in [0, 1]."""
    start, end = calibration.frames[:, 0], calibration.frames[:, -1]
    generators = [torch.Generator().manual_seed(seed + index) for index in range(len(start))]
    frames = calibration.frames.shape[1]
    return pipeline(start, end, num_frames=frames, generator=generators, output_type="pt").frames.float()


def psnr(frames: Tensor, parent: Tensor) -> float:
    """PSNR in dB of frames in [0, 1] to the parent's, without the keys if there are other frames; infinite if equal."""
    inner = slice(1, -1) if frames.shape[1] > 2 else slice(None)
    return psnr_of(error_of(frames[:, inner], parent[:, inner]), 1.0)
