"""Keys shared by several objectives."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from . import RecipePart

Perceptual = Literal["none", "st-lpips", "lpips-vgg", "lpips-alex"]


class LoraParams(RecipePart):
    """Args:
    target: a preset of the family by name, or a regular expression over the denoiser's module names; matching
        linear and convolution layers are adapted.
    rank: rank of the adapter.
    alpha: the adapter's output is multiplied by alpha / rank; None = rank.
    dropout: share of the adapter's inputs set to zero in training.
    init: initialisation of the inner matrix; the outer one starts at zero. Other initialisations of PEFT change the
        base.
    rslora: multiply by alpha / sqrt(rank) instead (Kalajdzievski 2023).
    dora: train each output's magnitude separately (Liu et al. 2024).
    decoder_rank: rank of a second adapter, on the linear layers and the spatial convolutions of the
        autoencoder's decoder, trained by the pixel term. 0 = none. For models that are limited by their decoder.
    """

    target: str = "cross-attention"
    rank: int = Field(16, ge=1)
    alpha: float | None = Field(None, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    init: Literal["kaiming", "gaussian"] = "kaiming"
    rslora: bool = False
    dora: bool = False
    decoder_rank: int = Field(0, ge=0)


class PixelParams(RecipePart):
    """The loss between drawn and true frames: l1 * mean absolute error + l2 * mean squared error
    + log_l2 * log10(mean squared error + log_floor) + perceptual_weight * perceptual distance.

    The squared error is dominated by moving parts of the worst clips. Its logarithm corresponds to PSNR: a nearly
    correct clip counts as much as a bad one, so noise on a held background is penalised. The floor keeps it finite and
    limits the weight of clips better than it; frames span 2, so 4e-5 is 50 dB and 2e-3 is 33 dB.

    Args:
        l1: weight of the mean absolute error.
        l2: weight of the mean squared error.
        log_l2: weight of its logarithm, which corresponds to PSNR.
        log_floor: added before the logarithm; limits the weight of better clips.
        perceptual: the perceptual distance.
        perceptual_weight: its weight.
    """

    l1: float = Field(1.0, ge=0)
    l2: float = Field(0.0, ge=0)
    log_l2: float = Field(0.0, ge=0)
    log_floor: float = Field(4e-5, gt=0)
    perceptual: Perceptual = "none"
    perceptual_weight: float = Field(1.0, ge=0)


class PixelTerm(PixelParams):
    """A loss on decoded frames.

    Args:
        weight: of the pixel loss.
        frames: number of random in-betweens of each clip to decode.
    """

    weight: float = Field(gt=0)
    frames: int = Field(2, ge=1)


class Sampling(RecipePart):
    """Sampling settings of validation.

    Args:
        steps: sampling steps.
        guidance: scale; 1 = none.
        eta: noise of the sampler; 0 = DDIM.
    """

    steps: int = Field(8, ge=1)
    guidance: float = 1.0
    eta: float = Field(0.0, ge=0)

    def words(self) -> dict[str, Any]:
        """The settings as arguments of a pipeline's call."""
        return {"num_inference_steps": self.steps, "guidance_scale": self.guidance, "eta": self.eta}


class PriorParams(RecipePart):
    """Args:
    weight: of the loss on these clips, relative to that on the show.
    clips: number of different clips; their keys are from synthetic scenes.
    steps: sampling steps of a drawing.
    """

    weight: float = Field(1.0, gt=0)
    clips: int = Field(32, ge=1)
    steps: int = Field(8, ge=1)


class TeacherSampling(RecipePart):
    """Sampling settings of the teacher.

    Args:
        steps: sampling steps.
        guidance: scale; None = the family's own.
        eta: noise of the sampler; 0 = DDIM.
    """

    steps: int = Field(20, ge=1)
    guidance: float | None = None
    eta: float = Field(0.0, ge=0)


class TeacherParams(RecipePart):
    """Keys of every objective with a teacher.

    Args:
        teacher: a variant, `BASE[+ADAPTER@SCALE][:PRECISION]`.
        teacher_sampling: its sampling settings, if its drawings are needed.
    """

    teacher: str
    teacher_sampling: TeacherSampling = TeacherSampling()


class WatchParams(RecipePart):
    """Args:
    every: steps between two checks.
    band: allowed factor between the deviation and the teacher's, up or down; 2^0.5 is half or twice the variance.
    start: steps without stopping; earlier checks are only logged.
    patience: number of checks in a row outside the band that stop the run; 0 = only log.
    """

    every: int = Field(50, ge=1)
    band: float = Field(2**0.5, gt=1)
    start: int = Field(200, ge=0)
    patience: int = Field(3, ge=0)
