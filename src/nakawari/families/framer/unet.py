"""The denoiser of Framer: the UNet of Stable Video Diffusion with a mask token and ControlNet residuals.

Sources: Blattmann et al. 2023 (Stable Video Diffusion); Wang et al. 2024 (Framer). All layers and
weight names are those of diffusers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401 (diffusers looks for it in the module of a class)
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from diffusers.utils import BaseOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from .blocks import (
    EncoderHalf,
    TemporalContext,
    check_divisible,
    check_temporal_context,
    order_temporal_blocks,
    set_norm_groups,
)

_ATTENTION = r"to_q|to_k|to_v|to_out\.0"

LORA_PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "attention": rf".*\.({_ATTENTION})",
        "attention+feed-forward": rf".*\.({_ATTENTION}|proj_in|proj_out|ff\.net\.0\.proj|ff\.net\.2)",
        "temporal-attention": rf".*temporal_transformer_blocks\..*\.({_ATTENTION})",
    }
)
"""Preset name -> regular expression over the names of the UNet's modules."""


@dataclass
class FramerUNetOutput(BaseOutput):
    """Output of `FramerUNet`.

    Args:
        sample: (B, F, C, h, w), the raw output F of the EDM process.
        deep: features below the outermost layers (B*F, C', h, w); None unless `depth` is set.
    """

    sample: Tensor
    deep: Tensor | None = None


