"""Objective `denoise`: the denoiser learns the data, with a loss written in x0 through the family's process."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from ...families.base import InterpolationPipeline
from ..recipe import Recipe
from .denoising import Denoising, DenoisingParams


class Params(DenoisingParams):
    """Args:
    train_decoder: the autoencoder's decoder learns too, from the pixel term.

    The others as in `DenoisingParams`.
    """

    kind: Literal["denoise"] = "denoise"
    train_decoder: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.train_decoder and self.pixel is None:
            raise ValueError("train_decoder needs a pixel term to learn from")
        return self


class Denoise(Denoising):
    """Trains the pipeline's denoiser over a frozen autoencoder."""

    params: Params

    def __init__(self, params: Params, pipeline: InterpolationPipeline) -> None:
        super().__init__(params, pipeline)
        pipeline.denoiser.requires_grad_(True)
        if params.train_decoder:
            self.networks["vae"].decoder.requires_grad_(True)


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> Denoise:
    """The objective for any family."""
    return Denoise(params, pipeline)
