"""What `adapt`, `distill` and `quantize` do where nothing is said, for each kind of model, by its family and size.

The published models are trained near what they were trained on before: their size, frames and loss, a low rate, latents
alone, conditions kept on disk. Models small enough for a laptop learn faster at a high rate, and from decoded frames.
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
"""Numbers from which on a denoiser counts as one of a published model."""

# The logarithm of the squared error is PSNR: clips that are nearly right count, too, up to 39 dB.
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
    """One kind of model.

    Args:
        target, rank: what an adapter is put on, and its width.
        decoder_rank: width of a second one on the autoencoder's decoder; 0 = none.
        size: height and width in training.
        frames: of a clip, both keys included.
        span: fewest and most source frames from key to key.
        batch: samples of an optimizer step.
        rate, steps: of an adapter.
        student_rate, student_steps: of a distillation.
        windows: whole frames whose guides are made once, where the model has a guide; of an adapter and a student.
        objective: other entries of an adapter's objective.
        sampling: how validation draws, and on how many samples.
        validated: samples of a validation.
        measured: clips, frames of each, and their (height, width), on which a plan of precisions is measured.
        distinct: so many samples that come again, for the cache of conditions; 0 = always new ones.
        large: a published model, whose memory `fitting` plans.
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
    """The choice for the variant `model`, from what its folder says; no weight is read.

    Raises:
        NakawariError: it is no model.
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
    """One of a model's own sampling steps is at the noisiest time: so is that share of training, nine tenths of it
    where one step decides everything. A model that does not say its steps is trained as its family."""
    return round(min(0.9, 1 / steps), 3) if steps else 0.0


def _mini(steps: int | None) -> Defaults:
    return Defaults(
        target="linear-and-convolution",
        windows=(400, 1000),
        objective={"inner_only": True, "last_time_share": last_time_share(steps), "pixel": dict(PIXEL)},
        sampling={"steps": min(8, steps or 8)},
    )


def _small(family: str, steps: int | None, longest: int) -> Defaults:
    """A small model that draws every pixel itself: what it is told most is how latents look, then how frames do."""
    framer = family == "framer"
    return Defaults(
        target=".*" if framer else "linear-and-convolution",
        rank=8,
        # Trained to its end, such a denoiser draws as well as the decoder lets it: that one learns, too, where it can.
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
    """A published model: latents alone; what its memory needs is chosen by `fitting`."""
    framer = family == "framer"
    return Defaults(
        target="attention+feed-forward" if framer else "spatial-cross-attention",
        rank=32 if framer else 16,
        size=size,
        frames=longest,
        # Of 24 frames a second this is 24, 12 or 8, which ToonCrafter is told; Framer's footage was taken so, too.
        span=(longest - 1, 3 * (longest - 1)),
        batch=4,
        rate=1e-4,
        steps=1000,
        student_rate=1e-4,
        student_steps=10_000,
        # As both were trained. min-SNR would weigh ToonCrafter's noisiest time, where drawing begins, with zero.
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
