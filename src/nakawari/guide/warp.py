"""Moving pixels along a flow: backward warps and forward splats.

Flows are (N, 2, H, W) in pixels, x first; images (N, C, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pixel_grid(flow: Tensor) -> Tensor:
    """The pixel coordinates (1, 2, H, W), x first, on the device and in the dtype of `flow`."""
    height, width = flow.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])[None]


def backward_warp(image: Tensor, flow: Tensor) -> Tensor:
    """`image` read at x + flow(x), bilinear, borders repeated; same shape as `image`."""
    return _read(image, flow, "bilinear")


def drawn_along(picture: Tensor, flow: Tensor) -> Tensor:
    """A picture in [-1, 1] as `backward_warp` reads it, but bicubic: for what is seen.

    Halfway between two pixels the bilinear mean is a box filter, and a line one pixel wide loses half its contrast.
    """
    return _read(picture, flow, "bicubic").clamp(-1, 1)


def _read(image: Tensor, flow: Tensor, mode: str) -> Tensor:
    height, width = flow.shape[-2:]
    size = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=flow.device, dtype=flow.dtype)
    grid = (pixel_grid(flow) + flow).permute(0, 2, 3, 1) * (2 / size) - 1
    return functional.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)


def forward_splat(values: Tensor, flow: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Send `values` along `flow`, bilinear, weighted: the sums and the weights that arrived.

    Args:
        values: (N, C, H, W).
        flow: (N, 2, H, W), where each pixel goes.
        weight: (N, 1, H, W), positive; where pixels meet the heavier wins (Niklaus & Liu 2020, softmax splatting).

    Returns:
        Sum of weighted values (N, C, H, W) and of weights (N, 1, H, W).
    """
    count, channels, height, width = values.shape
    payload = torch.cat([values * weight, weight], dim=1)
    total = payload.new_zeros(count, channels + 1, height * width)
    target = pixel_grid(flow) + flow
    corner = target.floor()
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = corner[:, 0] + dx, corner[:, 1] + dy
            share = (1 - (target[:, 0] - x).abs()) * (1 - (target[:, 1] - y).abs())
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            index = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).long()
            part = payload * (share * inside)[:, None]
            total.scatter_add_(2, index.flatten(1)[:, None].expand(-1, channels + 1, -1), part.flatten(2))
    total = total.view(count, channels + 1, height, width)
    return total[:, :-1], total[:, -1:]
