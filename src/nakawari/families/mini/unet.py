"""mini's denoiser: a small UNet that reads the guide at full resolution and moves the guide's warped keys once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn
from torch.nn import functional

from ...guide import CHANNELS, Guide
from ..former_names import without_constants
from ..tooncrafter.attention import SpatialTransformer, TemporalTransformer, zero_init
from ..tooncrafter.blocks import GroupNorm32, ResBlock, scalar_mlp
from ..tooncrafter.body import UNetBody, check_widths
from .autoencoder import PATCH
from .redraw import GuideRedraw, Level, MatchCosts, count

DATA_STD = 0.005
"""The deviation of what the guide lacks, in latents: mini's process is preconditioned for it."""

_SEEN = sum(CHANNELS.values()) + CHANNELS["start"] + CHANNELS["end"]
_FORMER_SETTINGS: dict[str, Any] = {
    "attention_resolutions": (),
    "transformer_depth": 1,
    "context_dim": None,
    "addition_attention": False,
    "image_cross_attention": False,
    "fps_condition": False,
    "guide_channels": sum(CHANNELS.values()),
    "guide_keys": True,
    "inner_only": True,
    "guide_stride": PATCH,
    "redraw": -1 / DATA_STD,
    "temporal_convolutions": False,
}
_UNREAD = ("in_channels", "temporal_length", "image_cross_attention_scale_learnable", "default_fps", "text_tokens")
_UNREAD += ("image_tokens_per_frame",)


