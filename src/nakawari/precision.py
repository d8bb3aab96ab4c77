"""The precision of products: bfloat16 on CPUs that have instructions for it, or float32 whatever the caller has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor, nn

_EXACT: ContextVar[bool] = ContextVar("exact", default=False)


@contextmanager
def exact_products() -> Iterator[None]:
    """A context in which `fast_products` multiplies in float32, too: training gives the same numbers on every CPU."""
    token = _EXACT.set(True)
    try:
        yield
    finally:
        _EXACT.reset(token)


@cache
def multiplies_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 (AVX-512 or AMX); others emulate it, slower than float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def fast_products(network: nn.Module, device: torch.device) -> torch.autocast:
    """A context in which a float32 network multiplies in bfloat16 if its device is a CPU with instructions for it.

    Convolutions take half the time. Sums are in float32, so are the operations that autocast leaves alone. An autocast
    that the caller has turned on stays as it is.
    """
    asked = torch.is_autocast_enabled("cpu")
    fast = not _EXACT.get() and device.type == "cpu" and network.dtype == torch.float32 and multiplies_bfloat16()
    dtype = torch.get_autocast_dtype("cpu") if asked else torch.bfloat16
    return torch.autocast("cpu", dtype, enabled=asked or fast)


def in_float32(x: Tensor) -> torch.autocast:
    """Disable autocast on the device of `x` inside the block; a device without its own autocast,
    such as meta, uses the CPU's."""
    kind = x.device.type
    return torch.autocast(kind if torch.amp.is_autocast_available(kind) else "cpu", enabled=False)
