"""Recipe keys that all objectives on noisy latents have."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from ...diffusion import Weighting
from . import ObjectiveParams, RecipePart
from .pixels import PixelParams

WeightParams = dict[Weighting, float]


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


class DenoisingParams(ObjectiveParams):
    """Args:
    weighting: the factor on the squared error of x0, one of native, x0, noise, min-snr, or a weighted sum of them.
    inner_only: leave the two key frames out of the loss.
    pixel: a loss on decoded frames, with gradient through the decoder; None = none.
    last_time_share: share of samples at the noisiest time instead of a time drawn as the family trains: where few steps
        decide everything and the noise tells nothing.
    guide_dropout: share of samples without motion guidance.
    text_dropout, image_dropout: shares of samples without text, and without text and image.
    image_only_dropout: share of samples with text and without image.
    control_dropout: share of samples without their tracks, where they have some.
    sampling: how validation draws.
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
        # A subclass may leave rates open (None) until it knows the family.
        if sum(rate or 0 for rate in (self.text_dropout, self.image_dropout, self.image_only_dropout)) > 1:
            raise ValueError(
                "text_dropout, image_dropout and image_only_dropout are shares of one whole, together at most 1"
            )
        return self

    @property
    def weights(self) -> WeightParams:
        """The weighting as a sum."""
        return {self.weighting: 1.0} if isinstance(self.weighting, str) else self.weighting
