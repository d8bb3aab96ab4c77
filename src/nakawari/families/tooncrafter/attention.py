"""Spatial and temporal transformers of the ToonCrafter denoiser.

A spatial transformer attends within each frame and reads the context tokens; a temporal transformer attends along
time at each pixel and reads nothing else. Both work on frames folded into the batch, (B*F, C, h, w), frame fastest.

Sources: Xing et al. 2024 (ToonCrafter); Xing et al. 2023 (DynamiCrafter: the two-branch cross attention); Shazeer
2020 (GEGLU). Module names follow the released checkpoint.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_ATTENTION_BATCH = 65535
"""Limit of CUDA grids along the axis that fused attention kernels use for the batch."""


class Context(NamedTuple):
    """Tokens for the cross attention: text (B, Lt, D), the same for all frames; image (B*F, Li, D) or (B, Li, D)."""

    text: Tensor
    image: Tensor


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention on (N, heads, tokens, dim); keys of a smaller batch serve consecutive queries."""
    if key.shape[0] != query.shape[0]:
        repeats = query.shape[0] // key.shape[0]
        key, value = key.repeat_interleave(repeats, dim=0), value.repeat_interleave(repeats, dim=0)
    if query.shape[0] <= MAX_ATTENTION_BATCH:
        return functional.scaled_dot_product_attention(query, key, value)
    parts = zip(*(tensor.split(MAX_ATTENTION_BATCH) for tensor in (query, key, value)), strict=True)
    return torch.cat([functional.scaled_dot_product_attention(*part) for part in parts])


class Attention(nn.Module):
    """Multi-head attention over tokens (N, L, dim); to itself, or to the text tokens of a context.

    Args:
        dim: width of the tokens.
        heads: number of heads.
        head_dim: width of each head; scores are scaled by head_dim^-0.5.
        context_dim: width of the context tokens; None = self-attention.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, context_dim: int | None = None) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_k = nn.Linear(context_dim or dim, inner, bias=False)
        self.to_v = nn.Linear(context_dim or dim, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, dim))

    def split_heads(self, tokens: Tensor) -> Tensor:
        """(N, L, heads * dim) -> (N, heads, L, dim)."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def mix(self, query: Tensor, tokens: Tensor, context: Context | None) -> Tensor:
        """Attention of split queries to the tokens themselves or to the text; (N, heads, L, head_dim)."""
        source = tokens if context is None else context.text
        return attend(query, self.split_heads(self.to_k(source)), self.split_heads(self.to_v(source)))

    def forward(self, tokens: Tensor, context: Context | None = None) -> Tensor:
        """Tokens (N, L, dim) -> (N, L, dim)."""
        mixed = self.mix(self.split_heads(self.to_q(tokens)), tokens, context)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class ImageCrossAttention(Attention):
    """Cross attention with a second branch for image tokens that shares the queries: out = text + scale * image.

    Args:
        dim, heads, head_dim, context_dim: as in `Attention`.
        learnable_scale: scale = tanh(alpha) + 1 with a learned alpha, starting at 0; otherwise scale = 1.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, context_dim: int, learnable_scale: bool = False) -> None:
        super().__init__(dim, heads, head_dim, context_dim)
        self.to_k_ip = nn.Linear(context_dim, heads * head_dim, bias=False)
        self.to_v_ip = nn.Linear(context_dim, heads * head_dim, bias=False)
        self.alpha = nn.Parameter(torch.tensor(0.0)) if learnable_scale else None

    def mix(self, query: Tensor, tokens: Tensor, context: Context | None) -> Tensor:
        """Sum of the text branch and the image branch; without image tokens only the text branch."""
        text = super().mix(query, tokens, context)
        if context is None or context.image.shape[1] == 0:
            return text
        image = attend(
            query, self.split_heads(self.to_k_ip(context.image)), self.split_heads(self.to_v_ip(context.image))
        )
        return text + image if self.alpha is None else text + image * (torch.tanh(self.alpha) + 1)


class GEGLU(nn.Module):
    """Linear to twice the width, one half gated by the exact GELU of the other."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, inner * 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, dim) -> (N, L, inner)."""
        hidden, gate = self.proj(tokens).chunk(2, dim=-1)
        return hidden * functional.gelu(gate)


