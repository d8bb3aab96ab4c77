"""The ToonCrafter denoiser: a UNet over frames with spatial and temporal attention.

Source: Xing et al. 2024, "ToonCrafter: Generative Cartoon Interpolation". Module names are those of the released
checkpoint below `model.diffusion_model.`, but for the spelling of `temporal_conv`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn

from ..former_names import without_constants
from .attention import Context, SpatialTransformer, TemporalTransformer, zero_init
from .blocks import GroupNorm32, ResBlock, Stage, scalar_mlp
from .body import UNetBody, check_widths

INIT_ATTENTION_HEADS = 8
"""Number of heads of the temporal transformer after the first convolution, at any width."""

_FORMER_SETTINGS: dict[str, Any] = {
    "guide_channels": None,
    "guide_keys": False,
    "inner_only": False,
    "redraw": None,
    "match": None,
    "temporal_convolutions": True,
}
_UNREAD = ("guide_stride", "guide_hidden")


class ToonCrafterUNet(UNetBody, ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Noisy latents and condition latents -> the network's output (velocity, for the released weights).

    Args:
        in_channels: noisy latents and condition latents together.
        out_channels: channels of the output.
        model_channels: width of the first level.
        attention_resolutions: downsampling factors (1, 2, 4, ...) of the levels that have transformers.
        num_res_blocks: residual blocks per level of the down path; one more in the up path.
        channel_mult: width of each level in units of `model_channels`; the first must be 1.
        dropout: probability inside the residual blocks.
        num_head_channels: width of a head; a level has channels // num_head_channels heads.
        transformer_depth: blocks per transformer.
        context_dim: width of the context tokens; None = no context: `attn2` of the spatial transformers is then a
            second self-attention.
        temporal_length: frames per clip in training; the network itself takes any number.
        addition_attention: whether a temporal transformer follows the first convolution.
        image_cross_attention: whether image tokens have their own branch; otherwise only text tokens are read.
        image_cross_attention_scale_learnable: whether that branch has a learned scale.
        fps_condition: whether the network is conditioned on the frame rate (or stride).
        default_fps: the default of that condition.
        text_tokens: number of text tokens, which come first in the context.
        image_tokens_per_frame: image tokens of one frame.
        norm_num_groups: groups of all group norms.
        removed_layers: names of residual layers (see `removable_layers`) that are removed and return their input.

    Raises:
        ValueError: widths, heads and groups do not fit together, or a layer cannot be removed.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["ResBlock", "SpatialTransformer", "TemporalTransformer"]
    _skip_layerwise_casting_patterns: ClassVar[list[str]] = ["norm", "time_embed", "fps_embedding"]

    @register_to_config
    def __init__(
        self,
        in_channels: int = 8,
        out_channels: int = 4,
        model_channels: int = 320,
        attention_resolutions: Sequence[int] = (1, 2, 4),
        num_res_blocks: int = 2,
        channel_mult: Sequence[int] = (1, 2, 4, 4),
        dropout: float = 0.1,
        num_head_channels: int = 64,
        transformer_depth: int = 1,
        context_dim: int | None = 1024,
        temporal_length: int = 16,
        addition_attention: bool = True,
        image_cross_attention: bool = True,
        image_cross_attention_scale_learnable: bool = False,
        fps_condition: bool = True,
        default_fps: int = 24,
        text_tokens: int = 77,
        image_tokens_per_frame: int = 16,
        norm_num_groups: int = 32,
        removed_layers: Sequence[str] = (),
    ) -> None:
        super().__init__()
        check_widths(model_channels, channel_mult, num_head_channels, norm_num_groups)
        embedding_dim = model_channels * 4
        self.time_embed = scalar_mlp(model_channels, embedding_dim)
        if fps_condition:
            self.fps_embedding = scalar_mlp(model_channels, embedding_dim)
            zero_init(self.fps_embedding[-1])
        if addition_attention:
            self.init_attn = Stage(
                TemporalTransformer(
                    model_channels,
                    INIT_ATTENTION_HEADS,
                    num_head_channels,
                    norm_groups=norm_num_groups,
                    depth=transformer_depth,
                    pointwise=True,
                )
            )
        self._build_levels(in_channels)
        self.out = nn.Sequential(
            GroupNorm32(norm_num_groups, model_channels),
            nn.SiLU(),
            zero_init(nn.Conv2d(model_channels, out_channels, 3, padding=1)),
        )
        self._remove(removed_layers)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any) -> Self:
        """As in diffusers; also for models of earlier revisions, which had further settings."""
        known = without_constants(dict(config or {}), _FORMER_SETTINGS, "denoiser of a ToonCrafter")
        return super().from_config({k: v for k, v in known.items() if k not in _UNREAD}, *args, **kwargs)

    def _residual_block(self, channels: int, out_channels: int) -> ResBlock:
        config = self.config
        return ResBlock(
            channels,
            out_channels,
            config.model_channels * 4,
            norm_groups=config.norm_num_groups,
            dropout=config.dropout,
        )

    def _level_transformers(self, level: int, channels: int) -> list[nn.Module]:
        return self._transformers(channels) if 2**level in self.config.attention_resolutions else []

    def _transformers(self, channels: int) -> list[nn.Module]:
        config = self.config
        heads = channels // config.num_head_channels
        shared: dict[str, Any] = {"norm_groups": config.norm_num_groups, "depth": config.transformer_depth}
        spatial = SpatialTransformer(
            channels,
            heads,
            config.num_head_channels,
            context_dim=config.context_dim,
            image_branch=config.image_cross_attention,
            learnable_scale=config.image_cross_attention_scale_learnable,
            **shared,
        )
        return [spatial, TemporalTransformer(channels, heads, config.num_head_channels, **shared)]

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        context: Tensor | None = None,
        fps: Tensor | None = None,
        deep: Tensor | None = None,
        depth: int = 0,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """One evaluation.

        Args:
            sample: (B, F, in_channels, h, w), any F >= 1; h and w divisible by 2^(levels - 1). Noisy latents first,
                condition latents after them.
            timestep: scalar or (B,), integer or float.
            context: (B, L, context_dim), text tokens first. With L = text_tokens + F * image_tokens_per_frame each
                frame reads its own image tokens; with any other L all frames read all image tokens.
            fps: (B,), as the family counts it; None = `default_fps`. Ignored by a network without `fps_condition`.
            depth: 0, or the number of output blocks that are evaluated, with their skips, if `deep` is given.
            deep: features of an earlier evaluation, replacing all layers below these output blocks.

        Returns:
            (B, F, out_channels, h, w) in the dtype of `sample`; with `depth` also the features below, (B*F, C, h', w'),
            the value of `deep` for a later evaluation.

        Raises:
            ValueError: shapes that do not fit, or a context that the network does not take or needs.
        """
        self._check_size(sample, self.config.in_channels)
        batch, num_frames = sample.shape[:2]
        embedding = self._embed(sample, timestep, fps)
        tokens = self._split_context(context, num_frames)
        h = self._run(self.input_blocks[0], sample.flatten(0, 1), embedding, tokens, num_frames)
        if self.config.addition_attention:
            h = self._run(self.init_attn, h, embedding, tokens, num_frames)
        h, below = self._levels(h, embedding, tokens, num_frames, deep, depth)
        answer = self.out(h).unflatten(0, (batch, num_frames))
        return (answer, below) if depth else answer

    def _embed(self, sample: Tensor, timestep: Tensor | float, fps: Tensor | None) -> Tensor:
        """Time and frame rate as one embedding per clip, (B, 4 * model_channels)."""
        embedding = self.time_embed(self._sinusoid(timestep, sample))
        if self.config.fps_condition:
            rate = self.config.default_fps if fps is None else fps
            embedding = embedding + self.fps_embedding(self._sinusoid(rate, sample))
        return embedding

    def _split_context(self, context: Tensor | None, num_frames: int) -> Context | None:
        """Text and image tokens; the image tokens by frame, (B*F, n, D), if their number allows it."""
        if (context is None) != (self.config.context_dim is None):
            need = "takes no context (context_dim is None)" if context is not None else "needs context tokens"
            raise ValueError(f"this denoiser {need}")
        if context is None:
            return None
        text, image = context[:, : self.config.text_tokens], context[:, self.config.text_tokens :]
        if image.shape[1] == num_frames * self.config.image_tokens_per_frame:
            image = image.unflatten(1, (num_frames, -1)).flatten(0, 1)
        return Context(text.contiguous(), image.contiguous())
