"""Recipe keys of every kind of objective, separate from the objectives so that a wrong key is found quickly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from ...weighting import Weighting
from . import ObjectiveParams, RecipePart
from .params_parts import (
    LoraParams,
    Perceptual,
    PixelParams,
    PixelTerm,
    PriorParams,
    Sampling,
    TeacherParams,
    WatchParams,
)

if TYPE_CHECKING:
    from ...families.base import InterpolationPipeline

WeightParams = dict[Weighting, float]
Rate = float | None


class DenoisingParams(ObjectiveParams):
    """Args:
    weighting: the weight of the squared error of x0, one of native, x0, noise, min-snr, or a weighted sum of them.
    inner_only: exclude the two key frames from the loss.
    pixel: a loss on decoded frames, with gradient through the decoder; None = none.
    last_time_share: share of samples at the noisiest timestep instead of a random one: for models that draw in few
        steps.
    guide_dropout: share of samples without motion guidance.
    text_dropout, image_dropout: shares of samples without text, and without both text and image.
    image_only_dropout: share of samples with text and without image.
    control_dropout: share of samples whose tracks are dropped.
    sampling: sampling settings of validation.
    """

    weighting: Weighting | WeightParams = "native"
    inner_only: bool = False
    pixel: PixelTerm | None = None
    last_time_share: float = Field(0.0, ge=0, le=1)
    guide_dropout: float = Field(0.0, ge=0, le=1)
    text_dropout: float = Field(0.0, ge=0, le=1)
    image_dropout: float = Field(0.0, ge=0, le=1)
    image_only_dropout: float = Field(0.0, ge=0, le=1)
    control_dropout: float = Field(0.0, ge=0, le=1)
    sampling: Sampling = Sampling()

    @model_validator(mode="after")
    def _shares(self) -> Self:
        # A subclass may leave rates unset (None) until the family is known.
        if sum(rate or 0 for rate in (self.text_dropout, self.image_dropout, self.image_only_dropout)) > 1:
            raise ValueError("text_dropout, image_dropout and image_only_dropout add up to more than 1")
        return self

    @property
    def weights(self) -> WeightParams:
        """The weighting as a sum."""
        return {self.weighting: 1.0} if isinstance(self.weighting, str) else self.weighting


class AdaptParams(DenoisingParams):
    """Args:
    lora: the adapter.
    noise_l1: weight of the mean absolute error of the noise.
    weighting: as in `DenoisingParams`, in addition; {} = no squared term.
    guide_dropout, text_dropout, image_dropout, image_only_dropout: None = the family's own rates.
    prior: a loss on the base model's own drawings, against forgetting; None = none.
    gradient_checkpointing: recompute activations in the backward pass: less memory, more time.
    base_dtype: precision of the frozen denoiser and encoders; bf16 needs optim.mixed_precision bf16. With int8 the
        denoiser's linear and convolution layers are packed (`nakawari.quantization`) and dequantized on use, and
        the rest is unchanged. Adapters are always float32.
    cache: a folder for latents and conditions, so that a repeated clip is not encoded again; None = none.
    offload: keep networks that only compute conditions (encoders, guide; the autoencoder too, without a pixel term) in
        CPU memory until a clip is encoded. For one GPU.

    The others as in `DenoisingParams`.
    """

    kind: Literal["adapt"] = "adapt"
    lora: LoraParams = LoraParams()
    noise_l1: float = Field(1.0, ge=0)
    weighting: Weighting | WeightParams = Field(default_factory=dict)
    guide_dropout: Rate = Field(None, ge=0, le=1)
    text_dropout: Rate = Field(None, ge=0, le=1)
    image_dropout: Rate = Field(None, ge=0, le=1)
    image_only_dropout: Rate = Field(None, ge=0, le=1)
    prior: PriorParams | None = None
    gradient_checkpointing: bool = False
    base_dtype: Literal["fp32", "bf16", "int8"] = "fp32"
    cache: Path | None = None
    offload: bool = False

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not (self.noise_l1 or any(self.weights.values()) or self.pixel):
            raise ValueError("there is no loss: noise_l1 and weighting are zero and there is no pixel term")
        if self.lora.decoder_rank and self.pixel is None:
            raise ValueError("lora.decoder_rank needs a pixel term; give one, or set it to 0")
        return self

    def with_rates_of(self, pipeline: InterpolationPipeline) -> Self:
        """The same with the family's own rates where they are unset."""
        rates = {
            f"{name}_dropout": pipeline.condition_dropout.get(name, 0.0)
            for name in ("guide", "text", "image", "image_only")
            if getattr(self, f"{name}_dropout") is None
        }
        return type(self).model_validate(self.model_dump() | rates)


class AutoencodeParams(ObjectiveParams):
    """Args:
    pixel: the reconstruction loss.
    latent_noise: noise of a level uniform in [0, latent_noise] is added to the latents, so that the decoder tolerates a
        denoiser's errors.
    latent_dropout: share of samples whose latents are zero.
    guide_dropout: share of samples without motion guidance.
    inner_only: exclude the two key frames from the loss.
    latent_std: target standard deviation of the scaled latents of in-betweens, measured on
        the held-out samples by each validation and written into the saved model's `scaling_factor`; None leaves it
        unchanged.
    """

    kind: Literal["autoencode"] = "autoencode"
    pixel: PixelParams = PixelParams()
    latent_noise: float = Field(0.0, ge=0)
    latent_dropout: float = Field(0.0, ge=0, le=1)
    guide_dropout: float = Field(0.0, ge=0, le=1)
    inner_only: bool = False
    latent_std: float | None = Field(None, gt=0)


