"""The motion guide: keys warped to each in-between's time along an optical flow; an exchangeable part of a pipeline.

The flow between the keys is DIS (Kroeger et al. 2016, OpenCV), in both directions. For each time it is splatted forward
to that time, moving and well-matched pixels in front. Nothing here has weights.
"""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from torch.nn import functional

from ..guide import still
from .large_motion import agreement, arriving, choose, fill_holes, match, search_shifts
from .warp import backward_warp, drawn_along, forward_splat

_MATCH_SCALE = 10 / 127.5  # an error of 10 grey levels makes a match e times less credible
_MOTION_SCALE = 8.0  # 8 pixels of motion put a surface e times further in front
_MOTION_LIMIT = 40.0
_FLOW_UNIT = 16.0
_INITIAL_SCALE = 2
_LEAST_CREDIT = 0.05  # what a vector still counts that the other direction contradicts
_LUMA = (77 / 256, 150 / 256, 29 / 256)

Flows = tuple[Tensor, Tensor]


def dis_flow(first: Tensor, second: Tensor, finest_scale: int = 0, initial: Tensor | None = None) -> Tensor:
    """DIS optical flow from `first` to `second`, images (B, 3, H, W) in [-1, 1] -> (B, 2, H, W) in pixels.

    With `initial`, a flow of the same shape as the result, DIS starts there, at a quarter of the size.
    """
    import cv2

    # One thread: the pyramid is small, and the result does not depend on how the work is split.
    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    solver.setFinestScale(finest_scale)
    begins: list[np.ndarray | None] = [None] * len(first)
    if initial is not None:
        patches = min(first.shape[-2:]) // solver.getPatchSize()
        solver.setCoarsestScale(max(finest_scale, min(_INITIAL_SCALE, patches.bit_length() - 1)))
        begins = [np.ascontiguousarray(flow) for flow in initial.permute(0, 2, 3, 1).float().cpu().numpy()]
    flows = [solver.calc(a, b, c) for a, b, c in zip(_grey(first), _grey(second), begins, strict=True)]
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(first.device)


def _grey(images: Tensor) -> list[np.ndarray]:
    weights = torch.tensor(_LUMA, device=images.device)[:, None, None]
    grey = ((images.float() * weights).sum(1).clamp(-1, 1) + 1) * 127.5
    return [np.ascontiguousarray(image) for image in grey.round().byte().cpu().numpy()]


