"""The contents of a guide: the keys warped to the time of each frame, their trust maps, and the motion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

CHANNELS = {"start": 3, "end": 3, "guided": 2, "time": 1, "trust": 2, "motion": 2}
"""Channels of `Guide.stacked` in order. `guided` has two, one per key, as in the training of the weights."""

MOTION_UNIT = 16.0
"""Pixels per unit of `Guide.motion`."""


@dataclass(frozen=True)
class Guide:
    """The keys at the times of F frames of B clips; H x W is the size of the frames.

    Args:
        start, end: (B, F, 3, H, W), each key warped to the time of each frame, in [-1, 1]. At the keys themselves both
            are the unchanged key.
        time: (B, F), 0 at the start key and 1 at the end key.
        trust: (B, F, 2, H, W), reliability of the warped start and end key at each pixel, in [0, 1].
        motion: (B, F, 2, H, W), the start-to-end motion at each pixel, x and y, in `MOTION_UNIT` pixels.
        guided: (B,), 1 where a clip's keys were warped; 0 where they are unwarped because no motion is used.

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
        """A copy with `function` applied to every tensor with pixels, (B, F, C, H, W)."""
        return type(self)(*(function(tensor) if tensor.ndim == 5 else tensor for tensor in self.tensors().values()))

    def map_frames(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A copy with `function` applied to every tensor with frames, (B, F, ...)."""
        return type(self)(*(function(tensor) if tensor.ndim > 1 else tensor for tensor in self.tensors().values()))

    def frame_by_frame(self) -> Self:
        """The B * F frames as clips of one frame each."""
        frames = self.time.shape[1]
        flat = {name: value.flatten(0, 1)[:, None] for name, value in self.tensors().items() if value.ndim > 1}
        return type(self)(**flat, guided=self.guided.repeat_interleave(frames))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, in the order of the fields."""
        return {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}

    @classmethod
    def cat(cls, guides: Sequence[Self], dim: int = 0) -> Self:
        """Concatenate guides of one frame size, along clips (`dim` 0) or frames (1)."""
        named = [guide.tensors() for guide in guides]
        joined = {name: torch.cat([one[name] for one in named], dim) for name in named[0] if named[0][name].ndim > dim}
        return cls(**named[0] | joined)

    def pad(self, rows: int, columns: int) -> Self:
        """A copy padded by `rows` pixels below and `columns` to the right, which repeat the border."""
        return self.map_pixels(lambda pixels: pad_frames(pixels, rows, columns))

    def blend(self) -> Tensor:
        """The guide's own frames, (B, F, 3, H, W) in [-1, 1]: the warped keys blended by time."""
        return (self.end - self.start).mul_(_pixelwise(self.time)).add_(self.start)

    def stacked(self) -> Tensor:
        """All channels as a network input, (B, F, 13, H, W), in the order and number of `CHANNELS`."""
        frames, size = self.time.shape[1], self.start.shape[-2:]
        flat = {
            "guided": _pixelwise(self.guided[:, None]).expand(-1, frames, CHANNELS["guided"], *size),
            "time": _pixelwise(self.time).expand(-1, -1, CHANNELS["time"], *size),
        }
        return torch.cat([flat[name] if name in flat else getattr(self, name) for name in CHANNELS], dim=2)

    @classmethod
    def from_stacked(cls, stacked: Tensor) -> Self:
        """The inverse of `stacked`, from (B, F, 13, H, W)."""
        parts = dict(zip(CHANNELS, stacked.split(list(CHANNELS.values()), dim=2), strict=True))
        return cls(**parts | {"time": parts["time"][..., 0, 0, 0], "guided": parts["guided"][:, 0, 0, 0, 0]})


class GuideMaker(Protocol):
    """The interface of `motion.MotionGuide`."""

    def __call__(self, start: Tensor, end: Tensor, times: Tensor) -> Guide:
        """The guide of keys (B, 3, H, W) in [-1, 1] at `times` (F,) in [0, 1]; exact at 0 and 1."""
        ...


def still(start: Tensor, end: Tensor, times: Tensor) -> Guide:
    """A guide without motion: unwarped keys (B, 3, H, W) at `times` (F,), with zero trust.

    Its blend is the cross-fade. A guided model uses it to run unguided.
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
    """A guide with tracks.

    Args:
        detour: (B, F, 2, H, W), deviation of each pixel from its straight path, x and y in pixels.
        hidden: (B, F, 1, H, W), see `led.hidden`.
    """

    detour: Tensor
    hidden: Tensor


def _pixelwise(values: Tensor) -> Tensor:
    """(B, F) -> (B, F, 1, 1, 1)."""
    return values[..., None, None, None]


def pad_frames(pixels: Tensor, rows: int, columns: int) -> Tensor:
    """(B, F, C, H, W) padded by `rows` below and `columns` to the right, which repeat the border."""
    if not rows and not columns:
        return pixels
    padded = functional.pad(pixels.flatten(0, 1), (0, columns, 0, rows), mode="replicate")
    return padded.unflatten(0, pixels.shape[:2])
