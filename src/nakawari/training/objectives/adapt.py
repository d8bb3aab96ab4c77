"""Objective `adapt`: a low-rank adapter makes a model better at one show; everything else stays as it is.

The loss is written in noise and x0 through the family's process, so it is right whatever the denoiser answers with:
noise_l1 * |noise' - noise| + a weighted squared error + pixel.weight * pixel loss(x0', x0), decoded with gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ...adapters import DECODER, IMAGE_ADAPTER, adapted_networks, autoencoder, disabled, save
from ...diffusion import Weighting
from ...errors import UsageError
from ...families.base import Condition, InterpolationPipeline
from ...quantization.layers import packed_layers
from ...quantization.precisions import quantize_layers, uniform
from ..condition_cache import ConditionCache
from ..lora import ADAPTER, LoraParams, add_lora, train_adapter
from ..offload import Offload
from ..recipe import Recipe
from .base import Batch, StepOutput
from .denoising import Denoising, DenoisingParams, Weights
from .noise_answer import noise_answer
from .prior import Prior, PriorParams

Rate = float | None


class Params(DenoisingParams):
    """Args:
    lora: the adapter.
    noise_l1: weight of the mean absolute error of the noise.
    weighting: as in `DenoisingParams`, added to it; {} = no squared term.
    guide_dropout, text_dropout, image_dropout, image_only_dropout: None = as the family was trained.
    prior: a loss on the base model's own drawings, against forgetting; None = none.
    gradient_checkpointing: forget activations and compute them again: less memory, more time.
    base_dtype: the frozen denoiser and towers in this precision; bf16 needs optim.mixed_precision bf16. With int8 the
        denoiser's linear and convolution layers are packed (`nakawari.quantization`) and unpacked as they are used, and
        the rest stays. Adapters are always float32.
    cache: a folder for latents and conditions, so that a clip seen again is not encoded again; None = none.
    offload: what only makes conditions (towers, guide; the autoencoder, too, where there is no pixel term) waits in
        the CPU's memory until a clip is encoded. For one GPU.
    ablation: answer-noise = the loss of a trainer that takes every network's output for the noise (see
        `noise_answer`); it spoils the model and is there to be looked at.

    The others as in `DenoisingParams`.
    """

    kind: Literal["adapt"] = "adapt"
    lora: LoraParams = LoraParams()
    noise_l1: float = Field(1.0, ge=0)
    weighting: Weighting | Weights = Field(default_factory=dict)
    guide_dropout: Rate = Field(None, ge=0, le=1)
    text_dropout: Rate = Field(None, ge=0, le=1)
    image_dropout: Rate = Field(None, ge=0, le=1)
    image_only_dropout: Rate = Field(None, ge=0, le=1)
    prior: PriorParams | None = None
    gradient_checkpointing: bool = False
    base_dtype: Literal["fp32", "bf16", "int8"] = "fp32"
    cache: Path | None = None
    offload: bool = False
    ablation: Literal["answer-noise"] | None = None

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not (self.noise_l1 or any(self.weights.values()) or self.pixel):
            raise ValueError("nothing to learn from: noise_l1 and weighting are zero and there is no pixel term")
        if self.lora.decoder_rank and self.pixel is None:
            raise ValueError("lora.decoder_rank needs a pixel term to learn from")
        return self

    def with_rates_of(self, pipeline: InterpolationPipeline) -> Self:
        """The same with the family's own rates where none are given."""
        rates = {
            f"{name}_dropout": pipeline.condition_dropout.get(name, 0.0)
            for name in ("guide", "text", "image", "image_only")
            if getattr(self, f"{name}_dropout") is None
        }
        return type(self).model_validate(self.model_dump() | rates)


