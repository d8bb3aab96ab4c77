"""Defaults of `adapt`, `distill` and `quantize`, by the family and size of the model.

Published models are trained with settings close to their original ones: their size, frames and loss, a low learning
rate, latents only, conditions cached on disk. Models small enough for a laptop learn faster at a high rate, and from
decoded frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..families import read_index
from ..resources.jobs import trained_size
from ..variants import model_folder, parse
from ..weights import saved_parts

LARGE_DENOISER = 100_000_000
"""A denoiser with at least this many parameters counts as a published model."""

# The logarithm of the squared error corresponds to PSNR: nearly correct clips count too, up to 39 dB.
PIXEL: Mapping[str, Any] = {
    "weight": 1.0,
    "frames": 1,
    "l1": 0.0,
    "log_l2": 1.0,
    "log_floor": 5e-4,
    "perceptual": "st-lpips",
    "perceptual_weight": 2.0,
}


@dataclass(frozen=True)
class Defaults:
    """The defaults of one kind of model.

    Args:
        target, rank: layers and rank of an adapter.
        decoder_rank: rank of a second adapter on the autoencoder's decoder; 0 = none.
        size: height and width in training.
        frames: of a clip, both keys included.
        span: fewest and most source frames from key to key.
        batch: samples of an optimizer step.
        rate, steps: learning rate and steps of an adapter.
        student_rate, student_steps: of a distillation.
        windows: windows of whole frames whose guides are computed once, if the model has a guide; of an adapter and a
            student.
        objective: other entries of an adapter's objective.
        sampling: sampling settings of validation.
        validated: number of validation samples.
        measured: clips, frames and (height, width) for measuring a plan of precisions.
        distinct: number of different samples, for the cache of conditions; 0 = always new ones.
        large: whether it is a published model, whose memory `fitting` plans.
    """

    target: str
    rank: int = 16
    decoder_rank: int = 0
    size: tuple[int, int] = (96, 128)
    frames: int = 5
    span: tuple[int, int] = (4, 24)
    batch: int = 4
    rate: float = 1e-3
    steps: int = 200
    student_rate: float = 5e-4
    student_steps: int = 2000
    windows: tuple[int, int] = (0, 0)
    objective: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    validated: int = 8
    measured: tuple[int, int, tuple[int, int]] = (4, 4, (64, 96))
    distinct: int = 0
    large: bool = False


def defaults_of(model: str) -> Defaults:
    """The defaults for the variant `model`, from its folder; no weight is read.

    Raises:
        NakawariError: it is not a model.
    """
    folder = model_folder(parse(model).base)
    said = read_index(folder)
    parts = saved_parts(folder)
    numbers = sum(tensor.count for tensor in parts.get("unet", {}).values())
    longest = said.get("max_frames") or 16
    family = said["_class_name"].removesuffix("Pipeline").lower()
    if numbers >= LARGE_DENOISER:
        return _large(family, trained_size(said), longest)
    steps = said.get("default_steps")
    if family == "mini":
        return _mini(steps)
    return _small(family, steps, longest)


def last_time_share(steps: int | None) -> float:
    """The share of samples at the noisiest timestep: one over the model's number of sampling steps, at most 0.9, since
    one of the steps is there. A model without default steps is trained like its family."""
    return round(min(0.9, 1 / steps), 3) if steps else 0.0


def _mini(steps: int | None) -> Defaults:
    return Defaults(
        target="linear-and-convolution",
        windows=(400, 1000),
        objective={"inner_only": True, "last_time_share": last_time_share(steps), "pixel": dict(PIXEL)},
        sampling={"steps": min(8, steps or 8)},
    )


def _small(family: str, steps: int | None, longest: int) -> Defaults:
    """A small model that draws every pixel itself: losses on latents and, with less weight, on decoded frames."""
    framer = family == "framer"
    return Defaults(
        target=".*" if framer else "linear-and-convolution",
        rank=8,
        # A fully trained denoiser of this size is limited by its decoder, so the decoder is adapted as well if
        # possible.
        decoder_rank=0 if framer else 8,
        size=(80, 96) if framer else (64, 96),
        frames=min(5, longest),
        batch=8 if framer else 4,
        rate=2e-3,
        objective={
            "noise_l1": 0.0,
            "weighting": "native",
            "last_time_share": last_time_share(steps),
            "pixel": PIXEL | {"weight": 0.5},
        }
        | ({"image_dropout": 0.0} if framer else {}),
        sampling={"steps": min(10, steps or 10)},
        measured=(4, min(4, longest), (80, 96) if framer else (64, 96)),
    )


def _large(family: str, size: tuple[int, int], longest: int) -> Defaults:
    """A published model: loss on latents only; `fitting` chooses the settings that fit the memory."""
    framer = family == "framer"
    return Defaults(
        target="attention+feed-forward" if framer else "spatial-cross-attention",
        rank=32 if framer else 16,
        size=size,
        frames=longest,
        # At 24 frames per second this is 24, 12 or 8, ToonCrafter's condition; Framer's footage was sampled in the same
        # way.
        span=(longest - 1, 3 * (longest - 1)),
        batch=4,
        rate=1e-4,
        steps=1000,
        student_rate=1e-4,
        student_steps=10_000,
        # The original loss of both. min-SNR would give ToonCrafter's noisiest timestep, where sampling starts, zero
        # weight.
        objective={
            "noise_l1": 0.0,
            "weighting": "native",
            "cache": "~/.cache/nakawari/conditions",
        },
        sampling={"steps": 25, "guidance": 2.0 if framer else 7.5, "eta": 0.0 if framer else 1.0},
        validated=4,
        measured=(2, longest, size),
        distinct=256,
        large=True,
    )
