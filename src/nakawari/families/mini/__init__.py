"""The mini family: a small residual denoiser over a motion guide, a linear autoencoder, no text or image encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import MiniPipeline


def build(
    unet: dict[str, Any] | None = None,
    vae: dict[str, Any] | None = None,
    pipeline: dict[str, Any] | None = None,
) -> MiniPipeline:
    """A new model; arguments override mini's own configuration of each component."""
    from ...guide.motion import MotionGuide
    from ..tooncrafter.scheduler import ToonCrafterScheduler
    from .autoencoder import LinearAutoencoder
    from .pipeline import MiniPipeline
    from .unet import DATA_STD, MiniUNet

    return MiniPipeline(
        unet=MiniUNet(**(unet or {})),
        vae=LinearAutoencoder(**(vae or {})),
        scheduler=ToonCrafterScheduler(base_scale=1.0, set_alpha_to_one=True, data_std=DATA_STD),
        guide=MotionGuide(),
        **(pipeline or {}),
    )
