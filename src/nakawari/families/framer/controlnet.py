"""The ControlNet of Framer: from track heatmaps to residuals for the skips of the UNet.

Sources: Zhang et al. 2023 (ControlNet); Wang et al. 2024 (Framer). The encoder has the same keys as the UNet's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Self

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_3d_blocks import UNetMidBlockSpatioTemporal, get_down_block
from torch import Tensor, nn
from torch.nn.functional import silu

from .blocks import (
    EncoderHalf,
    TemporalContext,
    check_divisible,
    check_temporal_context,
    order_temporal_blocks,
    per_level,
    set_norm_groups,
)
from .unet import FramerUNet


def _zeroed(module: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    return module


class HeatmapEmbedding(nn.Module):
    """Heatmaps (N, C, H, W), 0 to 255, to features (N, D, H/8, W/8): strided convolutions, zero-initialised."""

    def __init__(self, channels: int, widths: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for width, following in pairwise(widths):
            self.blocks.append(nn.Conv2d(width, width, 3, padding=1))
            self.blocks.append(nn.Conv2d(width, following, 3, padding=1, stride=2))
        self.conv_out = _zeroed(nn.Conv2d(widths[-1], out_channels, 3, padding=1))

    def forward(self, heatmaps: Tensor) -> Tensor:
        hidden = silu(self.conv_in(heatmaps))
        for block in self.blocks:
            hidden = silu(block(hidden))
        return self.conv_out(hidden)


class ControlNetSVD(EncoderHalf, ModelMixin, AttentionMixin, ConfigMixin, PeftAdapterMixin):
    """A trainable copy of the UNet's encoder that outputs residuals; zero-initialised.

    Args:
        conditioning_channels: channels of the heatmaps.
        conditioning_embedding_out_channels: widths of the heatmap embedding; each step between two halves the size.
        temporal_context: as in `FramerUNet`; the two must agree.

        norm_groups: as in `FramerUNet`.

    The other arguments are those of `UNetSpatioTemporalConditionModel`, one number or one per level; the defaults are
    those of the released model.

    Raises:
        ValueError: a list whose length is not the number of levels, or an unknown `temporal_context`.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        sample_size: int | None = 96,
        in_channels: int = 9,
        down_block_types: tuple[str, ...] = (
            "CrossAttnDownBlockSpatioTemporal",
            "CrossAttnDownBlockSpatioTemporal",
            "CrossAttnDownBlockSpatioTemporal",
            "DownBlockSpatioTemporal",
        ),
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        addition_time_embed_dim: int = 256,
        projection_class_embeddings_input_dim: int = 768,
        layers_per_block: int | Sequence[int] = 2,
        cross_attention_dim: int | Sequence[int] = 1024,
        transformer_layers_per_block: int | Sequence[int] = 1,
        num_attention_heads: int | Sequence[int] = (5, 10, 20, 20),
        num_frames: int = 25,
        conditioning_channels: int = 3,
        conditioning_embedding_out_channels: tuple[int, ...] = (16, 32, 96, 256),
        temporal_context: TemporalContext = "interleaved",
        norm_groups: int = 32,
    ) -> None:
        super().__init__()
        check_temporal_context(temporal_context)
        levels = len(down_block_types)
        widths = per_level(block_out_channels, levels, "block_out_channels")
        heads = per_level(num_attention_heads, levels, "num_attention_heads")
        layers = per_level(layers_per_block, levels, "layers_per_block")
        token_widths = per_level(cross_attention_dim, levels, "cross_attention_dim")
        depths = per_level(transformer_layers_per_block, levels, "transformer_layers_per_block")
        width = widths[0]
        self.conv_in = nn.Conv2d(in_channels, width, 3, padding=1)
        self.time_proj = Timesteps(width, True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(width, width * 4)
        self.add_time_proj = Timesteps(addition_time_embed_dim, True, downscale_freq_shift=0)
        self.add_embedding = TimestepEmbedding(projection_class_embeddings_input_dim, width * 4)
        self.controlnet_cond_embedding = HeatmapEmbedding(
            conditioning_channels, tuple(conditioning_embedding_out_channels), width
        )
        self.down_blocks = nn.ModuleList()
        taps = [width]
        for index, kind in enumerate(down_block_types):
            last = index == levels - 1
            out_channels = widths[index]
            self.down_blocks.append(
                get_down_block(
                    kind,
                    num_layers=layers[index],
                    in_channels=widths[max(index - 1, 0)],
                    out_channels=out_channels,
                    temb_channels=width * 4,
                    add_downsample=not last,
                    resnet_eps=1e-5,
                    resnet_act_fn="silu",
                    num_attention_heads=heads[index],
                    cross_attention_dim=token_widths[index],
                    transformer_layers_per_block=depths[index],
                )
            )
            taps += [out_channels] * (layers[index] + (not last))
        self.mid_block = UNetMidBlockSpatioTemporal(
            widths[-1],
            temb_channels=width * 4,
            transformer_layers_per_block=depths[-1],
            cross_attention_dim=token_widths[-1],
            num_attention_heads=heads[-1],
        )
        self.controlnet_down_blocks = nn.ModuleList(_zeroed(nn.Conv2d(tap, tap, 1)) for tap in taps)
        self.controlnet_mid_block = _zeroed(nn.Conv2d(taps[-1], taps[-1], 1))
        set_norm_groups(self, norm_groups)
        self.context_order = order_temporal_blocks(self)

    @classmethod
    def from_unet(cls, unet: FramerUNet, **config: object) -> Self:
        """A ControlNet that starts as a copy of the encoder of `unet`, embeddings included; its output is zero.

        `config`: arguments that the UNet does not have, such as `conditioning_channels`.
        """
        own = cls._get_init_keys(cls)
        inherited = {name: value for name, value in unet.config.items() if name in own}
        controlnet = cls(**{**inherited, **config})
        for part in ("conv_in", "time_embedding", "add_embedding", "down_blocks", "mid_block"):
            getattr(controlnet, part).load_state_dict(getattr(unet, part).state_dict())
        return controlnet

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        added_time_ids: Tensor,
        controlnet_cond: Tensor | None = None,
        conditioning_scale: Tensor | float = 1.0,
        *,
        branches: int | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """Residuals for one evaluation of the UNet.

        Args:
            sample, timestep, encoder_hidden_states, added_time_ids, branches: as for `FramerUNet`, the same values.
            controlnet_cond: heatmaps (B, F, C, H, W), 0 to 255, at eight times the latent size; None = no heatmaps.
            conditioning_scale: factor on every residual, one number or (B,).

        Returns:
            One residual per skip of the UNet, (B*F, C', h', w') each, and that of the middle block.

        Raises:
            ValueError: latents that do not halve evenly, or a batch that `branches` does not divide.
        """
        batch, frames = sample.shape[:2]
        check_divisible(sample, len(self.down_blocks))
        self._set_branches(batch, branches)
        embedding = self._embed(sample, timestep, added_time_ids)
        tokens = encoder_hidden_states.repeat_interleave(frames, dim=0)
        still = sample.new_zeros(batch, frames)

        hidden = self.conv_in(sample.flatten(0, 1))
        if controlnet_cond is not None:
            hidden = hidden + self.controlnet_cond_embedding(controlnet_cond.flatten(0, 1).to(hidden.dtype))
        hidden, skips = self._encode(hidden, embedding, tokens, still)
        hidden = self._middle(hidden, embedding, tokens, still)

        scale = torch.as_tensor(conditioning_scale, dtype=hidden.dtype, device=hidden.device).expand(batch)
        scale = scale.repeat_interleave(frames).reshape(-1, 1, 1, 1)
        taps = zip(self.controlnet_down_blocks, skips, strict=True)
        return [tap(skip) * scale for tap, skip in taps], self.controlnet_mid_block(hidden) * scale
