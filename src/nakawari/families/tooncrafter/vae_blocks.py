"""Building blocks of the dual-reference autoencoder (Xing et al. 2024, "ToonCrafter", section 3.3).

The frames of a batch of clips are folded into one axis, N = B * F with the frame running fastest; temporal blocks
get F. Parameter names are those of the published checkpoint.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPATIAL_EPS = 1e-6
TEMPORAL_EPS = 1e-5


def unfold_time(x: Tensor, num_frames: int) -> Tensor:
    """(B*F, C, H, W) -> (B, C, F, H, W), the layout of temporal convolutions."""
    return x.unflatten(0, (-1, num_frames)).transpose(1, 2)


def fold_time(x: Tensor) -> Tensor:
    """(B, C, F, H, W) -> (B*F, C, H, W)."""
    return x.transpose(1, 2).flatten(0, 1)


class TemporalConv(nn.Conv3d):
    """A convolution over three neighbouring frames of each pixel, on (B, C, F, H, W).

    Pixels are independent, so height and width are one axis of a 2-D convolution: twice as fast on the CPU.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x.flatten(3), self.weight[..., 0], self.bias, padding=(1, 0)).view(
            len(x), self.out_channels, *x.shape[2:]
        )


def zero(module: nn.Module) -> None:
    """Set every parameter of `module` to zero, so that a residual branch starts at zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


class ResnetBlock(nn.Module):
    """Two normalised 3x3 convolutions with a shortcut, on single frames (N, C, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=SPATIAL_EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=SPATIAL_EPS)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class TemporalStack(nn.Module):
    """Two normalised temporal convolutions with a shortcut, on (B, C, F, H, W); statistics run over all frames."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(groups, channels, eps=TEMPORAL_EPS), nn.SiLU(), TemporalConv(channels, channels)
        )
        # The published stack has a dropout of zero at index 2; the index is kept so that the names agree.
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, channels, eps=TEMPORAL_EPS),
            nn.SiLU(),
            nn.Identity(),
            TemporalConv(channels, channels),
        )
        zero(self.out_layers[3])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out_layers(self.in_layers(x))


class VideoResnetBlock(ResnetBlock):
    """A spatial block followed by a temporal stack, mixed by the learnt share sigmoid(mix_factor) of the stack."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__(in_channels, out_channels, groups)
        self.time_stack = TemporalStack(out_channels, groups)
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        spatial = super().forward(x)
        temporal = fold_time(self.time_stack(unfold_time(spatial, num_frames)))
        return torch.lerp(spatial, temporal, torch.sigmoid(self.mix_factor).to(spatial.dtype))


class SpatialAttention(nn.Module):
    """Single-head self-attention among the pixels of each frame, with a shortcut."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=SPATIAL_EPS)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2).unsqueeze(1) for layer in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(h.squeeze(1).transpose(1, 2).reshape(x.shape))


class MiddleBlock(nn.Module):
    """The lowest resolution: two blocks with optional self-attention between them; `block` is their class."""

    def __init__(self, block: type[ResnetBlock], channels: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.block_1 = block(channels, channels, groups)
        if attention:
            self.attn_1 = SpatialAttention(channels, groups)
        self.block_2 = block(channels, channels, groups)

    def forward(self, x: Tensor, *num_frames: int) -> Tensor:
        h = self.block_1(x, *num_frames)
        if hasattr(self, "attn_1"):
            h = self.attn_1(h)
        return self.block_2(h, *num_frames)


class FusionAttention(nn.Module):
    """Every frame of a clip attends to the features of both its key frames.

    Keys and values are computed once per clip: the queries of all frames form one sequence.
    """

    def __init__(self, channels: int, groups: int, heads: int, head_dim: int) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels, eps=SPATIAL_EPS)
        self.to_q = nn.Linear(channels, inner, bias=False)
        self.to_k = nn.Linear(channels, inner, bias=False)
        self.to_v = nn.Linear(channels, inner, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner, channels)])
        zero(self.to_out[0])

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """x (B*F, C, H, W), reference (B, 2, C, H', W') -> shape of `x`."""
        batch = reference.shape[0]
        # (B, F*H*W, C) and (B, 2*H'*W', C), row by row, frame after frame.
        queries = self.norm(x).unflatten(0, (batch, -1)).movedim(2, -1).flatten(1, 3)
        keys = reference.movedim(2, -1).flatten(1, 3)
        q, k, v = (self._split(t) for t in (self.to_q(queries), self.to_k(keys), self.to_v(keys)))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = self.to_out[0](h).unflatten(1, (-1, *x.shape[-2:]))
        return x + h.movedim(-1, 2).flatten(0, 1)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Combiner(nn.Module):
    """Adds the projected features of the first key to the first frame and those of the last key to the last frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        zero(self.conv)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """x (B*F, C, H, W), reference (B, 2, C, H, W) -> shape of `x`; a single frame takes both."""
        batch = reference.shape[0]
        added = self.conv(reference.flatten(0, 1)).unflatten(0, (batch, 2))
        clips = x.unflatten(0, (batch, -1)).clone()
        clips[:, 0] += added[:, 0]
        clips[:, -1] += added[:, 1]
        return clips.flatten(0, 1)


class OutputConv(nn.Conv2d):
    """The last convolution to pixels, followed by a mix of three neighbouring frames."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.time_mix_conv = TemporalConv(out_channels, out_channels)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        return fold_time(self.time_mix_conv(unfold_time(super().forward(x), num_frames)))


class Downsample(nn.Module):
    """Halves height and width; the padding is on the right and bottom only, as in the published encoder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