class GuideEncoder(nn.Sequential):
    """Pixels of the guide -> features at latent size: pixel unshuffle and two convolutions.

    Args:
        channels: channels of the guide.
        hidden: channels between the convolutions.
        out_channels: channels of the features.
    """

    def __init__(self, channels: int, hidden: int, out_channels: int) -> None:
        super().__init__(
            nn.PixelUnshuffle(PATCH),
            nn.Conv2d(channels * PATCH**2, hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(hidden, out_channels, 3, padding=1),
        )
        # About unit size from the start: the default's features are a tenth of that, faint beside what blocks soon add.
        for conv in (self[1], self[3]):
            nn.init.kaiming_normal_(conv.weight)


class MiniUNet(UNetBody, ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Noisy latents of what the guide lacks, beside the keys' latents and the guide -> the network's answer.

    The two keys are not evaluated, their answer is zero: the other frames see them through the guide's encoder. Frames
    look at each other in the middle's temporal transformer alone.

    Args:
        out_channels: C of the latents; the network reads the noisy latents and the keys' latents, 2 C.
        model_channels: width of the first level.
        num_res_blocks: residual blocks per level on the way down; one more on the way up.
        channel_mult: width of each level in units of `model_channels`; the first must be 1.
        dropout: probability inside the residual blocks.
        num_head_channels: width of a head of the middle's transformers.
        norm_num_groups: groups of all group norms.
        guide_hidden: channels inside the guide's encoder.
        match: the searches (pixels between shifts, shifts each way) whose costs it sees and whose shifts it weighs, see
            `MatchCosts`.
        removed_layers: names of residual layers (see `removable_layers`) that are left out and pass on what they get.

    Raises:
        ValueError: where widths, heads and groups do not fit together, or a layer cannot be left out.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["ResBlock", "SpatialTransformer", "TemporalTransformer"]
    _skip_layerwise_casting_patterns: ClassVar[list[str]] = ["norm", "time_embed", "guide_in"]

    @register_to_config
    def __init__(
        self,
        out_channels: int = 24,
        model_channels: int = 64,
        num_res_blocks: int = 1,
        channel_mult: Sequence[int] = (1, 2, 2),
        dropout: float = 0.0,
        num_head_channels: int = 32,
        norm_num_groups: int = 8,
        guide_hidden: int = 64,
        match: Sequence[Level] = ((8, 4), (4, 3)),
        removed_layers: Sequence[str] = (),
    ) -> None:
        super().__init__()
        check_widths(model_channels, channel_mult, num_head_channels, norm_num_groups)
        self.time_embed = scalar_mlp(model_channels, model_channels * 4)
        self.guide_in = GuideEncoder(_SEEN, guide_hidden, model_channels)
        self._build_levels(2 * out_channels)
        self.out = nn.Sequential(
            GroupNorm32(norm_num_groups, model_channels),
            nn.SiLU(),
            zero_init(nn.Conv2d(model_channels, out_channels, 3, padding=1)),
        )
        self.match_costs = MatchCosts(match, PATCH)
        self.match_in = nn.Sequential(
            nn.Conv2d(count(match), guide_hidden, 1),
            nn.SiLU(),
            nn.Conv2d(guide_hidden, model_channels, 3, padding=1),
        )
        self.guide_redraw = GuideRedraw(model_channels, PATCH, out_channels, -1 / DATA_STD, match)
        self._remove(removed_layers)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any) -> Self:
        """As diffusers'; also of what earlier revisions saved, when mini was a configuration of ToonCrafter."""
        known = without_constants(dict(config or {}), _FORMER_SETTINGS, "denoiser of mini")
        return super().from_config({k: v for k, v in known.items() if k not in _UNREAD}, *args, **kwargs)

    def _residual_block(self, channels: int, out_channels: int) -> ResBlock:
        config = self.config
        return ResBlock(
            channels,
            out_channels,
            config.model_channels * 4,
            norm_groups=config.norm_num_groups,
            dropout=config.dropout,
            temporal=False,
        )

    def _level_transformers(self, level: int, channels: int) -> list[nn.Module]:
        return []

    def _transformers(self, channels: int) -> list[nn.Module]:
        width, groups = self.config.num_head_channels, self.config.norm_num_groups
        heads = channels // width
        return [
            SpatialTransformer(channels, heads, width, context_dim=None, image_branch=False, norm_groups=groups),
            TemporalTransformer(channels, heads, width, norm_groups=groups),
        ]

    def forward(self, sample: Tensor, timestep: Tensor | float, guide: Guide) -> Tensor:
        """One evaluation.

        Args:
            sample: (B, F, 2 C, h, w), any F >= 1; h and w divisible by 2^(levels - 1). Noisy latents first, the keys'
                latents after them.
            timestep: scalar or (B,), integer or float.
            guide: of frames 4 h x 4 w.

        Returns:
            (B, F, C, h, w) in the dtype of `sample`.

        Raises:
            ValueError: on shapes that do not fit.
        """
        self._check_size(sample, 2 * self.config.out_channels)
        self._check_guide(guide, sample)
        keys = torch.cat([guide.start[:, :1], guide.end[:, -1:]], dim=2)
        if sample.shape[1] <= 2:
            return self._answer(sample, timestep, guide, keys)
        inner = guide.map_frames(lambda tensor: tensor[:, 1:-1])
        return functional.pad(self._answer(sample[:, 1:-1], timestep, inner, keys), (0, 0, 0, 0, 0, 0, 1, 1))

    def _answer(self, sample: Tensor, timestep: Tensor | float, guide: Guide, keys: Tensor) -> Tensor:
        """The answer for some frames; `keys` (B, 1, 6, H, W) are both keys where they are."""
        batch, num_frames = sample.shape[:2]
        embedding = self.time_embed(self._sinusoid(timestep, sample))
        # Convolutions of low precision are fastest so.
        frames = sample.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        seen = torch.cat([guide.stacked(), keys.expand(-1, num_frames, -1, -1, -1)], dim=2)
        costs = self.match_costs(guide)
        h = self._run(self.input_blocks[0], frames, embedding, None, num_frames)
        h = h + self.guide_in(seen.flatten(0, 1).to(sample.dtype))
        h = h + self.match_in(costs.to(h.dtype))
        h, _ = self._levels(h, embedding, None, num_frames)
        features = self.out[1](self.out[0](h))
        answer = self.out[2](features) + self.guide_redraw(features, guide, costs)
        return answer.unflatten(0, (batch, num_frames))

    def _check_guide(self, guide: Guide, sample: Tensor) -> None:
        batch, num_frames, _, height, width = sample.shape
        expected = (batch, num_frames, CHANNELS["start"], height * PATCH, width * PATCH)
        if tuple(guide.start.shape) != expected:
            raise ValueError(f"the guide's keys have shape {tuple(guide.start.shape)}, these latents need {expected}")
