"""Linear layers and convolutions in int8: activations quantized at run time, products accumulated in integers.

Activations have one scale per token (linear) or per sample of the convolution's batch (a frame; a clip, along time), so
a sample's result does not depend on its batch. Source: Dettmers et al. 2022 (LLM.int8), vector-wise quantization,
without the outlier branch.

On x86 processors with VNNI or AMX the products run in oneDNN's int8 kernels, the ones behind torch's own quantizer.
They read weights in a layout of their own, which replaces the plain one here: one copy, not two. Elsewhere
linear layers use torch's integer product, and convolutions the same rounded values in floating point.

Everything around the products is memory traffic and is kept low: two reductions for the range,
three passes to round, and nothing after the product if one scale covers the whole input.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
_ZERO = 128
"""Zero point: oneDNN's kernels read uint8."""


class _Geometry(NamedTuple):
    """A convolution over two axes: stride, padding, dilation of each, and groups."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int

    @property
    def padded_outside(self) -> bool:
        """Whether to pad before the kernel: oneDNN pads with a wrong zero point if the two axes pad differently."""
        return self.padding[0] != self.padding[1]

    @property
    def inside(self) -> _Geometry:
        """The geometry without the padding done outside the kernel."""
        return self._replace(padding=[0, 0]) if self.padded_outside else self


@cache
def has_fast_kernels() -> bool:
    """Whether the CPU has VNNI or AMX; without VNNI, u8 x s8 products may saturate and give wrong sums."""
    return hasattr(torch.ops.onednn, "qconv_pointwise") and torch.cpu._is_vnni_supported()


def has_integer_form(layer: nn.Module) -> bool:
    """Linear layers, and convolutions over one or two axes (or along time alone) that pad with zeros."""
    if isinstance(layer, nn.Linear):
        return True
    if not isinstance(layer, Convolution) or isinstance(layer.padding, str):
        return False
    flat = len(layer.kernel_size) < 3 or layer.kernel_size[1:] == layer.stride[1:] == (1, 1)
    return flat and layer.padding_mode == "zeros" and all(pad == 0 for pad in layer.padding[2:])


def has_float8_form(layer: nn.Module) -> bool:
    """Linear layers with widths that are multiples of 16, as the float8 kernels require."""
    return isinstance(layer, nn.Linear) and layer.in_features % 16 == layer.out_features % 16 == 0


def multiplies_float8(device: torch.device) -> bool:
    """Whether a device supports float8 products: GPUs of compute capability 8.9 (Ada) and later."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


def prepared(layer: nn.Module, packed: Tensor, scale: Tensor) -> Tensor:
    """An int8 weight in oneDNN's layout; unchanged where those kernels do not run."""
    if packed.is_mkldnn or packed.device.type != "cpu" or not has_fast_kernels():
        return packed
    if isinstance(layer, nn.Linear):
        return torch.ops.onednn.qlinear_prepack(packed, None)
    geometry = _geometry(cast(Convolution, layer)).inside
    return torch.ops.onednn.qconv_prepack(_two_axes(packed), scale, 1.0, 0, *geometry, None)


def restored(layer: nn.Module, packed: Tensor, shape: torch.Size) -> Tensor:
    """The plain int8 weight that was passed to `prepared`, bit for bit."""
    if not packed.is_mkldnn:
        return packed
    dense = packed.to_dense()
    return (dense.t() if isinstance(layer, nn.Linear) else dense).reshape(shape).contiguous()


