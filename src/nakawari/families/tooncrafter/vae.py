"""The autoencoder of ToonCrafter: an image encoder and a video decoder that also looks at both key frames.

Source: Xing et al. 2024, "ToonCrafter: Generative Cartoon Interpolation", section 3.3 (dual-reference decoder),
on the image autoencoder of Rombach et al. 2022. Parameter names are those of the published checkpoint below its
prefix `first_stage_model.`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from ..former_names import without_constants
from ..tiling import DecodesInParts, Window, cut, in_parts
from .vae_blocks import (
    SPATIAL_EPS,
    Combiner,
    Downsample,
    FusionAttention,
    MiddleBlock,
    OutputConv,
    ResnetBlock,
    Upsample,
    VideoResnetBlock,
)

_FORMER_SETTINGS: dict[str, Any] = {"guide_channels": None, "linear_path": False}
_UNREAD = ("guide_hidden", "zero_init_output")


class _Checkpointed(nn.Module):
    """A module with gradient checkpointing; diffusers sets the function by `enable_gradient_checkpointing`."""

    gradient_checkpointing = False
    _gradient_checkpointing_func: Any = None

    def _run(self, module: nn.Module, *args: Any) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(module, *args)
        return module(*args)


class _Level(nn.Module):
    """The blocks of one resolution, with an optional change of resolution after them."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)


def _level(block: type[ResnetBlock], channels: int, out_channels: int, count: int, groups: int) -> _Level:
    widths = [channels] + [out_channels] * count
    return _Level([block(i, o, groups) for i, o in pairwise(widths)])


