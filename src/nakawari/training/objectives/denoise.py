"""Kind `denoise`: train components of a model on true frames."""

from __future__ import annotations

from ...errors import UsageError
from ...families.base import InterpolationPipeline
from ..condition_cache import ConditionCache
from ..recipe import Recipe
from .conditions import CONTROL
from .denoiser import DenoiserObjective, Extras, Learner
from .params import DenoiseParams
from .targets import Target, true_latents
from .terms import LatentTerms


def parts_learn(params: DenoiseParams, pipeline: InterpolationPipeline) -> DenoiserObjective:
    """The objective of the denoiser, the ControlNet and the decoder, as selected; all else is frozen."""
    parts = pipeline.components
    if params.train_control and parts.get(CONTROL) is None:
        raise UsageError("objective.train_control needs a model with point control; this one has none.")

    def begin() -> None:
        pipeline.denoiser.requires_grad_(params.train_denoiser)
        if params.gradient_checkpointing:
            pipeline.denoiser.enable_gradient_checkpointing()
        if params.train_control:
            parts[CONTROL].requires_grad_(True)
        if params.train_decoder:
            # Through the autoencoder, which knows the unused parameters of its decoder.
            parts["vae"].requires_grad_(True)
            for name, part in parts["vae"].named_children():
                if name != "decoder":
                    part.requires_grad_(False)

    cache = None if params.cache is None else ConditionCache(params.cache, pipeline, params.pixel is not None)
    return DenoiserObjective(
        params,
        pipeline,
        Learner(begin),
        Target(true_latents),
        LatentTerms(weights=params.weights, inner_only=params.inner_only),
        Extras(sampling=params.sampling.words(), cache=cache),
    )


def build(params: DenoiseParams, pipeline: InterpolationPipeline, recipe: Recipe) -> DenoiserObjective:
    """The objective for any family."""
    return parts_learn(params, pipeline)