class FeedForward(nn.Module):
    """GEGLU and a linear layer, four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        # The identity replaces the checkpoint's dropout of probability 0.
        self.net = nn.Sequential(GEGLU(dim, dim * 4), nn.Identity(), nn.Linear(dim * 4, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        return self.net(tokens)


class TransformerBlock(nn.Module):
    """Pre-norm residual block: self-attention, a second attention, feed-forward."""

    def __init__(self, dim: int, attn1: Attention, attn2: Attention) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn1 = attn1
        self.norm2 = nn.LayerNorm(dim)
        self.attn2 = attn2
        self.norm3 = nn.LayerNorm(dim)
        self.ff = FeedForward(dim)

    def forward(self, tokens: Tensor, context: Context | None = None) -> Tensor:
        """Tokens (N, L, dim) -> (N, L, dim); without a context the second attention is a self-attention."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        tokens = tokens + self.attn2(self.norm2(tokens), context)
        return tokens + self.ff(self.norm3(tokens))


def zero_init(layer: nn.Module) -> nn.Module:
    """The layer with all parameters set to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class SpatialTransformer(nn.Module):
    """Self-attention among the pixels of each frame, and cross-attention to the context.

    Args:
        channels: C.
        heads, head_dim: attention heads; the inner width is their product, which may be less than C.
        norm_groups: groups of the group norm.
        depth: number of transformer blocks.
        context_dim: width of the context tokens; None = no context, the second attention is a self-attention.
        image_branch: whether image tokens get their own keys and values; otherwise only text tokens are read.
        learnable_scale: whether the image branch's scale is learned.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        head_dim: int,
        *,
        norm_groups: int = 32,
        depth: int = 1,
        context_dim: int | None = None,
        image_branch: bool = False,
        learnable_scale: bool = False,
    ) -> None:
        super().__init__()
        inner = heads * head_dim

        def second_attention() -> Attention:
            if context_dim is not None and image_branch:
                return ImageCrossAttention(inner, heads, head_dim, context_dim, learnable_scale)
            return Attention(inner, heads, head_dim, context_dim)

        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, inner)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(inner, Attention(inner, heads, head_dim), second_attention()) for _ in range(depth)
        )
        self.proj_out = zero_init(nn.Linear(inner, channels))

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Frames (B*F, C, h, w) -> the same shape."""
        # Contiguous; otherwise torch picks another matmul with different rounding when the weights are frozen.
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2).contiguous())
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return x + self.proj_out(tokens).transpose(1, 2).unflatten(2, x.shape[2:])


class PointwiseConv(nn.Conv1d):
    """A 1-tap convolution over (N, C, L), run as a linear layer: faster on many short sequences.

    The constructor is `Conv1d`'s because adapters build their own layers of the same class.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, L) -> (N, C', L)."""
        rows = x.transpose(1, 2).contiguous()  # as in `SpatialTransformer`
        return functional.linear(rows, self.weight.squeeze(-1), self.bias).transpose(1, 2)


class TemporalTransformer(nn.Module):
    """Attention along time at each pixel, twice per block; no positions, no mask, no context.

    It is invariant to the order of frames, which the temporal convolutions and the frames' conditions provide.

    Args:
        channels, heads, head_dim, norm_groups, depth: as in `SpatialTransformer`.
        pointwise: projections are 1-tap convolutions instead of linear layers: same arithmetic, weights [o, i, 1].
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        head_dim: int,
        *,
        norm_groups: int = 32,
        depth: int = 1,
        pointwise: bool = False,
    ) -> None:
        super().__init__()
        inner = heads * head_dim
        self.pointwise = pointwise
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = PointwiseConv(channels, inner, 1) if pointwise else nn.Linear(channels, inner)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(inner, Attention(inner, heads, head_dim), Attention(inner, heads, head_dim))
            for _ in range(depth)
        )
        self.proj_out = zero_init(PointwiseConv(inner, channels, 1) if pointwise else nn.Linear(inner, channels))

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Frames (B*F, C, h, w) -> the same shape; statistics of the norm run over all frames of a clip."""
        batch, (height, width) = x.shape[0] // num_frames, x.shape[2:]
        # Contiguous: otherwise torch sums up by thread, and the result depends on their number.
        video = self.norm(x.unflatten(0, (batch, num_frames)).transpose(1, 2).contiguous())
        tokens = self._project(self.proj_in, video.permute(0, 3, 4, 2, 1).flatten(0, 2).contiguous())
        for block in self.transformer_blocks:
            tokens = block(tokens)
        tokens = self._project(self.proj_out, tokens)
        video = tokens.unflatten(0, (batch, height, width)).permute(0, 3, 4, 1, 2)
        return x + video.flatten(0, 1)

    def _project(self, layer: nn.Module, tokens: Tensor) -> Tensor:
        return layer(tokens.transpose(1, 2)).transpose(1, 2) if self.pointwise else layer(tokens)
