"""Parts that the keys of several objectives have in common."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from . import RecipePart

Perceptual = Literal["none", "st-lpips", "lpips-vgg", "lpips-alex"]


class LoraParams(RecipePart):
    """Args:
    target: a preset of the family by name, or a regular expression over the denoiser's module names; of what it
        matches, linear and convolution layers are adapted.
    rank: width of the adapter.
    alpha: the adapter's output is multiplied by alpha / rank; None = rank.
    dropout: share of the adapter's inputs set to zero in training.
    init: how the inner matrix starts; the outer one starts at zero. What PEFT has beside these changes the base.
    rslora: multiply by alpha / sqrt(rank) instead (Kalajdzievski 2023).
    dora: learn each output's magnitude apart (Liu et al. 2024).
    decoder_rank: width of a second adapter, on the linear layers and the convolutions within a frame of the
        autoencoder's decoder; it learns from the pixel term. 0 = none. For models whose decoder decides much of what
        is seen.
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

    Squared error looks at what moved, in the clips where most is wrong. Its logarithm is PSNR: a clip that is nearly
    right counts as much as a hopeless one, so noise on a held background costs. The floor keeps it finite, and clips
    that are better than it from ruling over the others; frames span 2, so 4e-5 is 50 dB and 2e-3 is 33 dB.

    Args:
        l1: weight of the mean absolute error.
        l2: weight of the mean squared error.
        log_l2: weight of its logarithm, which is PSNR.
        log_floor: is added before the logarithm; clips better than this do not count more.
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
        frames: how many random in-betweens of each clip are decoded.
    """

    weight: float = Field(gt=0)
    frames: int = Field(2, ge=1)


class Sampling(RecipePart):
    """How validation draws.

    Args:
        steps: of sampling.
        guidance: scale; 1 = none.
        eta: noise of the sampler; 0 = DDIM.
    """

    steps: int = Field(8, ge=1)
    guidance: float = 1.0
    eta: float = Field(0.0, ge=0)

    def words(self) -> dict[str, Any]:
        """The same in the words of a pipeline's call."""
        return {"num_inference_steps": self.steps, "guidance_scale": self.guidance, "eta": self.eta}


class PriorParams(RecipePart):
    """Args:
    weight: of the loss on these clips beside that on the show.
    clips: how many different ones there are; their keys are from synthetic scenes.
    steps: sampling steps of a drawing.
    """

    weight: float = Field(1.0, gt=0)
    clips: int = Field(32, ge=1)
    steps: int = Field(8, ge=1)


class TeacherSampling(RecipePart):
    """How the teacher draws.

    Args:
        steps: of sampling.
        guidance: scale; None = the family's own.
        eta: noise of the sampler; 0 = DDIM.
    """

    steps: int = Field(20, ge=1)
    guidance: float | None = None
    eta: float = Field(0.0, ge=0)


class TeacherParams(RecipePart):
    """Keys of every objective that learns from a teacher.

    Args:
        teacher: a variant, `BASE[+ADAPTER@SCALE][:PRECISION]`.
        teacher_sampling: how it draws, where its drawings are wanted.
    """

    teacher: str
    teacher_sampling: TeacherSampling = TeacherSampling()


class WatchParams(RecipePart):
    """Args:
    every: steps between two looks.
    band: the factor up or down that the deviation may lie from the teacher's; 2^0.5 is half or twice the variance.
    start: steps without stopping; looks before this one are only logged.
    patience: so many looks outside the band in a row stop the run; 0 = only log.
    """

    every: int = Field(50, ge=1)
    band: float = Field(2**0.5, gt=1)
    start: int = Field(200, ge=0)
    patience: int = Field(3, ge=0)
