"""Moving pixels along a flow: backward warps and forward splats.

Flows are (N, 2, H, W) in pixels, x first; images (N, C, H, W).
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_REMAP_LIMIT = 2**15 - 1  # OpenCV's, pixels along a side


def pixel_grid(flow: Tensor, top: int = 0) -> Tensor:
    """The pixel coordinates (1, 2, H, W), x first, from row `top` on, on the device and in the dtype of `flow`."""
    height, width = flow.shape[-2:]
    y = torch.arange(top, top + height, device=flow.device, dtype=flow.dtype)
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])[None]


def backward_warp(image: Tensor, flow: Tensor) -> Tensor:
    """`image` sampled at x + flow(x), bilinear, with repeated borders; same shape as `image`."""
    return _read(image, flow, "bilinear")


def drawn_along(picture: Tensor, flow: Tensor, top: int = 0) -> Tensor:
    """As `backward_warp`, but bicubic, for visible pictures in [-1, 1].

    A flow with fewer rows than the picture gives those from row `top` on.

    Halfway between two pixels the bilinear mean is a box filter, and a line one pixel wide loses half its contrast.
    """
    if flow.device.type == "cpu" and max(*picture.shape[-2:], *flow.shape[-2:]) < _REMAP_LIMIT:
        drawn = cast(Tensor, _Remap.apply(picture, flow, top))
        return drawn.clamp(-1, 1) if drawn.requires_grad else drawn.clamp_(-1, 1)
    return _read(picture, flow, "bicubic", top).clamp(-1, 1)


def off_picture(flow: Tensor, size: tuple[int, int], top: int = 0, pixel: float = 1.0) -> Tensor:
    """Whether a flow (N, 2, H, W) leads beyond the border of a picture of `size` (height, width): (N, 1, H, W), a ramp
    from 0 at one `pixel` beyond to 1 at two. Its rows begin at row `top`."""
    place = pixel_grid(flow, top) + flow
    last = torch.tensor([size[1] - 1, size[0] - 1], device=flow.device, dtype=flow.dtype)[:, None, None]
    beyond = torch.maximum(-place, place - last).amax(dim=1, keepdim=True)
    return (beyond / pixel - 1).clamp(0, 1)


def resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    """`values` (N, C, H, W) interpolated bilinearly at `size` (height, width); on a CPU by OpenCV, in a sixth of the
    time."""
    if values.device.type != "cpu" or values.dtype != torch.float32:
        return functional.interpolate(values.contiguous(), size, mode="bilinear")
    return cast(Tensor, _Resize.apply(values, size))


class _Resize(torch.autograd.Function):
    """As `interpolate`, whose gradients it has, by OpenCV: so that what is trained is what draws."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, size: tuple[int, int]) -> Tensor:
        import cv2

        ctx.shape, ctx.size = values.shape, size
        wide = torch.empty(*values.shape[:2], *size)
        for plane, target in zip(values.detach().flatten(0, 1).numpy(), wide.flatten(0, 1).numpy(), strict=True):
            cv2.resize(plane, size[::-1], target, interpolation=cv2.INTER_LINEAR)
        return wide

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        values = gradient.new_zeros(ctx.shape).requires_grad_()
        with torch.enable_grad():
            wide = functional.interpolate(values, ctx.size, mode="bilinear")
        return torch.autograd.grad(wide, values, gradient)[0], None


def _read(image: Tensor, flow: Tensor, mode: str, top: int = 0) -> Tensor:
    height, width = image.shape[-2:]
    size = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=flow.device, dtype=flow.dtype)[:, None, None]
    grid = torch.addcmul(pixel_grid(flow, top) * (2 / size) - 1, flow, 2 / size).permute(0, 2, 3, 1)
    return functional.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)


def _rows_read(top: float, bottom: float, height: int) -> slice:
    """The rows of a picture that a cubic kernel reads from `top` to `bottom`."""
    low = min(max(int(top) - 2, 0), height - 1)
    return slice(low, min(max(int(bottom) + 4, low + 1), height))


