"""The motion guide: keys warped to each frame's time along an optical flow; an exchangeable part of a pipeline."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from ..errors import NakawariError
from ..threads import spread
from .flow import Surface, ordered_surfaces, seen_at, sought
from .layers import settled
from .layout import CHANNELS, MOTION_UNIT, Guide, LedGuide
from .led import Lead, Led, hidden, lead, uncovered
from .search import Flows
from .warp import backward_warp, drawn_along, off_picture

_LEAST_SIDE = 16  # DIS needs a few patches along each side
_FORMER_SETTINGS = {"finest_scale": 0, "min_size": _LEAST_SIDE, "search": True, "trust": True, "motion": True}
"""Settings saved by earlier revisions, with the values that are constant now."""


class MotionGuide(ModelMixin, ConfigMixin):
    """Two keys and the times between them -> a `Guide`. It has no weights and no settings.

    The flow is sought in several ways, by DIS from coarse to fine and near by, and by an exhaustive search for large
    shifts (`search`); the one is taken whose pictures half-way agree best (`flow.sought`), and pixels that a main
    motion suits better take that (`layers`). Where neither direction of the flow agrees, motion is filled in from
    around the place.
    What lies outside of one key's picture is taken from the other.
    Keys with a side shorter than 16 pixels stay in place.
    """

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        # diffusers needs the dtype of every model, which a model without tensors does not have.
        self.register_buffer("dtype_holder", torch.zeros(1), persistent=False)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Load from the configuration only: diffusers' own method fails without a weights file.

        Raises:
            NakawariError: a guide of another kind, saved by an earlier revision, which is no longer supported.
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

        `led`: tracks, the positions of points in every frame; the flow follows them, and the result
        is a `LedGuide`.
        """
        start, end = start.float(), end.float()
        flows = _flows(start, end)
        own = None if led is None else lead(start, end, flows, times, led)
        both = ordered_surfaces(start, end, flows if own is None else own.flows)
        channels = {name: CHANNELS[name] for name in ("start", "end", "trust", "motion")}
        channels |= {} if own is None else {"detour": 2, "hidden": 1}
        size = start.shape[-2:]
        drawn = {name: start.new_empty(len(start), len(times), count, *size) for name, count in channels.items()}

        def draw(job: tuple[int, float]) -> None:
            one = _at(start, end, both, *job, own).tensors()
            for name, frames in drawn.items():  # by the core that draws it, and never all of them twice in memory
                frames[:, job[0]] = one[name][:, 0]

        spread(draw, list(enumerate(times.tolist())), start.device)
        moments, guided = times.to(start).repeat(len(start), 1), start.new_ones(len(start))
        return (Guide if own is None else LedGuide)(**drawn, time=moments, guided=guided)


def _flows(start: Tensor, end: Tensor) -> Flows:
    if min(start.shape[-2:]) < _LEAST_SIDE:
        nowhere = start.new_zeros(start.shape[0], 2, *start.shape[-2:])
        return nowhere, nowhere
    return settled(start, end, sought(start, end))


def _at(start: Tensor, end: Tensor, both: tuple[Surface, Surface], frame: int, time: float, own: Lead | None) -> Guide:
    """The guide of one frame."""
    if time in (0.0, 1.0):
        key = end if time else start
        sure = torch.ones_like(key[:, :2])
        still = torch.zeros_like(sure)
        return _frame(key, key, time, sure, still, {} if own is None else {"detour": still, "hidden": still[:, :1]})
    motion, detour = seen_at(both, time, None if own is None else own.detours[frame])
    to_start, to_end = -time * motion, (1 - time) * motion
    ways = (to_start, to_end) if detour is None else (to_start - detour, to_end - detour)
    warped_trust = torch.cat([backward_warp(one.trust, way) for one, way in zip(both, ways, strict=True)], dim=1)
    first, last = (drawn_along(key, way) for key, way in zip((start, end), ways, strict=True))
    # Content that leaves one key's picture is taken from the other instead of replicating the border.
    gone = off_picture(ways[0], start.shape[-2:]) - off_picture(ways[1], start.shape[-2:])
    led = {}
    if own is not None and detour is not None:
        led = {"detour": detour, "hidden": hidden(own, ways)}
        gone = (gone + led["hidden"]).clamp(-1, 1)
    first, last = uncovered(first, last, gone)
    return _frame(first, last, time, warped_trust, (to_end - to_start) / MOTION_UNIT, led)


def _frame(start: Tensor, end: Tensor, time: float, trust: Tensor, motion: Tensor, led: Mapping[str, Tensor]) -> Guide:
    batch = len(start)
    pixels = {"start": start, "end": end, "trust": trust, "motion": motion, **led}
    return (LedGuide if led else Guide)(
        **{name: values[:, None] for name, values in pixels.items()},
        time=start.new_full((batch, 1), time),
        guided=start.new_ones(batch),
    )
