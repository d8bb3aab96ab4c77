"""Encoding and decoding of a layer's weight in few bits. Always symmetric; a weight is (out, ...)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

FLOATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
FLOAT8 = torch.float8_e4m3fn
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8-dynamic", "fp8", "fp8-dynamic", "int4")
"""All formats. The `-dynamic` ones are stored like `int8` and `fp8`, and also quantize the activations."""
FLOAT8S = ("fp8", "fp8-dynamic")
GROUP = 32
"""Consecutive weights of an output channel that share an int4 scale: 4 + 16 / 32 bits per weight."""
_TRIMS = (1.0, 0.92, 0.84, 0.76)


def encode(weight: Tensor, precision: str) -> dict[str, Tensor]:
    """The tensors that encode `weight`: `packed`, and `scale` if the format has one.

    fp32, fp16, bf16: the weight itself. int8: int8 of the same shape, float32 scale per output channel. fp8: the same
    with float8 (e4m3). int4: uint8 (out, n/2) of two values each, float16 scale per group, rows padded with zeros.
    On the meta device only shapes and dtypes are returned.
    """
    if weight.is_meta:
        return {
            name: torch.empty(shape, dtype=dtype, device="meta")
            for name, (shape, dtype) in layout(weight.shape, precision).items()
        }
    if precision in FLOATS:
        return {"packed": weight.to(FLOATS[precision])}
    if precision == "int4":
        return _encode_int4(weight)
    largest = weight.float().flatten(1).abs().amax(1)
    limit = torch.finfo(FLOAT8).max if precision in FLOAT8S else 127
    scale = torch.where(largest == 0, torch.ones_like(largest), largest / limit)
    values = weight.float() / _per_channel(scale, weight)
    return {"packed": values.to(FLOAT8) if precision in FLOAT8S else values.round().to(torch.int8), "scale": scale}


def decode(packed: Tensor, scale: Tensor | None, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """The weight of `shape` that `encode` packed, in `dtype`."""
    if scale is None:
        return packed.to(dtype)
    if packed.dtype == torch.uint8:
        return _decode_int4(packed, scale, shape, dtype)
    return packed.to(dtype) * _per_channel(scale.to(dtype), packed)


def stored_bytes(shape: torch.Size, precision: str) -> int:
    """Bytes of a weight of `shape` on disk and in memory."""
    return sum(math.prod(size) * dtype.itemsize for size, dtype in layout(shape, precision).values())


def layout(shape: torch.Size, precision: str) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and dtype of each tensor that `encode` returns for a weight of `shape`."""
    if precision in FLOATS:
        return {"packed": (shape, FLOATS[precision])}
    if precision == "int4":
        groups = math.ceil(shape[1:].numel() / GROUP)
        return {"packed": ((shape[0], groups * GROUP // 2), torch.uint8), "scale": ((shape[0], groups), torch.float16)}
    values = FLOAT8 if precision in FLOAT8S else torch.int8
    return {"packed": (shape, values), "scale": ((shape[0],), torch.float32)}


def _per_channel(scale: Tensor, like: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (like.ndim - 1))


def _encode_int4(weight: Tensor) -> dict[str, Tensor]:
    rows = weight.float().flatten(1)
    groups = functional.pad(rows, (0, -rows.shape[1] % GROUP)).unflatten(1, (-1, GROUP))
    scale, values = _best_scale(groups)
    nibbles = (values + 8).to(torch.uint8).flatten(1)
    return {"packed": nibbles[:, ::2] | (nibbles[:, 1::2] << 4), "scale": scale.squeeze(-1)}


def _best_scale(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Float16 scales (out, n, 1) and values -8..7 with the least squared error among a few clipping ranges.

    The largest weight maps to -8, so the scale may be negative: all 16 levels are used.
    """
    place = groups.abs().argmax(-1, keepdim=True)
    widest = groups.gather(-1, place) / -8
    best_scale, best_values, best_error = widest.half(), torch.zeros_like(groups), torch.full_like(widest, torch.inf)
    for trim in _TRIMS:
        scale = (widest * trim).half()
        step = torch.where(scale == 0, torch.ones_like(scale), scale).float()
        values = (groups / step).round().clamp(-8, 7)
        error = (values * scale.float() - groups).square().sum(-1, keepdim=True)
        better = error < best_error
        best_scale = torch.where(better, scale, best_scale)
        best_values = torch.where(better, values, best_values)
        best_error = torch.where(better, error, best_error)
    return best_scale, best_values


def _decode_int4(packed: Tensor, scale: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    nibbles = torch.stack([packed & 15, packed >> 4], dim=-1).flatten(1)
    values = nibbles.to(dtype).sub_(8).unflatten(1, (-1, GROUP)) * scale.to(dtype)[..., None]
    return values.flatten(1)[:, : shape[1:].numel()].reshape(shape)
