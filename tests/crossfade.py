"""A fast, deterministic stub model: a cross-fade of the keys plus noise from each sample's generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from nakawari.families.abilities import Abilities


class Anything(frozenset[str]):
    """Contains every name."""

    def __contains__(self, name: object) -> bool:
        return True


@dataclass
class CrossFade(Abilities):
    """Callable like an interpolation pipeline; records its calls."""

    max_frames: int = 16
    noise: float = 0.0
    device: str = "cpu"
    draws_any_time: bool = False
    frames_learnt: int | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)

    family = "cross-fade"
    call_settings = Anything()
    is_guided = True
    reads_words = True

    @property
    def config(self) -> SimpleNamespace:
        return SimpleNamespace(max_frames=self.max_frames)

    def __call__(self, start: Tensor, end: Tensor, *, num_frames: int, generator: list, **options: Any):
        self.calls.append({"num_frames": num_frames, "batch": len(start), **options})
        assert num_frames <= self.max_frames
        assert len(generator) == len(start) == len(end)
        times = options.get("times", torch.linspace(0, 1, num_frames))
        assert len(times) == num_frames
        assert "times" not in options or self.draws_any_time
        time = times.float().reshape(1, -1, 1, 1, 1)
        clip = start[:, None] * (1 - time) + end[:, None] * time
        grain = torch.stack([torch.randn(clip.shape[1:], generator=one) for one in generator])
        return SimpleNamespace(frames=((clip + self.noise * grain + 1) / 2).clamp(0, 1))
