"""Objective `denoise`: the denoiser learns the data, with a loss written in x0 through the family's process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator
from torch import Tensor

from ...errors import UsageError
from ...families.base import Condition, InterpolationPipeline
from ..condition_cache import ConditionCache
from ..recipe import Recipe
from .base import Batch
from .conditions import CONTROL
from .denoising import Denoising, DenoisingParams


class Params(DenoisingParams):
    """Args:
    train_denoiser: False leaves the denoiser as it is, for training point control alone.
    train_control: what follows tracks learns, too.
    train_decoder: the autoencoder's decoder learns too, from the pixel term.
    cache: a folder for latents and conditions, so that a clip seen again is not encoded again; None = none.

    The others as in `DenoisingParams`.
    """

    kind: Literal["denoise"] = "denoise"
    train_denoiser: bool = True
    train_control: bool = False
    train_decoder: bool = False
    cache: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.train_decoder and self.pixel is None:
            raise ValueError("train_decoder needs a pixel term to learn from")
        if not (self.train_denoiser or self.train_control or self.train_decoder):
            raise ValueError("nothing learns; set one of train_denoiser, train_control and train_decoder")
        return self


class Denoise(Denoising):
    """Trains the pipeline's denoiser over a frozen autoencoder."""

    params: Params

    def __init__(self, params: Params, pipeline: InterpolationPipeline) -> None:
        super().__init__(params, pipeline)
        pipeline.denoiser.requires_grad_(params.train_denoiser)
        if params.train_control:
            if CONTROL not in self.networks:
                raise UsageError("objective.train_control needs a model with point control; this one has none.")
            self.networks[CONTROL].requires_grad_(True)
        if params.train_decoder:
            self.networks["vae"].decoder.requires_grad_(True)
        self.cache = None if params.cache is None else ConditionCache(params.cache, pipeline, params.pixel is not None)

    def encoded(self, batch: Batch, guided: Sequence[bool]) -> tuple[Condition, Tensor]:
        if self.cache is not None:
            return self.cache.encoded(batch, guided, super().encoded)
        return super().encoded(batch, guided)


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> Denoise:
    """The objective for any family."""
    return Denoise(params, pipeline)
