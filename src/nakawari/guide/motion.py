"""The motion guide: keys warped to each frame's time along an optical flow; an exchangeable part of a pipeline."""

from __future__ import annotations

import os
from typing import Any, Self

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from ..errors import NakawariError
from ..threads import spread
from .flow import Surface, both_ways, searched, seen_at, surfaces
from .layout import MOTION_UNIT, Guide
from .led import Led, bent
from .search import Flows
from .warp import backward_warp, drawn_along

_LEAST_SIDE = 16  # DIS needs a few patches along each side
_FORMER_SETTINGS = {"finest_scale": 0, "min_size": _LEAST_SIDE, "search": True, "trust": True, "motion": True}
"""What earlier revisions saved with a guide, and the values that every guide has now."""


class MotionGuide(ModelMixin, ConfigMixin):
    """Two keys and the times between them -> a `Guide`. It has no weights and no settings.

    The flow is sought twice, by DIS alone and from an exhaustive search for large shifts (`search`), and the better of
    the two is taken per pixel. Where neither direction of the flow agrees, motion is filled in from around the place.
    Keys with a side shorter than 16 pixels stay in place.
    """

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        # diffusers asks every model for its dtype, and one without any tensor cannot answer.
        self.register_buffer("dtype_holder", torch.zeros(1), persistent=False)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """From the configuration alone: diffusers' own fails where no weights file lies.

        Raises:
            NakawariError: an earlier revision saved a guide of another kind, which no model of today reads.
        """
        config = cls.load_config(pretrained_model_name_or_path, local_files_only=kwargs.get("local_files_only", False))
        for name, value in _FORMER_SETTINGS.items():
            if config.get(name, value) != value:
                raise NakawariError(
                    f"{pretrained_model_name_or_path} has a motion guide with {name} {config[name]}, which only "
                    "earlier versions read; train the model again."
                )
        return cls().eval()

    def forward(self, start: Tensor, end: Tensor, times: Tensor, led: Led | None = None) -> Guide:
        """The guide of keys (B, 3, H, W) in [-1, 1] at `times` (F,) in [0, 1]; exact at 0 and 1. Float32.

        `led`: points of the keys that are led by hand, which the flow obeys.
        """
        start, end = start.float(), end.float()
        flows = _flows(start, end)
        both = surfaces(start, end, flows if led is None else bent(start, end, flows, led), trusted=True)
        frames = spread(lambda time: _at(start, end, both, time), times.tolist(), start.device)
        return Guide.cat(frames, dim=1)


def _flows(start: Tensor, end: Tensor) -> Flows:
    if min(start.shape[-2:]) < _LEAST_SIDE:
        nowhere = start.new_zeros(start.shape[0], 2, *start.shape[-2:])
        return nowhere, nowhere
    return searched(start, end, both_ways(start, end))


def _at(start: Tensor, end: Tensor, both: tuple[Surface, Surface], time: float) -> Guide:
    """The guide of one frame."""
    if time in (0.0, 1.0):
        key = end if time else start
        sure = torch.ones_like(key[:, :2])
        return _frame(key, key, time, sure, torch.zeros_like(sure))
    motion = seen_at(both, time)
    to_start, to_end = ways = -time * motion, (1 - time) * motion
    warped_trust = torch.cat([backward_warp(one.trust, way) for one, way in zip(both, ways, strict=True)], dim=1)
    first, last = drawn_along(start, to_start), drawn_along(end, to_end)
    return _frame(first, last, time, warped_trust, (to_end - to_start) / MOTION_UNIT)


def _frame(start: Tensor, end: Tensor, time: float, trust: Tensor, motion: Tensor) -> Guide:
    batch = len(start)
    pixels = {"start": start, "end": end, "trust": trust, "motion": motion}
    return Guide(
        **{name: values[:, None] for name, values in pixels.items()},
        time=start.new_full((batch, 1), time),
        guided=start.new_ones(batch),
    )