class MotionGuide(ModelMixin, ConfigMixin):
    """Two keys and the times between them -> the guide tensor of `nakawari.guide`.

    Args:
        finest_scale: the finest pyramid level of DIS; 0 is full resolution.
        min_size: images with a shorter side than this get no flow (DIS needs a few patches): the keys stay in place.
        search: also try every large shift (`large_motion`), take the better flow per pixel and fill what neither
            explains from around it.
        trust: two more channels at the end: how far each warped key is to be trusted, in [0, 1], where both
            directions of the flow agree and the keys' colours match along it. The blend does not use them.
        motion: two more after these: the motion from start to end key that is seen there, x and y, in sixteen pixels.

    Raises:
        ValueError: `motion` without `trust`, whose place in the guide comes before it.
    """

    @register_to_config
    def __init__(
        self,
        finest_scale: int = 0,
        min_size: int = 16,
        search: bool = False,
        trust: bool = False,
        motion: bool = False,
    ) -> None:
        super().__init__()
        if motion and not trust:
            raise ValueError("a guide with motion has trust, too; set trust")
        # diffusers asks every model for its dtype, and one without any tensor cannot answer.
        self.register_buffer("dtype_holder", torch.zeros(1), persistent=False)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """From the configuration alone: diffusers' own fails where no weights file lies."""
        config = cls.load_config(pretrained_model_name_or_path, local_files_only=kwargs.get("local_files_only", False))
        return cls.from_config(config).eval()

    def forward(self, start: Tensor, end: Tensor, times: Tensor) -> Tensor:
        """Guide (B, F, 9, H, W) for keys (B, 3, H, W) in [-1, 1] at `times` (F,) in [0, 1]; exact at 0 and 1.
        With `trust` it has 11 channels, with `motion` 13."""
        start, end = start.float(), end.float()
        flows = self._flows(start, end)
        trusted = self._trusted(start, end, flows) if self.config.trust else None
        return torch.stack([self._at(start, end, flows, trusted, float(time)) for time in times], dim=1)

    def still(self, start: Tensor, end: Tensor, times: Tensor) -> Tensor:
        """As a call, without motion; nothing is trusted."""
        more = 2 * (self.config.trust + self.config.motion)
        return functional.pad(still(start, end, times), (0, 0, 0, 0, 0, more))

    def _trusted(self, start: Tensor, end: Tensor, flows: Flows) -> Flows:
        """Trust in each place of the two keys, each (B, 1, H, W)."""
        forward, backward = flows
        return (
            match(start, end, forward) * agreement(forward, backward),
            match(end, start, backward) * agreement(backward, forward),
        )

    def _flows(self, start: Tensor, end: Tensor) -> Flows:
        if min(start.shape[-2:]) < self.config.min_size:
            still = start.new_zeros(start.shape[0], 2, *start.shape[-2:])
            return still, still
        scale = self.config.finest_scale
        flows = dis_flow(start, end, scale), dis_flow(end, start, scale)
        return searched(start, end, flows, scale) if self.config.search else flows

    def _at(self, start: Tensor, end: Tensor, flows: Flows, trusted: Flows | None, time: float) -> Tensor:
        if time in (0.0, 1.0):
            key = end if time else start
            sure = torch.ones_like(key[:, :2])
            more = [sure] if self.config.trust else []
            return self._pack(key, key, sure, time, more + [torch.zeros_like(sure)] * self.config.motion)
        splatted = splat_to(start, end, flows, time, trusted=self.config.search)
        to_start, to_end = ways = -time * splatted, (1 - time) * splatted
        # Splat density says what was uncovered, but weighing the keys by it loses 0.1 dB on real drawings.
        visible = torch.ones_like(start[:, :2])
        more = [] if trusted is None else [backward_warp(part, way) for part, way in zip(trusted, ways, strict=True)]
        if self.config.motion:
            more.append((to_end - to_start) / _FLOW_UNIT)
        return self._pack(drawn_along(start, to_start), drawn_along(end, to_end), visible, time, more)

    def _pack(self, first: Tensor, last: Tensor, visible: Tensor, time: float, more: list[Tensor]) -> Tensor:
        return torch.cat([first, last, visible, torch.full_like(first[:, :1], time), *more], dim=1)


def searched(start: Tensor, end: Tensor, flows: Flows, finest_scale: int = 0) -> Flows:
    """Per pixel the better of `flows` and of DIS begun at an exhaustive search for large shifts."""
    shifts = [search_shifts(a, b) for a, b in zip(start, end, strict=True)]
    forward, backward = (torch.stack(way) for way in zip(*shifts, strict=True))
    others = dis_flow(start, end, finest_scale, forward), dis_flow(end, start, finest_scale, backward)
    return choose(start, end, flows, others)


def splat_to(start: Tensor, end: Tensor, flows: Flows, time: float, trusted: bool = False) -> Tensor:
    """The start-to-end motion seen at `time`, (B, 2, H, W).

    `trusted`: vectors that both directions agree on go in front, and what they leave open is filled from around it.
    """
    forward, backward = flows
    credits = (agreement(forward, backward), agreement(backward, forward)) if trusted else (None, None)
    sum_start, weight_start = _project(start, end, forward, time, credits[0])
    sum_end, weight_end = _project(end, start, backward, 1 - time, credits[1])
    total = weight_start + weight_end
    in_place = 0.5 * (forward - backward)
    motion = ((sum_start - sum_end) / total.clamp(min=1e-8)).where(total > 1e-4, in_place)
    if trusted:
        cover = arriving(start, end, forward, backward, time) + arriving(end, start, backward, forward, 1 - time)
        motion = fill_holes(motion, cover)
    return motion


def _project(
    source: Tensor, target: Tensor, flow: Tensor, reach: float, credit: Tensor | None
) -> tuple[Tensor, Tensor]:
    mismatch = (source - backward_warp(target, flow)).abs().mean(1, keepdim=True)
    length = flow.norm(dim=1, keepdim=True).clamp(max=_MOTION_LIMIT)
    weight = ((-mismatch / _MATCH_SCALE).exp() + 1e-4) * (length / _MOTION_SCALE).exp()
    if credit is not None:
        weight = weight * (credit + _LEAST_CREDIT)
    return forward_splat(flow, reach * flow, weight)