class Encoder(_Checkpointed):
    """Images to posterior moments and the decoder's reference features."""

    def __init__(
        self,
        in_channels: int,
        latent_channels: int,
        ch: int,
        ch_mult: Sequence[int],
        num_res_blocks: int,
        groups: int,
        mid_attention: bool,
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        self.down = nn.ModuleList()
        channels = ch
        for index, multiple in enumerate(ch_mult):
            level = _level(ResnetBlock, channels, ch * multiple, num_res_blocks, groups)
            channels = ch * multiple
            if index < len(ch_mult) - 1:
                level.downsample = Downsample(channels)
            self.down.append(level)
        self.mid = MiddleBlock(ResnetBlock, channels, groups, mid_attention)
        self.norm_out = nn.GroupNorm(groups, channels, eps=SPATIAL_EPS)
        self.conv_out = nn.Conv2d(channels, 2 * latent_channels, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) -> moments before `quant_conv` (N, 2C, h, w), features of each level, then of `conv_in`."""
        first = h = self.conv_in(images)
        hidden = []
        for level in self.down:
            for block in level.block:
                h = self._run(block, h)
            hidden.append(h)
            if hasattr(level, "downsample"):
                h = level.downsample(h)
        h = self._run(self.mid, h)
        return self.conv_out(F.silu(self.norm_out(h))), [*hidden, first]


class Decoder(_Checkpointed):
    """Latents of whole clips to frames, with optional reference features of the keys."""

    def __init__(
        self,
        out_channels: int,
        latent_channels: int,
        ch: int,
        ch_mult: Sequence[int],
        num_res_blocks: int,
        groups: int,
        mid_attention: bool,
        attn_levels: Sequence[int],
        fusion_heads: int,
        fusion_head_dim: int,
    ) -> None:
        super().__init__()
        widths = [ch * multiple for multiple in ch_mult]
        self.conv_in = nn.Conv2d(latent_channels, widths[-1], 3, padding=1)
        self.mid = MiddleBlock(VideoResnetBlock, widths[-1], groups, mid_attention)
        levels = []
        for index in reversed(range(len(widths))):
            above = widths[min(index + 1, len(widths) - 1)]
            level = _level(VideoResnetBlock, above, widths[index], num_res_blocks + 1, groups)
            if index > 0:
                level.upsample = Upsample(widths[index])
            levels.append(level)
        self.up = nn.ModuleList(reversed(levels))
        self.attn_refinement = nn.ModuleList(
            FusionAttention(width, groups, fusion_heads, fusion_head_dim) if index in attn_levels else Combiner(width)
            for index, width in enumerate(widths)
        )
        self.attn_refinement.append(Combiner(widths[0]))
        self.norm_out = nn.GroupNorm(groups, widths[0], eps=SPATIAL_EPS)
        self.conv_out = OutputConv(widths[0], out_channels)

    def forward(self, latents: Tensor, references: Sequence[Tensor] = ()) -> Tensor:
        """Unscaled latents (B, F, C, h, w) -> (B, F, 3, H, W); see `DualReferenceAutoencoder.decode`."""
        frames = latents.shape[1]
        h = self._run(self.mid, self.conv_in(latents.flatten(0, 1)), frames)
        for index in reversed(range(len(self.up))):
            level = self.up[index]
            for block in level.block:
                h = self._run(block, h, frames)
            h = self._refine(index, h, references)
            if hasattr(level, "upsample"):
                h = level.upsample(h)
        h = self._refine(len(self.up), F.silu(self.norm_out(h)), references)
        return self.conv_out(h, frames).unflatten(0, latents.shape[:2])

    def _refine(self, index: int, h: Tensor, references: Sequence[Tensor]) -> Tensor:
        if not references:
            return h
        return self._run(self.attn_refinement[index], h, references[index])


class DualReferenceAutoencoder(DecodesInParts, ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Encodes frames one by one and decodes clips with the help of their two key frames.

    Args:
        in_channels, out_channels: channels of a frame.
        latent_channels: C of the latents.
        ch: channels at full resolution.
        ch_mult: multiple of `ch` per level; L levels divide height and width by 2^(L-1); the first must be 1.
        num_res_blocks: blocks per encoder level; the decoder has one more.
        attn_levels: decoder levels where every frame attends to the references; elsewhere they are added to the keys.
        mid_attention: self-attention at the lowest resolution.
        fusion_heads, fusion_head_dim: shape of the attention to the references.
        scaling_factor: latents are multiplied by this for the denoiser.
        norm_num_groups: groups of every normalisation.

    Raises:
        ValueError: `ch_mult` does not begin with 1.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        latent_channels: int = 4,
        ch: int = 128,
        ch_mult: Sequence[int] = (1, 2, 4, 4),
        num_res_blocks: int = 2,
        attn_levels: Sequence[int] = (2, 3),
        mid_attention: bool = True,
        fusion_heads: int = 8,
        fusion_head_dim: int = 64,
        scaling_factor: float = 0.18215,
        norm_num_groups: int = 32,
    ) -> None:
        super().__init__()
        if ch_mult[0] != 1:
            raise ValueError(f"ch_mult must begin with 1, because the first features have ch channels; got {ch_mult}")
        shared = (latent_channels, ch, ch_mult, num_res_blocks, norm_num_groups, mid_attention)
        self.encoder = Encoder(in_channels, *shared)
        self.decoder = Decoder(out_channels, *shared, attn_levels, fusion_heads, fusion_head_dim)
        self.quant_conv = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)
        # In the checkpoint, but unused by the published inference, so it cannot be trained.
        self.post_quant_conv = nn.Conv2d(latent_channels, latent_channels, 1)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As `nn.Module.requires_grad_`, only for parameters that affect the output."""
        super().requires_grad_(requires_grad)
        self.post_quant_conv.requires_grad_(False)
        return self

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any) -> Self:
        """As in diffusers; also for models of earlier revisions, which had further settings."""
        known = without_constants(dict(config or {}), _FORMER_SETTINGS, "autoencoder of a ToonCrafter")
        return super().from_config({k: v for k, v in known.items() if k not in _UNREAD}, *args, **kwargs)

    @property
    def spatial_factor(self) -> int:
        """Pixels per latent cell, along height and along width."""
        return 2 ** (len(self.config.ch_mult) - 1)

    # diffusers moves an offloaded network in its forward pass; these methods are called instead.
    @apply_forward_hook
    def encode_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Images (N, 3, H, W) in [-1, 1] -> posterior moments (N, 2C, h, w) and the decoder's reference features.

        The features are the output of each level's last block, level 0 first, then that of the first convolution.
        H and W are multiples of `spatial_factor`.
        """
        parts = [self.encoder(image) for image in (images.split(1) if self.use_slicing else [images])]
        hidden = [torch.cat(levels) for levels in zip(*(features for _, features in parts), strict=True)]
        return self.quant_conv(torch.cat([moments for moments, _ in parts])), hidden

    def encode(
        self, frames: Tensor, return_hidden: bool = False
    ) -> DiagonalGaussianDistribution | tuple[DiagonalGaussianDistribution, list[Tensor]]:
        """Frames (B, F, 3, H, W) in [-1, 1] -> the posterior of the unscaled latents, each of shape (B*F, C, h, w).

        The frame runs fastest: `posterior.mode().unflatten(0, (B, F)) * scaling_factor` are the denoiser's latents.
        With `return_hidden` also the features of `encode_features`, each (B*F, C', H', W').
        """
        moments, hidden = self.encode_features(frames.flatten(0, 1))
        posterior = DiagonalGaussianDistribution(moments)
        return (posterior, hidden) if return_hidden else posterior

    @staticmethod
    def references(first: Sequence[Tensor], last: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Features of the start keys and of the end keys, each (B, C, H, W) -> the decoder's (B, 2, C, H, W)."""
        return tuple(torch.stack(pair, dim=1) for pair in zip(first, last, strict=True))

    @apply_forward_hook
    def decode(
        self,
        latents: Tensor,
        references: Sequence[Tensor] = (),
    ) -> Tensor:
        """Latents of whole clips -> frames (B, F, 3, H, W), not clamped; gradients flow.

        Args:
            latents: (B, F, C, h, w) as used by the denoiser; they are divided by `scaling_factor` here.
            references: result of `references` for the clips' keys, each (B, 2, C', H', W'); empty = none.

        Raises:
            ValueError: the references do not fit the levels or the batch.
        """
        self._check(latents, references)
        unscaled, width = latents / self.config.scaling_factor, latents.shape[-1]

        def decode(clips: slice, window: Window) -> Tensor:
            own = tuple(reference[clips] for reference in references)
            return self.decoder(*cut([unscaled[clips]], window, width), cut(own, window, width))

        return in_parts(self, latents, self.spatial_factor, decode)

    def _check(self, latents: Tensor, references: Sequence[Tensor]) -> None:
        wanted = len(self.decoder.attn_refinement)
        if references and (len(references) != wanted or any(r.shape[0] != len(latents) for r in references)):
            raise ValueError(
                f"decode needs {wanted} references with batch {len(latents)}, or none; "
                f"got shapes {[tuple(r.shape) for r in references]}"
            )
