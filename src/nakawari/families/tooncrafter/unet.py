"""The ToonCrafter denoiser: a UNet over frames with spatial and temporal attention.

Source: Xing et al. 2024, "ToonCrafter: Generative Cartoon Interpolation". Module names are those of the released
checkpoint below `model.diffusion_model.`, but for the spelling of `temporal_conv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn
from torch.nn import functional

from ...guide import CHANNELS, Guide
from .attention import Context, SpatialTransformer, TemporalTransformer, zero_init
from .blocks import (
    Downsample,
    GroupNorm32,
    GuideEncoder,
    ResBlock,
    Stage,
    Upsample,
    scalar_mlp,
    sinusoidal_embedding,
)
from .redraw import GuideRedraw, Level, MatchCosts, count

INIT_ATTENTION_HEADS = 8
"""The temporal transformer behind the first convolution has this many heads at any width."""


class ToonCrafterUNet(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Noisy latents beside the condition latents -> the network's answer (velocity, for the released weights).

    Args:
        in_channels: noisy latents and condition latents together.
        out_channels: channels of the answer.
        model_channels: width of the first level.
        attention_resolutions: downsampling factors (1, 2, 4, ...) of the levels that have transformers.
        num_res_blocks: residual blocks per level on the way down; one more on the way up.
        channel_mult: width of each level in units of `model_channels`; the first must be 1.
        dropout: probability inside the residual blocks.
        num_head_channels: width of a head; a level has channels // num_head_channels heads.
        transformer_depth: blocks per transformer.
        context_dim: width of the context tokens; None = no context: `attn2` of the spatial transformers is then a
            second self-attention.
        temporal_length: frames per clip in training; the network itself takes any number.
        addition_attention: whether a temporal transformer follows the first convolution.
        image_cross_attention: whether image tokens get their own branch; otherwise only text tokens are read.
        image_cross_attention_scale_learnable: whether that branch has a learned scale.
        temporal_convolutions: whether the residual blocks look along time; without, only temporal transformers do.
        fps_condition: whether the network is told the frame rate (or stride).
        default_fps: what it is told where the caller says nothing.
        text_tokens: text tokens, which lead the context.
        image_tokens_per_frame: image tokens of one frame.
        norm_num_groups: groups of all group norms.
        guide_channels: channels of the motion guide; None = the network takes none.
        guide_keys: whether the guide's encoder also sees, beside every frame, both keys where they are.
        inner_only: the two keys are not evaluated, their answer is zero: for residual models, where it is, with
            `guide_keys`, through which the other frames see them.
        guide_stride: guide pixels per latent along each side.
        guide_hidden: channels inside the guide's encoder.
        redraw: None = the network paints its whole answer. Otherwise it also moves the guide's warped keys (see
            `GuideRedraw`), and this is the factor from their latents to its answer.
        match: None = it moves them in the small. Otherwise the searches (pixels between shifts, shifts each way) whose
            costs it sees and whose shifts it weighs, see `MatchCosts`; needs `redraw`.
        removed_layers: names of residual layers (see `removable_layers`) that are left out and pass on what they get.

    Raises:
        ValueError: where widths, heads and groups do not fit together, or a layer cannot be left out.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["ResBlock", "SpatialTransformer", "TemporalTransformer"]
    _skip_layerwise_casting_patterns: ClassVar[list[str]] = ["norm", "time_embed", "fps_embedding", "guide_in"]

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
        guide_channels: int | None = None,
        guide_keys: bool = False,
        inner_only: bool = False,
        guide_stride: int = 8,
        guide_hidden: int = 64,
        redraw: float | None = None,
        match: Sequence[Level] | None = None,
        temporal_convolutions: bool = True,
        removed_layers: Sequence[str] = (),
    ) -> None:
        super().__init__()
        _check(model_channels, channel_mult, num_head_channels, norm_num_groups)
        self.gradient_checkpointing = False
        embedding_dim = model_channels * 4
        self.time_embed = scalar_mlp(model_channels, embedding_dim)
        if fps_condition:
            self.fps_embedding = scalar_mlp(model_channels, embedding_dim)
            zero_init(self.fps_embedding[-1])
        if guide_channels is not None:
            seen = guide_channels + 6 * guide_keys
            self.guide_in = GuideEncoder(seen, guide_stride, guide_hidden, model_channels)
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
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(in_channels, model_channels, 3, padding=1))])
        self.output_blocks = nn.ModuleList()
        self._build_levels()
        self.out = nn.Sequential(
            GroupNorm32(norm_num_groups, model_channels),
            nn.SiLU(),
            zero_init(nn.Conv2d(model_channels, out_channels, 3, padding=1)),
        )
        if match is not None:
            if redraw is None:
                raise ValueError("match searches for what redraw moves; set redraw")
            self.match_costs = MatchCosts(match, guide_stride)
            self.match_in = nn.Sequential(
                nn.Conv2d(count(match), guide_hidden, 1),
                nn.SiLU(),
                nn.Conv2d(guide_hidden, model_channels, 3, padding=1),
            )
        if redraw is not None:
            self.guide_redraw = GuideRedraw(model_channels, guide_stride, out_channels, redraw, match)
        self._remove(removed_layers)

    def removable_layers(self) -> list[str]:
        """Names of the layers that add to what they get and can therefore be left out: transformers, and residual
        blocks that keep the width."""
        return [
            f"{name}.{index}"
            for name, stage in self.named_modules()
            if isinstance(stage, Stage)
            for index, layer in enumerate(stage)
            if isinstance(layer, (SpatialTransformer, TemporalTransformer))
            or (isinstance(layer, ResBlock) and isinstance(layer.skip_connection, nn.Identity))
        ]

    def _remove(self, names: Sequence[str]) -> None:
        allowed = self.removable_layers()
        for name in names:
            if name not in allowed:
                raise ValueError(f"{name!r} cannot be left out; allowed are {', '.join(allowed)}")
            stage, _, index = name.rpartition(".")
            self.get_submodule(stage)[int(index)] = nn.Identity()

    def _build_levels(self) -> None:
        """The way down, the middle and the way up, each output block taking one skip of the way down."""
        config = self.config
        widths = [config.model_channels * mult for mult in config.channel_mult]
        channels, last = widths[0], len(widths) - 1
        skips = [channels]
        for level, width in enumerate(widths):
            for _ in range(config.num_res_blocks):
                self.input_blocks.append(Stage(self._res(channels, width), *self._attention(level, width)))
                channels = width
                skips.append(channels)
            if level != last:
                self.input_blocks.append(Stage(Downsample(channels)))
                skips.append(channels)
        self.middle_block = Stage(
            self._res(channels, channels), *self._transformers(channels), self._res(channels, channels)
        )
        for level, width in reversed(list(enumerate(widths))):
            for index in range(config.num_res_blocks + 1):
                layers = [self._res(channels + skips.pop(), width), *self._attention(level, width)]
                channels = width
                if level > 0 and index == config.num_res_blocks:
                    layers.append(Upsample(channels))
                self.output_blocks.append(Stage(*layers))

    def _res(self, channels: int, out_channels: int) -> ResBlock:
        config = self.config
        return ResBlock(
            channels,
            out_channels,
            config.model_channels * 4,
            norm_groups=config.norm_num_groups,
            dropout=config.dropout,
            temporal=config.temporal_convolutions,
        )

    def _attention(self, level: int, channels: int) -> list[nn.Module]:
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
        guide: Guide | None = None,
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
            guide: of frames h * guide_stride x w * guide_stride; None = unguided.
            depth: 0, or how many output blocks read, through their skips, what is computed anew beside `deep`.
            deep: features of an earlier evaluation, in place of all that lies below these output blocks.

        Returns:
            (B, F, out_channels, h, w) in the dtype of `sample`; with `depth` also the features below, (B*F, C, h', w'),
            to be `deep` at a later evaluation.

        Raises:
            ValueError: on shapes that do not fit, or a context or guide that the network lacks or needs.
        """
        self._check_size(sample)
        if guide is not None:
            self._check_guide(guide, sample)
        if self.config.inner_only and sample.shape[1] > 2:
            answer, below = self._answer(
                sample[:, 1:-1], timestep, context, fps, guide, slice(1, -1), deep=deep, depth=depth
            )
            answer = functional.pad(answer, (0, 0, 0, 0, 0, 0, 1, 1))
        else:
            answer, below = self._answer(sample, timestep, context, fps, guide, deep=deep, depth=depth)
        return answer if below is None else (answer, below)

    def _answer(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        context: Tensor | None,
        fps: Tensor | None,
        guide: Guide | None,
        frames_of_guide: slice = slice(None),
        *,
        deep: Tensor | None,
        depth: int,
    ) -> tuple[Tensor, Tensor | None]:
        batch, num_frames = sample.shape[:2]
        embedding = self._embed(sample, timestep, fps)
        tokens = self._split_context(context, num_frames)
        frames = sample.flatten(0, 1)
        if not self.config.temporal_convolutions:
            # Convolutions of low precision are quickest so; a layer along time would undo it in every block.
            frames = frames.contiguous(memory_format=torch.channels_last)
        h = self._run(self.input_blocks[0], frames, embedding, tokens, num_frames)
        costs = None
        if guide is not None:
            seen = self._seen(guide)[:, frames_of_guide]
            guide = guide.map_frames(lambda tensor: tensor[:, frames_of_guide])
            h = h + self.guide_in(seen.flatten(0, 1).to(sample.dtype))
            if self.config.match is not None:
                costs = self.match_costs(guide)
                h = h + self.match_in(costs.to(h.dtype))
        if self.config.addition_attention:
            h = self._run(self.init_attn, h, embedding, tokens, num_frames)
        skips, below = [h], len(self.output_blocks) - depth
        for stage in self.input_blocks[1 : None if deep is None else depth]:
            h = self._run(stage, h, embedding, tokens, num_frames)
            skips.append(h)
        if deep is None:
            h = self._run(self.middle_block, h, embedding, tokens, num_frames)
            for stage in self.output_blocks[:below]:
                h = self._run(stage, torch.cat([h, skips.pop()], dim=1), embedding, tokens, num_frames)
            deep = h
        h = deep
        for stage in self.output_blocks[below:]:
            h = self._run(stage, torch.cat([h, skips.pop()], dim=1), embedding, tokens, num_frames)
        features = self.out[1](self.out[0](h))
        answer = self.out[2](features).unflatten(0, (batch, num_frames))
        if guide is not None and self.config.redraw is not None:
            answer = answer + self.guide_redraw(features, guide, costs).unflatten(0, (batch, num_frames))
        return answer, deep if depth else None

    def _run(self, stage: Stage, x: Tensor, embedding: Tensor, context: Context | None, num_frames: int) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(stage, x, embedding, context, num_frames)
        return stage(x, embedding, context, num_frames)

    def _embed(self, sample: Tensor, timestep: Tensor | float, fps: Tensor | None) -> Tensor:
        """Time and frame rate as one embedding per clip, (B, 4 * model_channels)."""
        embedding = self.time_embed(self._sinusoid(timestep, sample))
        if self.config.fps_condition:
            rate = self.config.default_fps if fps is None else fps
            embedding = embedding + self.fps_embedding(self._sinusoid(rate, sample))
        return embedding

    def _sinusoid(self, values: Tensor | float, sample: Tensor) -> Tensor:
        column = torch.as_tensor(values, device=sample.device).reshape(-1).expand(sample.shape[0])
        return sinusoidal_embedding(column, self.config.model_channels).to(sample.dtype)

    def _split_context(self, context: Tensor | None, num_frames: int) -> Context | None:
        """Text and image tokens; the image tokens by frame, (B*F, n, D), where their number says so."""
        if (context is None) != (self.config.context_dim is None):
            need = "takes no context (context_dim is None)" if context is not None else "needs context tokens"
            raise ValueError(f"this denoiser {need}")
        if context is None:
            return None
        text, image = context[:, : self.config.text_tokens], context[:, self.config.text_tokens :]
        if image.shape[1] == num_frames * self.config.image_tokens_per_frame:
            image = image.unflatten(1, (num_frames, -1)).flatten(0, 1)
        return Context(text.contiguous(), image.contiguous())

    def _check_guide(self, guide: Guide, sample: Tensor) -> None:
        if self.config.guide_channels is None:
            raise ValueError("this denoiser takes no guide (guide_channels is None)")
        batch, num_frames, _, height, width = sample.shape
        stride = self.config.guide_stride
        expected = (batch, num_frames, CHANNELS["start"], height * stride, width * stride)
        if tuple(guide.start.shape) != expected:
            raise ValueError(f"the guide's keys have shape {tuple(guide.start.shape)}, these latents need {expected}")

    def _seen(self, guide: Guide) -> Tensor:
        """The guide as its encoder reads it: with both keys beside every frame, where the network wants them."""
        stacked = guide.stacked()
        if not self.config.guide_keys:
            return stacked
        keys = torch.cat([guide.start[:, :1], guide.end[:, -1:]], dim=2)
        return torch.cat([stacked, keys.expand(-1, stacked.shape[1], -1, -1, -1)], dim=2)

    def _check_size(self, sample: Tensor) -> None:
        multiple = 2 ** (len(self.config.channel_mult) - 1)
        if sample.ndim != 5 or sample.shape[2] != self.config.in_channels:
            shape = tuple(sample.shape)
            raise ValueError(f"sample has shape {shape}, it must be (B, F, {self.config.in_channels}, h, w)")
        height, width = sample.shape[-2:]
        if height % multiple or width % multiple:
            raise ValueError(f"latents of {height}x{width}: both sides must be divisible by {multiple}; pad the frames")


def _check(model_channels: int, channel_mult: Sequence[int], head_channels: int, groups: int) -> None:
    if channel_mult[0] != 1:
        raise ValueError(f"channel_mult starts with {channel_mult[0]}, it must start with 1")
    if model_channels % groups:
        raise ValueError(f"model_channels={model_channels} must be divisible by norm_num_groups={groups}")
    if model_channels < head_channels:
        raise ValueError(f"num_head_channels={head_channels} must not exceed model_channels={model_channels}")
