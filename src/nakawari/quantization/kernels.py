"""Linear layers and convolutions in int8: activations rounded as they come, products summed in integers.

Activations get one scale per token (linear) or per sample of the convolution's batch (a frame; a clip, along time), so
no sample depends on the batch it is in. Source: Dettmers et al. 2022 (LLM.int8), vector-wise quantization, without the
outlier branch.

On x86 processors with VNNI the products run in oneDNN's int8 kernels, the ones behind torch's own quantizer. Elsewhere
linear layers use torch's integer product, and convolutions the same rounded numbers in floating point.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

_ZERO = 128
"""oneDNN's kernels read uint8; this stands for 0."""


@cache
def _has_fast_kernels() -> bool:
    """Without VNNI the u8 x s8 products may saturate, so wrong sums would come out fast."""
    return hasattr(torch.ops.onednn, "qconv_pointwise") and torch.cpu._is_vnni_supported()


def has_integer_form(layer: nn.Module) -> bool:
    """Linear layers, and convolutions over one or two axes (or along time alone) that pad with zeros."""
    if isinstance(layer, nn.Linear):
        return True
    if not isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) or isinstance(layer.padding, str):
        return False
    flat = len(layer.kernel_size) < 3 or layer.kernel_size[1:] == layer.stride[1:] == (1, 1)
    return flat and layer.padding_mode == "zeros" and all(pad == 0 for pad in layer.padding[2:])


def linear(x: Tensor, packed: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """(..., in) -> (..., out) by int8 weights (out, in) with a float32 scale per output."""
    rows = x.reshape(-1, x.shape[-1]).float()
    step = _step(rows)
    if x.device.type == "cpu" and _has_fast_kernels():
        weight = _prepared(packed, lambda: torch.ops.onednn.qlinear_prepack(packed, None))
        out = torch.ops.onednn.qlinear_pointwise(
            _shifted(rows, step), 1.0, _ZERO, weight, scale, _zeros(scale), None, 1.0, 0, torch.float32, "none", [], ""
        )
    else:
        values = (rows / step).round_().to(torch.int8)
        # CUDA's kernel wants more than 16 rows.
        padded = functional.pad(values, (0, 0, 0, max(0, 17 - len(values))))
        out = torch._int_mm(padded, packed.t())[: len(values)].float().mul_(scale)
    return _finished(out, step, bias, x.dtype).reshape(*x.shape[:-1], -1)


def convolve(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor, packed: Tensor, scale: Tensor) -> Tensor:
    """(N, C, ...) -> (N, C', ...) by int8 weights of the layer's shape with a float32 scale per output channel."""
    axes = len(layer.kernel_size)
    flat = x[..., None] if axes == 1 else x.flatten(3) if axes == 3 else x
    stride, padding, dilation = (_two(pair) for pair in (layer.stride, layer.padding, layer.dilation))
    if axes != 2:
        stride, padding, dilation = [stride[0], 1], [padding[0], 0], [dilation[0], 1]
    flat, two_axes = flat.float(), packed[..., None] if axes == 1 else packed[..., 0] if axes == 3 else packed
    step = _step(flat)
    if x.device.type == "cpu" and _has_fast_kernels():
        settings = (stride, [0, 0], dilation, layer.groups)
        weight = _prepared(packed, lambda: torch.ops.onednn.qconv_prepack(two_axes, scale, 1.0, 0, *settings, None))
        # Padded here: the kernel mistakes the zero point at the border where the two axes pad differently.
        values = _padded(_shifted(flat, step), padding, _ZERO)
        out = torch.ops.onednn.qconv_pointwise(
            values, 1.0, _ZERO, weight, scale, _zeros(scale), None, *settings, 1.0, 0, torch.float32, "none", [], ""
        )
    else:
        values = _padded((flat / step).round_(), padding, 0)
        kernel = two_axes.float() * scale[:, None, None, None]
        out = functional.conv2d(values, kernel, None, stride, 0, dilation, layer.groups)
    out = _finished(out, step, None if layer.bias is None else layer.bias[:, None, None], x.dtype)
    return out[..., 0] if axes == 1 else out.unflatten(3, x.shape[3:]) if axes == 3 else out


_kept = WeakTensorKeyDictionary()


def _prepared(packed: Tensor, make: Callable[[], Tensor]) -> Tensor:
    """The weight in oneDNN's own layout, made once per weight: making it costs as much as using it."""
    version, weight = _kept.get(packed, (None, None))
    if version != packed._version:
        version, weight = packed._version, make()
        _kept[packed] = (version, weight)
    return weight


def _step(x: Tensor) -> Tensor:
    """What 1 of the integers is worth in each row, (N, 1, ...)."""
    axes = tuple(range(1, x.ndim))
    return x.abs().amax(axes, keepdim=True).clamp_min_(1e-30).div_(127)


def _shifted(x: Tensor, step: Tensor) -> Tensor:
    """Nearest whole numbers, `_ZERO` for 0, as uint8."""
    return (x * (1 / step)).add_(_ZERO + 0.5).to(torch.uint8)


def _padded(x: Tensor, padding: list[int], value: int) -> Tensor:
    return functional.pad(x, (padding[1], padding[1], padding[0], padding[0]), value=value) if any(padding) else x


def _zeros(scale: Tensor) -> Tensor:
    return torch.zeros_like(scale, dtype=torch.int32)


def _finished(out: Tensor, step: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    out = out.mul_(step) if bias is None else torch.addcmul(bias.float(), out, step)
    return out.to(dtype)


def _two(pair: object) -> list[int]:
    return list(cast("tuple[int, ...]", pair))[:2]
