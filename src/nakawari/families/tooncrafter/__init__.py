"""The ToonCrafter family: 3D UNet, dual-reference autoencoder, DDIM over a velocity process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import ToonCrafterPipeline


def build(
    unet: dict[str, Any],
    vae: dict[str, Any],
    scheduler: dict[str, Any] | None = None,
    pipeline: dict[str, Any] | None = None,
) -> ToonCrafterPipeline:
    """A new model without text and image encoders, from the configurations of its components."""
    from .pipeline import ToonCrafterPipeline
    from .scheduler import ToonCrafterScheduler
    from .unet import ToonCrafterUNet
    from .vae import DualReferenceAutoencoder

    return ToonCrafterPipeline(
        unet=ToonCrafterUNet(**unet),
        vae=DualReferenceAutoencoder(**vae),
        scheduler=ToonCrafterScheduler(**(scheduler or {})),
        **(pipeline or {}),
    )
