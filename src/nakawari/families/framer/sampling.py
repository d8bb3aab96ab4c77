"""Sampling of Framer: the guidance ramp and the guided denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ..base import Condition
from ..cache import CacheLevel, Carried
from .tracks import Tracks


@dataclass
class FramerPipelineOutput(BaseOutput):
    """Output of `FramerPipeline`.

    Args:
        frames: "pil": a list of frames per clip; "np": (B, F, H, W, 3) and "pt": (B, F, 3, H, W), both in [0, 1];
            "latent": (B, F, C, h, w), padding included.
        tracks: the tracks of each clip, (F, P, 2) in pixels, or None.
    """

    frames: list[list[Image.Image]] | np.ndarray | Tensor
    tracks: list[Tracks | None]


def guidance_ramp(
    num_frames: int,
    minimum: float | None = None,
    maximum: float | None = None,
    middle_max: bool = False,
    fixed: float | None = None,
) -> Tensor:
    """Guidance of every frame, (F,): `fixed`, or a linear ramp from `minimum` (None = 1) to `maximum` (None = 3), or up
    to the middle and down again.
    """
    if fixed is not None:
        return torch.full((num_frames,), float(fixed))
    line = torch.linspace(1.0 if minimum is None else minimum, 3.0 if maximum is None else maximum, num_frames)
    if not middle_max:
        return line
    there_and_back = torch.cat([line, line.flip(0)])[None, None]
    return interpolate(there_and_back, size=num_frames, mode="linear", align_corners=False)[0, 0]


class Networks(Protocol):
    """The methods of a pipeline that a guided denoiser uses."""

    scheduler: Any
    unet: Any

    def network(self, scaled: Tensor, time: Tensor, condition: Condition, *, branches: int) -> Any:
        """Evaluate ControlNet and UNet once."""
        ...

    def unconditional(self, condition: Condition) -> Condition:
        """The condition of the unconditional branch."""
        ...


class GuidedDenoiser:
    """The denoiser under classifier-free guidance and point control.

    Args:
        pipeline: provides networks and scheduler.
        condition: of the clips.
        guidance: (F,), the guidance of every frame; if none is above 1, only one branch is computed.
        control_range: start and end of the ControlNet's use, as shares of the steps.
        steps: number of steps of the call.
        level: level of feature caching.
        noise: ln of noise to signal of every step.
    """

    def __init__(
        self,
        pipeline: Networks,
        condition: Condition,
        guidance: Tensor,
        control_range: tuple[float, float],
        steps: int,
        level: CacheLevel | None,
        noise: Sequence[float],
    ) -> None:
        self._pipeline = pipeline
        self._guidance = guidance.to(condition.latents.device)
        self._branches = 2 if float(guidance.max()) > 1 else 1
        self._range = control_range
        self._steps, self._level = steps, level
        self._whole = (True,) * steps if level is None else level.whole(noise)
        self._deep, self._was_active = Carried(), False
        self._condition = condition
        if self._branches == 2:
            self._condition = Condition.cat([pipeline.unconditional(condition), condition])

    def __call__(self, x: Tensor, timestep: Tensor, index: int) -> Tensor:
        """The guided output for x_t = `x` (B, F, C, h, w) at step `index`."""
        active = self._range[0] <= index / self._steps < self._range[1] and self._condition.control is not None
        if active != self._was_active:  # cached features are valid only with or only without the ControlNet
            self._deep, self._was_active = Carried(), active
        whole = self._whole[index] or not self._deep.known
        scaled = self._pipeline.scheduler.scale_model_input(x, timestep)
        answer, deep = self._pipeline.network(
            torch.cat([scaled] * self._branches),
            timestep,
            self._condition if active else self._condition.replace(control=None),
            branches=self._branches,
            depth=0 if self._level is None else self._level.depth,
            deep=None if whole else self._deep.at(index),
        )
        if whole and self._level is not None:
            self._deep.keep(index, deep)
        output = answer.sample.to(x.dtype)
        if self._branches == 1:
            return output
        without, told = output.chunk(2)
        return without + self._guidance.reshape(1, -1, 1, 1, 1) * (told - without)
