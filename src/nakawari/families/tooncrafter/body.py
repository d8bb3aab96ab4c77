"""The levels of a denoiser over frames: down path, middle block and up path, each output block with one skip."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .attention import Context, SpatialTransformer, TemporalTransformer
from .blocks import Downsample, ResBlock, Stage, Upsample, sinusoidal_embedding


class UNetBody(nn.Module):
    """`input_blocks`, `middle_block` and `output_blocks` of a network, built from its configuration.

    The configuration has `model_channels`, `channel_mult` and `num_res_blocks`. Names are those of ToonCrafter's
    released checkpoint.
    """

    gradient_checkpointing = False
    _gradient_checkpointing_func: Any = None

    @abstractmethod
    def _residual_block(self, channels: int, out_channels: int) -> ResBlock:
        """A residual block of this network."""

    @abstractmethod
    def _transformers(self, channels: int) -> list[nn.Module]:
        """The transformers of the middle block."""

    @abstractmethod
    def _level_transformers(self, level: int, channels: int) -> list[nn.Module]:
        """The transformers behind each residual block of a level."""

    def _build_levels(self, in_channels: int) -> None:
        config = self.config
        widths = [config.model_channels * mult for mult in config.channel_mult]
        channels, last = widths[0], len(widths) - 1
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(in_channels, channels, 3, padding=1))])
        self.output_blocks = nn.ModuleList()
        skips = [channels]
        for level, width in enumerate(widths):
            for _ in range(config.num_res_blocks):
                block = self._residual_block(channels, width)
                self.input_blocks.append(Stage(block, *self._level_transformers(level, width)))
                channels = width
                skips.append(channels)
            if level != last:
                self.input_blocks.append(Stage(Downsample(channels)))
                skips.append(channels)
        self.middle_block = Stage(
            self._residual_block(channels, channels),
            *self._transformers(channels),
            self._residual_block(channels, channels),
        )
        for level, width in reversed(list(enumerate(widths))):
            for index in range(config.num_res_blocks + 1):
                block = self._residual_block(channels + skips.pop(), width)
                layers = [block, *self._level_transformers(level, width)]
                channels = width
                if level > 0 and index == config.num_res_blocks:
                    layers.append(Upsample(channels))
                self.output_blocks.append(Stage(*layers))

    def removable_layers(self) -> list[str]:
        """Names of the removable residual layers: transformers, and residual
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
                raise ValueError(f"{name!r} cannot be removed; allowed are {', '.join(allowed)}")
            stage, _, index = name.rpartition(".")
            self.get_submodule(stage)[int(index)] = nn.Identity()

    def _levels(
        self,
        h: Tensor,
        embedding: Tensor,
        tokens: Context | None,
        num_frames: int,
        deep: Tensor | None = None,
        depth: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Features after the first convolution (B*F, C, h, w), and one embedding per clip -> features of the same
        shape.

        Args:
            deep: features of an earlier evaluation, replacing all layers below the last `depth` output blocks.

        Returns:
            The features of the last output block, and those below the last `depth` ones.
        """
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
        return h, deep

    def _run(self, stage: Stage, x: Tensor, embedding: Tensor, context: Context | None, num_frames: int) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(stage, x, embedding, context, num_frames)
        return stage(x, embedding, context, num_frames)

    def _sinusoid(self, values: Tensor | float, sample: Tensor) -> Tensor:
        """One row per clip of `sample`, in its dtype."""
        column = torch.as_tensor(values, device=sample.device).reshape(-1).expand(sample.shape[0])
        return sinusoidal_embedding(column, self.config.model_channels).to(sample.dtype)

    def _check_size(self, sample: Tensor, in_channels: int) -> None:
        multiple = 2 ** (len(self.config.channel_mult) - 1)
        if sample.ndim != 5 or sample.shape[2] != in_channels:
            raise ValueError(f"sample has shape {tuple(sample.shape)}, it must be (B, F, {in_channels}, h, w)")
        height, width = sample.shape[-2:]
        if height % multiple or width % multiple:
            raise ValueError(f"latents of {height}x{width}: both sides must be divisible by {multiple}; pad the frames")


def check_widths(model_channels: int, channel_mult: Sequence[int], head_channels: int, groups: int) -> None:
    """Raise `ValueError` unless widths, heads and groups fit together."""
    if channel_mult[0] != 1:
        raise ValueError(f"channel_mult starts with {channel_mult[0]}, it must start with 1")
    if model_channels % groups:
        raise ValueError(f"model_channels={model_channels} must be divisible by norm_num_groups={groups}")
    if model_channels < head_channels:
        raise ValueError(f"num_head_channels={head_channels} must not exceed model_channels={model_channels}")
