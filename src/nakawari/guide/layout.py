"""What a guide holds: the keys warped to the time of each frame, how far they can be trusted, and how things move."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

CHANNELS = {"start": 3, "end": 3, "guided": 2, "time": 1, "trust": 2, "motion": 2}
"""Channels of `Guide.stacked` in their order. `guided` has two, one per key, because the weights were trained so."""

MOTION_UNIT = 16.0
"""Pixels per unit of `Guide.motion`."""


@dataclass(frozen=True)
class Guide:
    """The keys at the times of F frames of B clips; H x W is the size of the frames.

    Args:
        start, end: (B, F, 3, H, W), each key warped to the time of each frame, in [-1, 1]. At the keys themselves both
            are the key, untouched.
        time: (B, F), 0 at the start key and 1 at the end key.
        trust: (B, F, 2, H, W), how reliable the warped start and end key are at each pixel, in [0, 1].
        motion: (B, F, 2, H, W), the motion from start to end key of what is seen, x and y, in `MOTION_UNIT` pixels.
        guided: (B,), 1 where a clip's keys were warped; 0 where they stand in place because no motion is used.

    `len` is B; indexing selects clips.
    """

    start: Tensor
    end: Tensor
    time: Tensor
    trust: Tensor
    motion: Tensor
    guided: Tensor

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, clips: slice | Sequence[int]) -> Self:
        return self.map(lambda tensor: tensor[clips])

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A copy with `function` applied to every tensor; all of them have the batch first."""
        return type(self)(*(function(tensor) for tensor in self.tensors().values()))

    def map_pixels(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A copy with `function` applied to everything that has pixels, (B, F, C, H, W)."""
        return type(self)(*(function(tensor) if tensor.ndim == 5 else tensor for tensor in self.tensors().values()))

    def map_frames(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A copy with `function` applied to everything that has frames, (B, F, ...)."""
        return type(self)(*(function(tensor) if tensor.ndim > 1 else tensor for tensor in self.tensors().values()))

    def frame_by_frame(self) -> Self:
        """The B * F frames as so many clips of one frame."""
        frames = self.time.shape[1]
        flat = {name: value.flatten(0, 1)[:, None] for name, value in self.tensors().items() if value.ndim > 1}
        return type(self)(**flat, guided=self.guided.repeat_interleave(frames))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, in the order of the fields."""
        return {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}

    @classmethod
    def cat(cls, guides: Sequence[Self], dim: int = 0) -> Self:
        """Guides of frames of one size as one: further clips (`dim` 0) or further frames of the same clips (1)."""
        named = [guide.tensors() for guide in guides]
        joined = {name: torch.cat([one[name] for one in named], dim) for name in named[0] if named[0][name].ndim > dim}
        return cls(**named[0] | joined)

    def pad(self, rows: int, columns: int) -> Self:
        """A copy with `rows` more pixels below and `columns` more to the right, which repeat the border."""
        return self.map_pixels(lambda pixels: pad_frames(pixels, rows, columns))

    def blend(self) -> Tensor:
        """What the guide alone draws, (B, F, 3, H, W) in [-1, 1]: the warped keys mixed by time."""
        return self.start + _pixelwise(self.time) * (self.end - self.start)

    def stacked(self) -> Tensor:
        """All channels as a network reads them, (B, F, 13, H, W), in the order and number of `CHANNELS`."""
        frames, size = self.time.shape[1], self.start.shape[-2:]
        flat = {
            "guided": _pixelwise(self.guided[:, None]).expand(-1, frames, CHANNELS["guided"], *size),
            "time": _pixelwise(self.time).expand(-1, -1, CHANNELS["time"], *size),
        }
        return torch.cat([flat[name] if name in flat else getattr(self, name) for name in CHANNELS], dim=2)

    @classmethod
    def from_stacked(cls, stacked: Tensor) -> Self:
        """The guide whose `stacked` is this tensor (B, F, 13, H, W)."""
        parts = dict(zip(CHANNELS, stacked.split(list(CHANNELS.values()), dim=2), strict=True))
        return cls(**parts | {"time": parts["time"][..., 0, 0, 0], "guided": parts["guided"][:, 0, 0, 0, 0]})


class GuideMaker(Protocol):
    """Anything that makes guides, such as `motion.MotionGuide`."""

    def __call__(self, start: Tensor, end: Tensor, times: Tensor) -> Guide:
        """The guide of keys (B, 3, H, W) in [-1, 1] at `times` (F,) in [0, 1]; exact at 0 and 1."""
        ...


def still(start: Tensor, end: Tensor, times: Tensor) -> Guide:
    """A guide that knows no motion: keys (B, 3, H, W) in place at `times` (F,), trusted nowhere.

    Its blend is the cross-fade. A guided model runs unguided with it.
    """
    frames = len(times)
    first, last = (key[:, None].expand(-1, frames, -1, -1, -1) for key in (start, end))
    nothing = torch.zeros_like(first[:, :, :2])
    return Guide(
        start=first,
        end=last,
        time=times.to(start).expand(len(start), frames),
        trust=nothing,
        motion=nothing,
        guided=start.new_zeros(len(start)),
    )


@dataclass(frozen=True)
class LedGuide(Guide):
    """A guide of which some things are led by hand.

    Args:
        detour: (B, F, 2, H, W), how far what is seen lies off its straight way, x and y in pixels.
        hidden: (B, F, 1, H, W), see `led.hidden`.
    """

    detour: Tensor
    hidden: Tensor


def _pixelwise(values: Tensor) -> Tensor:
    """(B, F) -> (B, F, 1, 1, 1)."""
    return values[..., None, None, None]


def pad_frames(pixels: Tensor, rows: int, columns: int) -> Tensor:
    """(B, F, C, H, W) with `rows` more below and `columns` more to the right, which repeat the border."""
    if not rows and not columns:
        return pixels
    padded = functional.pad(pixels.flatten(0, 1), (0, columns, 0, rows), mode="replicate")
    return padded.unflatten(0, pixels.shape[:2])