class FramerUNet(EncoderHalf, UNetSpatioTemporalConditionModel, PeftAdapterMixin):
    """Stable Video Diffusion's UNet over 2C+1 channels: C noisy, C of the key frames, 1 mask.

    Args:
        temporal_context: order of the image tokens in the temporal layers, see `blocks`.

    The other arguments are those of `UNetSpatioTemporalConditionModel`; the defaults are the released model.
    `mask_token` (1, 1, C, 1, 1) replaces the key latents of frames without a key; the pipeline inserts it.
    """

    _no_split_modules: ClassVar[list[str]] = ["SpatioTemporalResBlock", "TransformerSpatioTemporalModel"]
    called_before_forward: ClassVar[tuple[str, ...]] = ("with_keys",)
    """Methods that read weights before `forward` does."""

    @register_to_config
    def __init__(
        self,
        sample_size: int | None = 96,
        in_channels: int = 9,
        out_channels: int = 4,
        down_block_types: tuple[str, ...] = (
            "CrossAttnDownBlockSpatioTemporal",
            "CrossAttnDownBlockSpatioTemporal",
            "CrossAttnDownBlockSpatioTemporal",
            "DownBlockSpatioTemporal",
        ),
        up_block_types: tuple[str, ...] = (
            "UpBlockSpatioTemporal",
            "CrossAttnUpBlockSpatioTemporal",
            "CrossAttnUpBlockSpatioTemporal",
            "CrossAttnUpBlockSpatioTemporal",
        ),
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        addition_time_embed_dim: int = 256,
        projection_class_embeddings_input_dim: int = 768,
        layers_per_block: int | tuple[int, ...] = 2,
        cross_attention_dim: int | tuple[int, ...] = 1024,
        transformer_layers_per_block: int | tuple[int, ...] = 1,
        num_attention_heads: int | tuple[int, ...] = (5, 10, 20, 20),
        num_frames: int = 25,
        temporal_context: TemporalContext = "interleaved",
        norm_groups: int = 32,
    ) -> None:
        check_temporal_context(temporal_context)
        super().__init__(
            sample_size=sample_size,
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            addition_time_embed_dim=addition_time_embed_dim,
            projection_class_embeddings_input_dim=projection_class_embeddings_input_dim,
            layers_per_block=layers_per_block,
            cross_attention_dim=cross_attention_dim,
            transformer_layers_per_block=transformer_layers_per_block,
            num_attention_heads=num_attention_heads,
            num_frames=num_frames,
        )
        set_norm_groups(self, norm_groups)
        self.mask_token = nn.Parameter(torch.randn(1, 1, in_channels // 2, 1, 1))
        self.context_order = order_temporal_blocks(self)

    # diffusers moves an offloaded network in its forward pass; this method runs before.
    @apply_forward_hook
    def with_keys(self, scaled: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """The network's input (B, F, 2C+1, h, w): scaled noisy latents, the keys' latents or, where `mask`
        (B, F, 1, h, w) is 1, the mask token, and the mask."""
        return torch.cat([scaled, keys + mask * self.mask_token, mask], dim=2).to(self.dtype)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        added_time_ids: Tensor,
        down_block_additional_residuals: Sequence[Tensor] | None = None,
        mid_block_additional_residual: Tensor | None = None,
        *,
        branches: int | None = None,
        deep: Tensor | None = None,
        depth: int = 0,
        return_dict: bool = True,
    ) -> FramerUNetOutput | tuple[Tensor, ...]:
        """One evaluation.

        Args:
            sample: (B, F, 2C+1, h, w), scaled noisy latents, key-frame latents or mask token, mask.
            timestep: c_noise = ln(sigma) / 4, one number or (B,).
            encoder_hidden_states: (B, T, D), one image token per key frame.
            added_time_ids: (B, 3), fps - 1, motion bucket, strength of noise augmentation.
            down_block_additional_residuals: ControlNet residuals, one per skip, (B*F, C', h', w') each.
            mid_block_additional_residual: the ControlNet residual after the middle block.
            branches: guidance branches stacked in the batch (branch-major); matters for interleaved context only.
                None treats every batch element as a branch, as the reference does.
            depth: 0, or the number of layers of the last up block that are evaluated, with their shortest
                path through the first down block, if `deep` is given.
            deep: features below these layers from an earlier evaluation, replacing the rest of the network; needs the
                first `depth` residuals of the ControlNet, and none of the middle block.

        Raises:
            ValueError: latents that do not halve evenly, a batch that `branches` does not divide, or more `depth` than
                the last up block has layers.
        """
        batch, frames = sample.shape[:2]
        check_divisible(sample, len(self.up_blocks))
        self._set_branches(batch, branches)
        embedding = self._embed(sample, timestep, added_time_ids)
        tokens = encoder_hidden_states.repeat_interleave(frames, dim=0)
        still = sample.new_zeros(batch, frames)

        told = (embedding, tokens, still)
        if depth > len(self.up_blocks[-1].resnets):
            raise ValueError(f"depth={depth} is more than the {len(self.up_blocks[-1].resnets)} layers of an up block")

        hidden = self.conv_in(sample.flatten(0, 1))
        if deep is None:
            hidden, skips = self._encode(hidden, *told)
            hidden = self._middle(hidden, *told)
        else:
            skips = [hidden]
            for layer in range(depth - 1):
                skips.append(_layer(self.down_blocks[0], layer, skips[-1], *told))
        if down_block_additional_residuals is not None:
            residuals = zip(skips, down_block_additional_residuals, strict=True)
            skips = [skip + residual for skip, residual in residuals]
        if mid_block_additional_residual is not None:
            hidden = hidden + mid_block_additional_residual

        if deep is None:
            for block in self.up_blocks[: -1 if depth else None]:
                split = len(skips) - len(block.resnets)
                skips, own = skips[:split], tuple(skips[split:])
                context = {"encoder_hidden_states": tokens} if getattr(block, "has_cross_attention", False) else {}
                hidden = block(
                    hidden_states=hidden,
                    temb=embedding,
                    res_hidden_states_tuple=own,
                    image_only_indicator=still,
                    **context,
                )
        if depth:
            last = self.up_blocks[-1]
            layers = len(last.resnets)
            for layer in range(layers - depth if deep is None else 0):
                hidden = _layer(last, layer, torch.cat([hidden, skips.pop()], dim=1), *told)
            deep = hidden if deep is None else deep
            hidden = deep
            for layer in range(layers - depth, layers):
                hidden = _layer(last, layer, torch.cat([hidden, skips.pop()], dim=1), *told)

        hidden = self.conv_out(self.conv_act(self.conv_norm_out(hidden)))
        output = FramerUNetOutput(sample=hidden.unflatten(0, (batch, frames)), deep=deep)
        return output if return_dict else output.to_tuple()


def _layer(block: nn.Module, index: int, hidden: Tensor, embedding: Tensor, tokens: Tensor, still: Tensor) -> Tensor:
    """One layer of a diffusers block, run as in the block: a residual block and, if present, attention."""
    hidden = block.resnets[index](hidden, embedding, image_only_indicator=still)
    if not getattr(block, "has_cross_attention", False):
        return hidden
    attention = block.attentions[index]
    return attention(hidden, encoder_hidden_states=tokens, image_only_indicator=still, return_dict=False)[0]