def linear(x: Tensor, packed: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """(..., in) -> (..., out) by int8 weights (out, in), plain or prepared, with a float32 scale per output."""
    rows = x.reshape(-1, x.shape[-1]).float()
    step = _largest(rows).div_(127)
    values = _rounded(rows, step)
    if packed.is_mkldnn:
        settings = (None, 1.0, 0, torch.float32, "none", [], "")
        # Without AMX, products of two signed operands run in a reference loop, a hundred times as slow.
        out = torch.ops.onednn.qlinear_pointwise(_unsigned(values), 1.0, _ZERO, packed, scale, _zeros(scale), *settings)
    else:
        # CUDA's kernel needs more than 16 rows.
        padded = functional.pad(values, (0, 0, 0, max(0, 17 - len(values))))
        out = torch._int_mm(padded, packed.t())[: len(values)].float().mul_(scale)
    return _finished(out, step, bias).to(x.dtype).reshape(*x.shape[:-1], -1)


def linear_float8(x: Tensor, packed: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """(..., in) -> (..., out) by float8 weights (out, in) with a float32 scale per output; one scale per token.

    Raises:
        RuntimeError: the device does not support float8 products.
    """
    if not multiplies_float8(x.device):
        raise RuntimeError("float8 products need a GPU of compute capability 8.9 or more")
    rows = x.reshape(-1, x.shape[-1]).float()
    step = _largest(rows).div_(torch.finfo(packed.dtype).max)
    values = (rows * (1 / step)).to(packed.dtype)
    out = torch._scaled_mm(values, packed.t(), scale_a=step, scale_b=scale[None], out_dtype=torch.bfloat16)
    out = out.to(x.dtype) if bias is None else (out.float() + bias.float()).to(x.dtype)
    return out.reshape(*x.shape[:-1], -1)


def convolve(layer: Convolution, x: Tensor, packed: Tensor, scale: Tensor) -> Tensor:
    """(N, C, ...) -> (N, C', ...) by int8 weights of the layer's shape, plain or prepared, and a scale per output."""
    axes = len(layer.kernel_size)
    flat = (x[..., None] if axes == 1 else x.flatten(3) if axes == 3 else x).float()
    geometry = _geometry(layer)
    if packed.is_mkldnn:
        # Few samples, as along time: one at a time, with scale and bias inside the kernel.
        parts = flat.split(1) if axes == 3 else [flat]
        outs = [_products(part, packed, scale, layer.bias, geometry) for part in parts]
        out = outs[0] if len(outs) == 1 else torch.cat(outs)
    else:
        step, whole = _largest(flat).div_(127), _whole_numbers(x)
        sums = functional.conv2d(_rounded(flat, step).to(whole), _two_axes(packed).to(whole), None, *geometry)
        out = _finished(sums.float().mul_(scale[:, None, None]), step, layer.bias)
    out = out.to(x.dtype)
    return out[..., 0] if axes == 1 else _video(out, x.shape[3:]) if axes == 3 else out


def _whole_numbers(x: Tensor) -> torch.dtype:
    """The float dtype that a convolution without integer kernels uses for the rounded values of `x`.

    bfloat16 represents them exactly, and tensor cores accumulate in float32; only the sum is rounded, as in any
    bfloat16 layer. In float32 the full ToonCrafter takes 480 ms and 62 GB on an H100, where bfloat16 takes 83 ms and 4.
    """
    return torch.bfloat16 if x.device.type == "cuda" and x.dtype != torch.float32 else torch.float32


def _video(rows: Tensor, size: torch.Size) -> Tensor:
    """(N, C, F, h * w) -> (N, C, F, h, w), with strides that mark even a single clip as channels last."""
    if rows.is_contiguous():
        return rows.unflatten(3, size)
    clips, channels, frames, _ = rows.shape
    return rows.permute(0, 2, 3, 1).flatten().view(clips, frames, *size, channels).movedim(-1, 1)


def _products(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
    """(N, C, a, b) -> (N, C', a', b') float32, channels last, by oneDNN."""
    step = _largest(x).div_(127)
    values = _unsigned(_rounded(x, step))
    if geometry.padded_outside:
        down, across = geometry.padding
        values = functional.pad(values, (across, across, down, down), value=_ZERO)
    alone = len(x) == 1
    inside = None if bias is None or not alone else bias.float()
    settings = (inside, *geometry.inside, 1.0, 0, torch.float32, "none", [], "")
    factor = step.item() if alone else 1.0
    out = torch.ops.onednn.qconv_pointwise(values, factor, _ZERO, weight, scale, _zeros(scale), *settings)
    return out if alone else _finished(out, step, bias)


def _geometry(layer: Convolution) -> _Geometry:
    stride, padding, dilation = (
        list(cast("tuple[int, ...]", pair))[:2] for pair in (layer.stride, layer.padding, layer.dilation)
    )
    if len(layer.kernel_size) != 2:
        stride, padding, dilation = [stride[0], 1], [padding[0], 0], [dilation[0], 1]
    return _Geometry(stride, padding, dilation, layer.groups)


def _two_axes(weight: Tensor) -> Tensor:
    """A convolution's weight (out, in, k), (out, in, k, 1, 1) or (out, in, k, l) as the last of them."""
    return weight[..., None] if weight.ndim == 3 else weight[..., 0] if weight.ndim == 5 else weight


def _largest(x: Tensor) -> Tensor:
    """The largest magnitude of each row, (N, 1, ...); never 0."""
    axes = tuple(range(1, x.ndim))
    return torch.maximum(x.amax(axes, keepdim=True), x.amin(axes, keepdim=True).neg_()).clamp_min_(1e-30)


def _rounded(x: Tensor, step: Tensor) -> Tensor:
    """Nearest integers, -127 to 127."""
    return (x * (1 / step)).round_().to(torch.int8)


def _unsigned(values: Tensor) -> Tensor:
    """int8 as uint8 with zero point `_ZERO`, in place."""
    return values.view(torch.uint8).bitwise_xor_(_ZERO)


def _zeros(scale: Tensor) -> Tensor:
    return torch.zeros_like(scale, dtype=torch.int32)


def _finished(out: Tensor, step: Tensor, bias: Tensor | None) -> Tensor:
    """Integer sums (N, C, ...) times their rows' scales, plus the bias; in place."""
    if bias is None:
        return out.mul_(step)
    column = bias.float().reshape(-1, *[1] * (out.ndim - 2))
    return torch.addcmul(column, out, step, out=out)
