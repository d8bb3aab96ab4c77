"""Objective `guide`: the motion guide's network learns to warp, from what its blend draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ...errors import UsageError
from ...families.base import Condition, InterpolationPipeline
from ...guide import blend
from ..recipe import Recipe
from . import ObjectiveParams
from .base import Batch, StepOutput
from .conditions import inner, keys_of
from .pipeline_objective import PipelineObjective
from .pixels import PixelLoss, PixelParams


class Params(ObjectiveParams):
    """Args:
    pixel: the loss between the blend of the warped keys and the true frames.
    """

    kind: Literal["guide"] = "guide"
    pixel: PixelParams = PixelParams()


class Guide(PipelineObjective):
    """Trains the pipeline's `guide` on the frames between the keys."""

    def __init__(self, params: Params, pipeline: InterpolationPipeline) -> None:
        super().__init__(pipeline)
        if "guide" not in self.networks:
            raise UsageError("The objective guide needs a model with a guide; this one has none.")
        self.networks["guide"].requires_grad_(True)
        self.pixel = PixelLoss(params.pixel)

    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        frames = batch["frames"]
        truth = inner(frames)
        pixel = self.pixel(inner(self._blend(frames)), truth)
        with torch.no_grad():
            baseline = self.pixel(inner(_average(frames)), truth).mean()
        return StepOutput(pixel.mean(), {"baseline": baseline}, {"pixel": pixel.detach()})

    def _blend(self, frames: Tensor) -> Tensor:
        times = torch.linspace(0, 1, frames.shape[1])
        return blend(self.networks["guide"](*keys_of(frames), times))

    def draw(self, batch: Batch, guided: bool) -> Tensor:
        return self._blend(batch["frames"]) if guided else _average(batch["frames"])

    def draw_nothing(self, batch: Batch, condition: Condition) -> Tensor:
        return _average(batch["frames"])


def _average(frames: Tensor) -> Tensor:
    start, end = keys_of(frames)
    return ((start + end) / 2)[:, None].expand_as(frames)


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> Guide:
    """The objective for a pipeline with a motion guide."""
    return Guide(params, pipeline)
