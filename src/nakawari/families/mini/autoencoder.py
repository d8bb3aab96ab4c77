"""mini's autoencoder: a linear map of square patches and its inverse direction.

Because it is linear, differences of latents are latents of differences: mini's denoiser works on the guide's residual.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn
from torch.nn import functional

from ..former_names import without_constants
from ..tiling import DecodesInParts, Window, cut, in_parts
from .cells import channels_last, shuffled, unshuffled

PATCH = 4
"""Pixels per latent cell, along each side."""

COLOURS = 3
_FORMER_SETTINGS: dict[str, Any] = {
    "in_channels": COLOURS,
    "out_channels": COLOURS,
    "ch": None,
    "ch_mult": (1, 2, 4),
    "scaling_factor": 1.0,
    "guide_channels": None,
    "linear_path": True,
}
_UNREAD = ("num_res_blocks", "attn_levels", "mid_attention", "fusion_heads", "fusion_head_dim", "norm_num_groups")
_UNREAD += ("guide_hidden", "zero_init_output")


class LinearAutoencoder(DecodesInParts, ModelMixin, ConfigMixin):
    """A linear map of 4 x 4 pixel patches to latents and back, initialised as the lowest frequencies of the cosine
    transform.

    Args:
        latent_channels: C, at most the values of a patch; the lowest frequencies of each colour first.

    Raises:
        ValueError: C is larger than the number of values of a patch.
    """

    @register_to_config
    def __init__(self, latent_channels: int = 24) -> None:
        super().__init__()
        self.patches = PatchMap(latent_channels)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any) -> Self:
        """As in diffusers; also for models of earlier revisions, when this was a setting of ToonCrafter's
        autoencoder."""
        known = without_constants(dict(config or {}), _FORMER_SETTINGS, "autoencoder of mini")
        return super().from_config({k: v for k, v in known.items() if k not in _UNREAD}, *args, **kwargs)

    # diffusers moves an offloaded network in its forward pass; these methods are called instead.
    @apply_forward_hook
    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, F, 3, H, W) in [-1, 1], sides multiples of 4 -> latents (B, F, C, H / 4, W / 4)."""
        return self.patches.to_latents(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    @apply_forward_hook
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, F, C, h, w) -> frames (B, F, 3, 4 h, 4 w), not clamped."""

        def decode(clips: slice, window: Window) -> Tensor:
            (part,) = cut([latents[clips]], window, latents.shape[-1])
            return self.patches.to_pixels(part.flatten(0, 1)).unflatten(0, part.shape[:2])

        return in_parts(self, latents, PATCH, decode)


class PatchMap(nn.Module):
    """The two maps of `LinearAutoencoder`; orthonormal, so latents have the scale of pixels."""

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        values = COLOURS * PATCH**2
        if latent_channels > values:
            raise ValueError(f"a patch has {values} values, too few for {latent_channels} latent channels")
        self.to_latents = ToPatches(COLOURS, latent_channels, PATCH, stride=PATCH, bias=False)
        self.to_pixels = _FromPatches(latent_channels, COLOURS, PATCH, stride=PATCH, bias=False)
        nn.init.zeros_(self.to_latents.weight)
        nn.init.zeros_(self.to_pixels.weight)
        basis = cosine_basis(PATCH)
        for index in range(latent_channels):
            frequency, colour = divmod(index, COLOURS)
            self.to_latents.weight.data[index, colour] = basis[frequency] / PATCH
            self.to_pixels.weight.data[index, colour] = basis[frequency] * PATCH


class ToPatches(nn.Conv2d):
    """A convolution whose squares do not overlap: a shuffle and a product, which CPUs do in a third of the time. The
    constructor is `Conv2d`'s because adapters build their own layers of the same class."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, stride h, stride w) -> (N, C', h, w)."""
        if self.kernel_size == (1, 1) or self.kernel_size != self.stride or self.bias is not None:
            return super().forward(x)
        return functional.conv2d(unshuffled(x, self.stride[0]), self.weight.flatten(1)[:, :, None, None])


class _FromPatches(nn.ConvTranspose2d):
    """A transposed convolution whose squares do not overlap: a product and a shuffle, which CPUs do in a third of the
    time."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', PATCH h, PATCH w)."""
        patches = functional.conv2d(channels_last(x), self.weight.flatten(1).t()[:, :, None, None])
        return shuffled(patches, PATCH)


def cosine_basis(size: int) -> Tensor:
    """The orthonormal two-dimensional cosine transform, (size^2, size, size), low frequencies first."""
    places = (torch.arange(size) + 0.5) * math.pi / size
    waves = torch.cos(torch.arange(size)[:, None] * places) * (2 / size) ** 0.5
    waves[0] /= 2**0.5
    pairs = [(u, v) for u in range(size) for v in range(size)]
    order = sorted(pairs, key=lambda pair: (sum(pair), abs(pair[0] - pair[1])))
    return torch.stack([torch.outer(waves[u], waves[v]) for u, v in order])
