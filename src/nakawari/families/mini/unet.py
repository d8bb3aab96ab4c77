"""mini's denoiser: a small UNet that reads the guide at full resolution and warps the guide's warped keys once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn
from torch.nn import functional

from ...guide import CHANNELS, Guide
from ...threads import spread
from ..former_names import without_constants
from ..tooncrafter.attention import SpatialTransformer, TemporalTransformer, zero_init
from ..tooncrafter.blocks import GroupNorm32, PointConv, ResBlock, scalar_mlp
from ..tooncrafter.body import UNetBody, check_widths
from .autoencoder import PATCH
from .cells import channels_last, unshuffled
from .redraw import GuideRedraw, Level, Look, MatchCosts, count

DATA_STD = 0.005
"""Standard deviation of the guide's residual in latents; mini's process is preconditioned for it."""

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


Looks = list[Look]
_CELLS_AT_ONCE = 10240
"""Latent cells evaluated together on a CPU: those of one frame of 512 x 320 pixels."""


class _Begun(NamedTuple):
    """Features of some frames before the middle block, the skips, and the costs of shifts."""

    h: Tensor
    skips: list[Tensor]
    costs: Tensor


class GuideEncoder(nn.Sequential):
    """Pixels of the guide -> features at latent size: pixel unshuffle and two convolutions.

    Args:
        channels: channels of the guide.
        hidden: channels between the convolutions.
        out_channels: channels of the features.
    """

    def __init__(self, channels: int, hidden: int, out_channels: int) -> None:
        super().__init__(
            _Unshuffle(),
            _SplitConv(channels * PATCH**2, hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(hidden, out_channels, 3, padding=1),
        )
        # About unit scale initially; the default initialisation gives a tenth, too weak beside the other features.
        for conv in (self[1], self[3]):
            nn.init.kaiming_normal_(conv.weight)

    def of_keys(self, keys: Tensor) -> Tensor:
        """What the first convolution makes of the last channels, the keys (B, K, H, W), which all frames of a clip have
        in common: (B, hidden, h, w). With an adapter, or quantized, it needs all channels: the keys themselves."""
        return self[1](self[0](keys)) if type(self[1]) is _SplitConv else keys

    def forward(self, pixels: Tensor, keys: Tensor) -> Tensor:
        """The other channels (N, C - K, H, W), and what `of_keys` returned for each -> (N, C', h, w)."""
        if keys.shape[-2:] == pixels.shape[-2:]:
            return super().forward(torch.cat([pixels, keys], dim=1))
        return self[3](self[2](self[1](self[0](pixels), keys)))


class _SplitConv(nn.Conv2d):
    """A convolution that takes its input channels at once or in two parts. The constructor is `Conv2d`'s because
    adapters build their own layers of the same class."""

    def forward(self, x: Tensor, of_last: Tensor | None = None) -> Tensor:
        """All channels; or the last ones, for their share in the output; or the first ones, with that share."""
        count = x.shape[1]
        if count == self.in_channels:
            return super().forward(x)
        if of_last is None:
            return functional.conv2d(x, self.weight[:, -count:], None, self.stride, self.padding)
        return functional.conv2d(x, self.weight[:, :count], self.bias, self.stride, self.padding) + of_last


class _Unshuffle(nn.Module):
    """Pixels to latent cells, channels last in memory, where convolutions are fastest."""

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C PATCH^2, h, w)."""
        return unshuffled(pixels, PATCH)


class MiniUNet(UNetBody, ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Noisy latents of the guide's residual, the keys' latents and the guide -> the network's output.

    The two keys are not evaluated, and their output is zero; the other frames read them through the guide's encoder.
    Frames interact only in the middle block's temporal transformer.

    Args:
        out_channels: C of the latents; the network reads the noisy latents and the keys' latents, 2 C.
        model_channels: width of the first level.
        num_res_blocks: residual blocks per level of the down path; one more in the up path.
        channel_mult: width of each level in units of `model_channels`; the first must be 1.
        dropout: probability inside the residual blocks.
        num_head_channels: width of a head of the middle's transformers.
        norm_num_groups: groups of all group norms.
        guide_hidden: channels inside the guide's encoder.
        match: the searches (pixels between shifts, shifts in each direction) of its cost volume, see
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
            PointConv(count(match), guide_hidden, 1),
            nn.SiLU(),
            nn.Conv2d(guide_hidden, model_channels, 3, padding=1),
        )
        self.guide_redraw = GuideRedraw(model_channels, PATCH, out_channels, -1 / DATA_STD, match)
        self._remove(removed_layers)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any) -> Self:
        """As in diffusers; also for models of earlier revisions, when mini was a configuration of ToonCrafter."""
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

    def forward(
        self, sample: Tensor, timestep: Tensor | float, guide: Guide, looks: list[Looks] | None = None
    ) -> Tensor:
        """One evaluation.

        Args:
            sample: (B, F, 2 C, h, w), any F >= 1; h and w divisible by 2^(levels - 1). Noisy latents first, the keys'
                latents after them.
            timestep: scalar or (B,), integer or float.
            guide: of frames 4 h x 4 w.
            looks: a list that receives the looks of each evaluated frame of each clip.

        Returns:
            (B, F, C, h, w) in the dtype of `sample`.

        Raises:
            ValueError: on shapes that do not fit.
        """
        self._check_size(sample, 2 * self.config.out_channels)
        self._check_guide(guide, sample)
        keys = torch.cat([guide.start[:, 0], guide.end[:, -1]], dim=1)
        if sample.shape[1] <= 2:
            return self._answer(sample, timestep, guide, keys, looks)
        inner = guide.map_frames(lambda tensor: tensor[:, 1:-1])
        answer = self._answer(sample[:, 1:-1], timestep, inner, keys, looks)
        return functional.pad(answer, (0, 0, 0, 0, 0, 0, 1, 1))

    def _answer(
        self, sample: Tensor, timestep: Tensor | float, guide: Guide, keys: Tensor, looks: list[Looks] | None
    ) -> Tensor:
        """The output for some frames; `keys` (B, 6, H, W) are both unwarped keys.

        Frames interact only in the middle block: before and after it a few at a time are evaluated, which limits
        the memory.
        """
        batch, num_frames = sample.shape[:2]
        rows = self.time_embed(self._sinusoid(timestep, sample))
        embedding = rows.repeat_interleave(num_frames, dim=0)
        clips = torch.arange(batch, device=sample.device).repeat_interleave(num_frames)
        frames, alone, keys = sample.flatten(0, 1), guide.frame_by_frame(), self.guide_in.of_keys(keys.to(sample.dtype))
        parts = [slice(n, n + self._at_once(sample)) for n in range(0, len(frames), self._at_once(sample))]
        begun = spread(
            lambda part: self._down(frames[part], embedding[part], alone[part], keys[clips[part]]), parts, sample.device
        )
        h = self._run(self.middle_block, torch.cat([one.h for one in begun]), rows, None, num_frames)
        ended = spread(
            lambda n: self._up(h[parts[n]], embedding[parts[n]], alone[parts[n]], begun[n], looks is not None),
            range(len(parts)),
            sample.device,
        )
        if looks is not None:
            looks += [own for _, own in ended]
        return torch.cat([answer for answer, _ in ended]).unflatten(0, (batch, num_frames))

    def _at_once(self, sample: Tensor) -> int:
        """Number of frames evaluated together: as many as fit a processor's cache, on a GPU all."""
        cells = sample.shape[-2] * sample.shape[-1]
        return max(1, _CELLS_AT_ONCE // cells) if sample.device.type == "cpu" else sample[:, :, 0, 0, 0].numel()

    def _down(self, frames: Tensor, embedding: Tensor, guide: Guide, keys: Tensor) -> _Begun:
        """Latents (N, 2 C, h, w) of N frames, up to the middle block."""
        costs = channels_last(self.match_costs(guide))
        h = self._run(self.input_blocks[0], _channels_last(frames), embedding, None, 1)
        h = h + self.guide_in(guide.stacked()[:, 0].to(frames.dtype), keys) + self.match_in(costs.to(h.dtype))
        skips = [h]
        for stage in self.input_blocks[1:]:
            skips.append(self._run(stage, skips[-1], embedding, None, 1))
        return _Begun(skips[-1], skips, costs)

    def _up(self, h: Tensor, embedding: Tensor, guide: Guide, begun: _Begun, keep: bool) -> tuple[Tensor, Looks]:
        """The up path: from the middle block's features of N frames to their output (N, C, h, w), and the looks if
        `keep` is set."""
        for stage in self.output_blocks:
            together = torch.cat([_channels_last(h), begun.skips.pop()], dim=1)
            h = self._run(stage, together, embedding, None, 1)
        features = self.out[1](self.out[0](h))
        change, looks = self.guide_redraw(features, guide, begun.costs)
        return self.out[2](features) + change, looks if keep else []

    def _check_guide(self, guide: Guide, sample: Tensor) -> None:
        batch, num_frames, _, height, width = sample.shape
        expected = (batch, num_frames, CHANNELS["start"], height * PATCH, width * PATCH)
        if tuple(guide.start.shape) != expected:
            raise ValueError(f"the guide's keys have shape {tuple(guide.start.shape)}, these latents need {expected}")


def _channels_last(frames: Tensor) -> Tensor:
    return frames.contiguous(memory_format=torch.channels_last)