class _Remap(torch.autograd.Function):
    """As `_read`, bicubic, by OpenCV: in a third of the time, and at the exact place, which `grid_sample` rounds. So
    that what is trained is what draws, it is used with gradients too, which are those of `_read`."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, flow: Tensor, top: int) -> Tensor:
        import cv2

        ctx.save_for_backward(picture, flow)
        ctx.top = top
        drawn = torch.empty(*picture.shape[:2], *flow.shape[2:])
        rows, columns = (np.arange(side, dtype=np.float32) for side in flow.shape[2:])
        for planes, targets, way in zip(
            picture.detach().float().numpy(), drawn.numpy(), flow.detach().float().numpy(), strict=True
        ):
            x, y = way[0] + columns, way[1] + (rows + np.float32(top))[:, None]
            ends = x.min(), x.max(), y.min(), y.max()
            if not np.isfinite(ends).all():  # as a network gives that diverged: not hidden, and reported by who draws
                return _read(picture, flow, "bicubic", top)
            read = _rows_read(ends[2], ends[3], planes.shape[1])  # a strip of a large picture reads a few of its rows
            # Not by `merge` and `split`, which write past the cache, so that `remap` waits for the memory.
            merged = cv2.transpose(planes[:, read].reshape(len(planes), -1)).reshape(-1, planes.shape[2], len(planes))
            moved = cv2.remap(merged, x, y - read.start, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            cv2.transpose(moved.reshape(-1, len(planes)), targets.reshape(len(planes), -1))
        return drawn.to(picture.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs = [
            one.detach().requires_grad_(needed)
            for one, needed in zip(ctx.saved_tensors, ctx.needs_input_grad[:2], strict=True)
        ]
        with torch.enable_grad():
            drawn = _read(inputs[0], inputs[1], "bicubic", ctx.top)
        found = iter(torch.autograd.grad(drawn, [one for one in inputs if one.requires_grad], gradient))
        return (*(next(found) if one.requires_grad else None for one in inputs), None)


def forward_splat(values: Tensor, flow: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Splat `values` along `flow`, bilinear and weighted: the sums and the weights at the targets.

    Args:
        values: (N, C, H, W).
        flow: (N, 2, H, W), the displacement of each pixel.
        weight: (N, 1, H, W), positive; where pixels collide the heavier dominates (Niklaus & Liu 2020, softmax
            splatting).

    Returns:
        Sum of weighted values (N, C, H, W) and of weights (N, 1, H, W).
    """
    total = splat(torch.cat([values * weight, weight], dim=1), flow)
    return total[:, :-1], total[:, -1:]


def splat(amounts: Tensor, flow: Tensor) -> Tensor:
    """Splat amounts (N, C, H, W) along `flow` (N, 2, H, W), bilinear: the sums at the targets, (N, C, H, W)."""
    count, channels, height, width = amounts.shape
    # A border of two cells collects what leaves the picture.
    rows, columns = height + 4, width + 4
    total = amounts.new_zeros(count, channels, rows * columns)
    target = pixel_grid(flow) + flow
    corner = target.floor()
    right, down = (target - corner).split(1, dim=1)
    x, y = corner[:, :1].clamp(-2, width) + 2, corner[:, 1:].clamp(-2, height) + 2
    index = (y.long() * columns + x.long()).flatten(2)
    near, far = amounts * (1 - right), amounts * right
    for offset, part in (
        (0, near * (1 - down)),
        (1, far * (1 - down)),
        (columns, near * down),
        (columns + 1, far * down),
    ):
        total.scatter_add_(2, (index + offset).expand(-1, channels, -1), part.flatten(2))
    return total.view(count, channels, rows, columns)[:, :, 2:-2, 2:-2]


def length(flow: Tensor) -> Tensor:
    """The length of each vector of (N, 2, H, W): (N, 1, H, W). `Tensor.norm` along channels takes several times as
    long."""
    return torch.hypot(flow[:, :1], flow[:, 1:])


def halved(values: Tensor) -> Tensor:
    """Means of squares of two by two places of (..., H, W), H and W even. `avg_pool2d` takes twice as long."""
    rows = values[..., ::2, :] + values[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def shrunk(values: Tensor, unit: int) -> Tensor:
    """Means over squares of `unit` pixels; those at the border may be smaller."""
    height, width = values.shape[-2:]
    if unit % 2 or height % 2 or width % 2:
        return functional.avg_pool2d(values, unit, ceil_mode=True)
    half = halved(values)
    return half if unit == 2 else shrunk(half, unit // 2)
