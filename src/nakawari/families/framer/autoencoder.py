"""Framer's autoencoder: that of Stable Video Diffusion, with a configurable number of norm groups."""

from __future__ import annotations

from typing import Self

from diffusers import AutoencoderKLTemporalDecoder
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401 (diffusers looks for it in the module of a class)
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor

from ..tiling import DecodesInParts, Window, cut, in_parts
from .blocks import set_norm_groups


class FramerAutoencoder(DecodesInParts, AutoencoderKLTemporalDecoder):
    """`AutoencoderKLTemporalDecoder` with the same weights and other arguments.

    Args:
        norm_groups: groups of the group norms. A narrow model needs fewer than 32: a group of one channel loses its
            mean, and with it the colour of a plain background.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",),
        block_out_channels: tuple[int, ...] = (64,),
        layers_per_block: int = 1,
        latent_channels: int = 4,
        sample_size: int = 32,
        scaling_factor: float = 0.18215,
        force_upcast: float = True,
        norm_groups: int = 32,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            latent_channels=latent_channels,
            sample_size=sample_size,
            scaling_factor=scaling_factor,
            force_upcast=force_upcast,
        )
        set_norm_groups(self, norm_groups)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As for every module, but for an attention in the middle of the decoder that has no part in the picture where
        there is one layer: `MidBlockTemporalDecoder` of diffusers holds it and never asks it."""
        super().requires_grad_(requires_grad)
        if self.config.layers_per_block == 1:
            self.decoder.mid_block.attentions.requires_grad_(False)
        return self

    @apply_forward_hook
    def decode(self, z: Tensor, num_frames: int, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """As the base class, latents (B * F, C, h, w) of clips of `num_frames`; sliced or tiled if enabled."""
        clips = z.unflatten(0, (-1, num_frames))

        def decode(which: slice, window: Window) -> Tensor:
            (part,) = cut([clips[which]], window, z.shape[-1])
            drawn = super(FramerAutoencoder, self).decode(part.flatten(0, 1), num_frames, return_dict=False)[0]
            return drawn.unflatten(0, part.shape[:2])

        factor = 2 ** (len(self.config.block_out_channels) - 1)
        drawn = in_parts(self, clips, factor, decode).flatten(0, 1)
        return DecoderOutput(sample=drawn) if return_dict else (drawn,)
