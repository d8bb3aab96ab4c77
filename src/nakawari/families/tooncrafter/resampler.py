"""The image projector of ToonCrafter: learned queries attend to the key frame's image tokens.

Source: the perceiver resampler of Alayrac et al. 2022 (Flamingo), with one group of queries per frame as in Xing et
al. 2023 (DynamiCrafter). Module names are those of the released checkpoint below `image_proj_model.`.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from .attention import attend


class PerceiverAttention(nn.Module):
    """Attention of latent queries to image tokens and to the queries themselves."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, inner * 2, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """Image tokens (B, N, dim), queries (B, Q, dim) -> change of the queries (B, Q, dim)."""
        x, latents = self.norm1(x), self.norm2(latents)
        query = self._split_heads(self.to_q(latents))
        key, value = self.to_kv(torch.cat([x, latents], dim=1)).chunk(2, dim=-1)
        mixed = attend(query, self._split_heads(key), self._split_heads(value))
        return self.to_out(mixed.transpose(1, 2).flatten(2))

    def _split_heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _feed_forward(dim: int, mult: int) -> nn.Sequential:
    wide = nn.Linear(dim, dim * mult, bias=False)
    return nn.Sequential(nn.LayerNorm(dim), wide, nn.GELU(), nn.Linear(dim * mult, dim, bias=False))


class Resampler(ModelMixin, ConfigMixin):
    """Image tokens of one key frame -> image tokens for every frame of the clip.

    Args:
        dim: width inside.
        depth: number of layers.
        dim_head: width of a head.
        heads: number of heads.
        num_queries: tokens per frame.
        embedding_dim: width of the incoming tokens.
        output_dim: width of the outgoing tokens.
        ff_mult: width of the feed-forward layers in units of `dim`.
        video_length: number of frames with their own queries; None = one group of queries for the whole clip.
    """

    @register_to_config
    def __init__(
        self,
        dim: int = 1024,
        depth: int = 4,
        dim_head: int = 64,
        heads: int = 12,
        num_queries: int = 16,
        embedding_dim: int = 1280,
        output_dim: int = 1024,
        ff_mult: int = 4,
        video_length: int | None = 16,
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, num_queries * (video_length or 1), dim) / dim**0.5)
        self.proj_in = nn.Linear(embedding_dim, dim)
        self.proj_out = nn.Linear(dim, output_dim)
        self.norm_out = nn.LayerNorm(output_dim)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(dim, heads, dim_head), _feed_forward(dim, ff_mult)]) for _ in range(depth)
        )

    def forward(self, x: Tensor, num_frames: int | None = None) -> Tensor:
        """Image tokens of the key frame -> tokens of all frames.

        Args:
            x: (B, N, embedding_dim).
            num_frames: frames of the clip, >= 1; None = `video_length`, or one group of tokens if that is None.

        Returns:
            (B, num_frames * num_queries, output_dim), frame by frame.
        """
        latents = self.queries(num_frames).expand(x.shape[0], -1, -1)
        x = self.proj_in(x)
        for attention, feed_forward in self.layers:
            latents = latents + attention(x, latents)
            latents = latents + feed_forward(latents)
        return self.norm_out(self.proj_out(latents))

    def queries(self, num_frames: int | None = None) -> Tensor:
        """The learned queries (1, num_frames * num_queries, dim).

        For a number of frames other than in training, the queries are interpolated linearly in time; the first
        and the last frame, the keys, keep theirs. A clip of one frame
        gets the first frame's.
        """
        learned = self.config.video_length or 1
        if num_frames is None or num_frames == learned:
            return self.latents
        if num_frames < 1:
            raise ValueError(f"num_frames={num_frames}, it must be at least 1")
        per_frame = self.latents.unflatten(1, (learned, -1))[0].flatten(1)
        resampled = functional.interpolate(per_frame.T[None], size=num_frames, mode="linear", align_corners=True)
        return resampled[0].T.reshape(1, -1, self.latents.shape[-1])