class DenoiseParams(DenoisingParams):
    """Args:
    train_denoiser: False freezes the denoiser, for training only point control.
    train_control: train the ControlNet as well.
    train_decoder: train the autoencoder's decoder as well, by the pixel term.
    gradient_checkpointing: forget the denoiser's activations and compute them again: less memory, more time.
    cache: a folder for latents and conditions, so that a repeated clip is not encoded again; None = none.

    The others as in `DenoisingParams`.
    """

    kind: Literal["denoise"] = "denoise"
    train_denoiser: bool = True
    train_control: bool = False
    train_decoder: bool = False
    gradient_checkpointing: bool = False
    cache: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.train_decoder and self.pixel is None:
            raise ValueError("train_decoder needs a pixel term")
        if not (self.train_denoiser or self.train_control or self.train_decoder):
            raise ValueError("nothing is trained; set one of train_denoiser, train_control and train_decoder")
        return self


class FewSteps(RecipePart):
    """Sampling settings of the student.

    Args:
        steps: in validation, and default of a call.
    """

    steps: int = Field(4, ge=1)


class FewStepPixels(PixelTerm):
    """A loss on decoded frames.

    Args:
        against: the true frames, or the decoded target of the student.
    """

    against: Literal["truth", "target"] = "truth"


class FewStepParams(DenoisingParams, TeacherParams):
    """Args:
    lora: the student is its base with this adapter ("turbo adapter"); None = the whole denoiser is trained.
    grid: number of timesteps on a trajectory; the teacher goes from each to the next in one DDIM step. Must be a
        multiple of the student's steps, so that its sampler uses trained timesteps.
    guidance: scale of the teacher's guidance, which is distilled into the student; 1 = none.
    guidance_rescale: 0 to 1, as in the family's sampler.
    huber: the distance of latents is sqrt(e^2 + huber^2) - huber, quadratic below and linear above this error;
        None = squared error.
    weighting: weight of that distance, by the names of `DenoisingParams`.
    pixel: adds a loss on decoded frames.
    sampling: the student's sampling settings.

    The others as in `DenoisingParams` and `TeacherParams`. `teacher_sampling`: sampling of the teacher's pictures
    for comparison in validation.
    """

    kind: Literal["few_step"] = "few_step"
    lora: LoraParams | None = None
    grid: int = Field(40, ge=2, le=1000)
    guidance: float = Field(1.0, ge=0)
    guidance_rescale: float = Field(0.0, ge=0, le=1)
    huber: float | None = Field(0.001, gt=0)
    weighting: Weighting | WeightParams = "x0"
    pixel: FewStepPixels | None = None
    sampling: FewSteps = FewSteps()


class TeacherPixels(PixelTerm):
    """A loss on decoded frames against the teacher's: by default 1.0 of L1 and 0.5 of the perceptual distance."""

    weight: float = Field(1.0, gt=0)
    perceptual: Perceptual = "st-lpips"
    perceptual_weight: float = Field(0.5, ge=0)


class ImitateParams(TeacherParams, DenoisingParams):
    """Args:
    regime: `drawings` (regime A) or `answers` (regime B).
    pixel: on decoded frames, against the teacher's; None = none.
    smooth_l1: weight of the smooth L1 distance of clean latents; None = 0 for drawings, 0.5 for answers.
    weighting: as in `DenoisingParams`, in addition; None = none for drawings, 0.25 of `noise` for answers, which is
        0.25 |noise' - noise_T|^2.
    features: weight of the relative squared error of the outputs of blocks with the same shape in student and teacher.
    truth: share of samples trained on the true frames instead of the teacher.
    cache: a folder for drawings; None = each is made when it is needed, which suits a teacher of one step.
    watch: collapse detection on the latents.

    The others as in `DenoisingParams`, `TeacherParams`.
    """

    kind: Literal["imitate"] = "imitate"
    regime: Literal["drawings", "answers"] = "drawings"
    pixel: TeacherPixels | None = TeacherPixels()
    smooth_l1: float | None = Field(None, ge=0)
    weighting: Weighting | WeightParams | None = None
    features: float = Field(0.0, ge=0)
    truth: float = Field(0.0, ge=0, le=1)
    cache: Path | None = Path("~/.cache/nakawari/drawings")
    watch: WatchParams = WatchParams()

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not (self.latent_weight or any(self.weights.values()) or self.pixel or self.features):
            raise ValueError("there is no loss: give a pixel term, smooth_l1, weighting or features a weight")
        return self

    @property
    def latent_weight(self) -> float:
        """Weight of the smooth L1 term in this regime."""
        return {"drawings": 0.0, "answers": 0.5}[self.regime] if self.smooth_l1 is None else self.smooth_l1

    @property
    def weights(self) -> WeightParams:
        """The weighting as a sum."""
        if self.weighting is None:
            return {} if self.regime == "drawings" else {"noise": 0.25}
        return super().weights


class RepairParams(TeacherParams, AdaptParams):
    """Args:
    teacher: the full-precision model that the base was quantized from.

    The others as in `AdaptParams`; a pixel term still compares with the true frames.
    """

    kind: Literal["repair"] = "repair"  # type: ignore[assignment]


PARAMS: dict[str, type[ObjectiveParams]] = {
    "adapt": AdaptParams,
    "autoencode": AutoencodeParams,
    "denoise": DenoiseParams,
    "few_step": FewStepParams,
    "imitate": ImitateParams,
    "repair": RepairParams,
}
"""Value of `objective.kind` -> parameters of such a recipe."""
