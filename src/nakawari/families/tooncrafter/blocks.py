"""Residual blocks with temporal convolutions, resampling and embeddings of the ToonCrafter denoiser.

Frames are folded into the batch, (B*F, C, h, w), frame fastest. Module names follow the released checkpoint.
Source: Xing et al. 2024 (ToonCrafter), whose blocks are those of VideoCrafter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .attention import Context, SpatialTransformer, TemporalTransformer, zero_init


class GroupNorm32(nn.GroupNorm):
    """Group norm (eps 1e-5) computed in float32 and returned in the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape and dtype."""
        if x.device.type == "cpu" and self.weight.dtype == torch.float32:  # the CPU's kernel converts by itself
            # One pixel is of either layout, and which it is counted as changes the order of the sums.
            x = x.flatten(1).view(x.shape) if x[0, 0].numel() == 1 else x
            return functional.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        normed = functional.group_norm(x.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps)
        return normed.to(x.dtype)


class PointConv(nn.Conv2d):
    """A 1x1 convolution that is as fast on a CPU as the larger ones if the memory format is channels last.

    For few frames on one thread torch takes a matrix product of a third of the speed, unless a convolution is dilated,
    which one pixel cannot be. The constructor is `Conv2d`'s because adapters build their own layers of the same class.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h, w)."""
        if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        return functional.conv2d(x, self.weight, self.bias, dilation=2)


def sinusoidal_embedding(values: Tensor, dim: int) -> Tensor:
    """Scalars (B,) -> float32 (B, dim): cosines, then sines, of value * 10000^(-i / (dim // 2)); odd dim ends in 0."""
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=values.device)
    angles = values.float()[:, None] * torch.exp(-math.log(10000.0) * steps / half)
    return functional.pad(torch.cat([angles.cos(), angles.sin()], dim=-1), (0, dim % 2))


class TimeConv(nn.Conv3d):
    """A temporal convolution, kernel (k, 1, 1): `Conv3d` weights, run as a 2-D convolution over (F, h * w).

    The arithmetic is that of `Conv3d`, whose general kernel is several times slower on CPUs. The constructor is
    `Conv3d`'s because adapters build their own layers of the same class.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, h, w) -> (B, C', F, h, w)."""
        rows = functional.conv2d(x.flatten(3), self.weight.squeeze(-1), self.bias, padding=self.padding[:2])
        return rows.unflatten(3, x.shape[3:])


class TemporalConv(nn.Module):
    """Four temporal convolutions, added to the input; the last is zero-initialised.

    Args:
        channels: C.
        norm_groups: groups of each norm, whose statistics run over all frames of a clip together.
        dropout: probability in all but the first.
    """

    def __init__(self, channels: int, norm_groups: int, dropout: float) -> None:
        super().__init__()

        def layer(*before_conv: nn.Module) -> nn.Sequential:
            conv = TimeConv(channels, channels, (3, 1, 1), padding=(1, 0, 0))
            return nn.Sequential(nn.GroupNorm(norm_groups, channels), nn.SiLU(), *before_conv, conv)

        self.conv1 = layer()
        self.conv2 = layer(nn.Dropout(dropout))
        self.conv3 = layer(nn.Dropout(dropout))
        self.conv4 = layer(nn.Dropout(dropout))
        zero_init(self.conv4[-1])

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Frames (B*F, C, h, w) -> the same shape."""
        video = x.unflatten(0, (-1, num_frames)).transpose(1, 2)
        change = self.conv4(self.conv3(self.conv2(self.conv1(video))))
        return x + change.transpose(1, 2).flatten(0, 1)


class ResBlock(nn.Module):
    """Two convolutions per frame with the embedding added between them, then the temporal convolutions.

    Args:
        channels, out_channels: C in and out; a 1x1 convolution maps the shortcut if they differ.
        embedding_dim: width of the time embedding.
        norm_groups: groups of the norms.
        dropout: probability before the last convolution and in the temporal ones.
        temporal: whether there are temporal convolutions.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        embedding_dim: int,
        *,
        norm_groups: int = 32,
        dropout: float = 0.0,
        temporal: bool = True,
    ) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            GroupNorm32(norm_groups, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding_dim, out_channels))
        self.out_layers = nn.Sequential(
            GroupNorm32(norm_groups, out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else PointConv(channels, out_channels, 1)
        self.temporal_conv = TemporalConv(out_channels, norm_groups, dropout) if temporal else None

    def forward(self, x: Tensor, embedding: Tensor, num_frames: int) -> Tensor:
        """Frames (B*F, C, h, w) and one embedding per clip (B, E) -> (B*F, C', h, w)."""
        shift = self.emb_layers(embedding).repeat_interleave(num_frames, dim=0)
        h = self.out_layers(self.in_layers(x) + shift[:, :, None, None])
        h = self.skip_connection(x) + h
        return h if self.temporal_conv is None else self.temporal_conv(h, num_frames)


class Downsample(nn.Module):
    """Half the size, by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h/2, w/2)."""
        return self.op(x)


class Upsample(nn.Module):
    """Twice the size: nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, 2h, 2w)."""
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class Stage(nn.Sequential):
    """Layers in sequence; each gets the embedding, the context and the frame count as needed."""

    def forward(self, x: Tensor, embedding: Tensor, context: Context | None, num_frames: int) -> Tensor:
        """Frames (B*F, C, h, w), embeddings (B, E) -> (B*F, C', h', w')."""
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, embedding, num_frames)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            elif isinstance(layer, TemporalTransformer):
                x = layer(x, num_frames)
            else:
                x = layer(x)
        return x


def scalar_mlp(dim: int, out_dim: int) -> nn.Sequential:
    """The two linear layers behind a sinusoidal embedding."""
    return nn.Sequential(nn.Linear(dim, out_dim), nn.SiLU(), nn.Linear(out_dim, out_dim))
