"""Preprocessing for CLIP's image encoder, as in both families."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

IMAGE_SIZE = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def preprocess_clip_images(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] -> normalised (B, 3, 224, 224), float32; the aspect ratio is not kept.

    If either side shrinks, both axes are first blurred according to their own factors; then bicubic resize with aligned
    corners. Values may overshoot and are not clamped.
    """
    images = images.float()
    factors = [side / IMAGE_SIZE for side in images.shape[-2:]]
    if max(factors) > 1:
        images = _blur(images, [max((factor - 1) / 2, 0.001) for factor in factors])
    images = F.interpolate(images, (IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=True)
    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (MEAN, STD))
    return ((images + 1) / 2 - mean) / std


def _blur(images: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Separable Gaussian blur of (B, C, H, W) with one sigma for the rows' axis and one for the columns'."""
    channels = images.shape[1]
    down, across = (_gaussian(sigma, images) for sigma in sigmas)
    padding = (len(across) // 2, len(across) // 2, len(down) // 2, len(down) // 2)
    images = F.pad(images, padding, mode="reflect")
    images = F.conv2d(images, across.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)
    return F.conv2d(images, down.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)


def _gaussian(sigma: float, like: Tensor) -> Tensor:
    size = max(int(4 * sigma), 3) | 1
    positions = torch.arange(size, device=like.device, dtype=like.dtype) - size // 2
    weights = torch.exp(-(positions**2) / (2 * sigma**2))
    return weights / weights.sum()
