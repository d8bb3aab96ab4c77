"""Kind `denoise`: parts of a model learn the truth of its data."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from ...errors import UsageError
from ...families.base import InterpolationPipeline
from ..condition_cache import ConditionCache
from ..recipe import Recipe
from .conditions import CONTROL
from .denoiser import DenoiserObjective, Extras, Learner
from .params import DenoisingParams
from .targets import Target, true_latents
from .terms import LatentTerms


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


def parts_learn(params: Params, pipeline: InterpolationPipeline) -> DenoiserObjective:
    """The objective of the denoiser, of what follows tracks, of the decoder, over all else frozen."""
    parts = pipeline.components
    if params.train_control and parts.get(CONTROL) is None:
        raise UsageError("objective.train_control needs a model with point control; this one has none.")

    def begin() -> None:
        pipeline.denoiser.requires_grad_(params.train_denoiser)
        if params.train_control:
            parts[CONTROL].requires_grad_(True)
        if params.train_decoder:
            parts["vae"].decoder.requires_grad_(True)

    cache = None if params.cache is None else ConditionCache(params.cache, pipeline, params.pixel is not None)
    return DenoiserObjective(
        params,
        pipeline,
        Learner(begin),
        Target(true_latents),
        LatentTerms(weights=params.weights, inner_only=params.inner_only),
        Extras(sampling=params.sampling.words(), cache=cache),
    )


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> DenoiserObjective:
    """The objective for any family."""
    return parts_learn(params, pipeline)