class Adapt(Denoising):
    """Trains an adapter on the pipeline's denoiser, and a linear layer behind an image tower that needs one."""

    params: Params

    def __init__(self, params: Params, pipeline: InterpolationPipeline, seed: int = 0) -> None:
        _shrink(pipeline, params.base_dtype)
        new_image_adapter = pipeline.add_image_adapter()
        super().__init__(params.with_rates_of(pipeline), pipeline, learns_condition=new_image_adapter)
        self.layers = add_lora(pipeline, params.lora)
        if new_image_adapter:
            self.networks[IMAGE_ADAPTER].requires_grad_(True)
        if params.gradient_checkpointing:
            pipeline.denoiser.enable_gradient_checkpointing()
        for option in ("cache", "offload"):
            if getattr(params, option) and self.learns_condition:
                raise UsageError(
                    f"objective.{option} cannot keep conditions while an image adapter learns, as they change with it; "
                    f"leave the {option} out."
                )
        self.cache = None if params.cache is None else ConditionCache(params.cache, pipeline, params.pixel is not None)
        self.offload = Offload(self._waiting() if params.offload else [])
        self.prior = None if params.prior is None else Prior(params.prior, pipeline, seed)
        self._base_drawn: dict[tuple[int, ...], Tensor] = {}

    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        if self.params.ablation is not None:
            return noise_answer(self, batch, generators)
        output = super().forward(batch, generators)
        if self.prior is None:
            return output
        with self.offload.on(batch["frames"].device):
            drawn = self.prior.batch(batch, generators)
        kept = super().forward(drawn, generators)
        weight = self.prior.params.weight
        logs = dict(output.logs) | {"prior": kept.loss, "prior_baseline": kept.logs["baseline"]}
        logs["baseline"] = logs["baseline"] + weight * kept.logs["baseline"]
        return StepOutput(output.loss + weight * kept.loss, logs, output.details)

    def encoded(self, batch: Batch, guided: Sequence[bool]) -> tuple[Condition, Tensor]:
        if self.cache is not None:
            return self.cache.encoded(batch, guided, self._encode)
        return self._encode(batch, guided)

    def _encode(self, batch: Batch, guided: Sequence[bool]) -> tuple[Condition, Tensor]:
        with self.offload.on(batch["frames"].device):
            return super().encoded(batch, guided)

    def _waiting(self) -> list[torch.nn.Module]:
        """The networks that training steps need for conditions alone."""
        needed = {self.pipeline.denoiser} | ({self.networks["vae"]} if self.pixel is not None else set())
        return [network for network in self.networks.values() if network not in needed]

    def validate(self, batches: Sequence[Batch]) -> dict[str, float]:
        with self.offload.on(batches[0]["frames"].device):
            return super().validate(batches)

    def sample(self, batches: Sequence[Batch], folder: Path) -> None:
        with self.offload.on(batches[0]["frames"].device):
            super().sample(batches, folder)

    def latent_loss(self, estimate: Tensor, x0: Tensor, t: Tensor, known: Tensor | None = None) -> Tensor:
        """The error of the noise and the weighted squared error of x0, per sample (B,).

        Both noise and estimate make the same x_t, so |noise' - noise| = sqrt(SNR) |x0' - x0|.
        """
        column = (-1, *[1] * (x0.ndim - 1))
        root = self.pipeline.process.snr(t).sqrt().to(x0).reshape(column)
        noise = self.params.noise_l1 * self.frame_mean(root * (estimate - x0).abs(), known)
        return noise + super().latent_loss(estimate, x0, t, known)

    def train(self, mode: bool = True) -> Adapt:
        """See `train_adapter`."""
        super().train(mode)
        train_adapter(self.networks, mode)
        return self

    def draw_nothing(self, batch: Batch, condition: Condition) -> Tensor:
        """The base model's drawing."""
        key = tuple(batch["index"])
        if key not in self._base_drawn:
            with disabled(*adapted_networks(self.pipeline)):
                self._base_drawn[key] = self.draw(batch, guided=True)
        return self._base_drawn[key]

    def save(self, folder: Path) -> None:
        """The adapter in diffusers' layout, and beside it the decoder's and the image adapter where there are such."""
        save(self.pipeline.denoiser, folder, ADAPTER)
        if self.params.lora.decoder_rank:
            save(autoencoder(self.pipeline), folder / DECODER, ADAPTER)
        if IMAGE_ADAPTER in self.networks:
            self.networks[IMAGE_ADAPTER].save_pretrained(folder / IMAGE_ADAPTER)


KEPT_WHOLE = ("vae", "guide")
"""Parts that stay in float32: they are small, and pixels are seen."""


def _shrink(pipeline: InterpolationPipeline, base_dtype: str) -> None:
    """The frozen base in less memory, where it was not loaded so."""
    if base_dtype == "int8" and not packed_layers(pipeline.denoiser):
        quantize_layers(pipeline.denoiser, uniform(pipeline.denoiser, "int8"))
    elif base_dtype == "bf16":
        for name, part in pipeline.components.items():
            if isinstance(part, torch.nn.Module) and name not in KEPT_WHOLE:
                part.to(torch.bfloat16)


def build(params: Params, pipeline: InterpolationPipeline, recipe: Recipe) -> Adapt:
    """The objective for any family."""
    if params.base_dtype == "bf16" and recipe.optim.mixed_precision != "bf16":
        raise UsageError("objective.base_dtype bf16 computes in bf16; set optim.mixed_precision to bf16, too.")
    return Adapt(params, pipeline, recipe.seed)
