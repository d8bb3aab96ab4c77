"""Precisions by name: the format each means for a layer, and whether this machine can run it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import nn

from ..errors import UsageError
from .formats import PRECISIONS
from .layers import fits, pack, pack_layers, packable, packed_layers

HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""For a whole denoiser these are casts: the layers stay plain and diffusers loads the result."""


def check_name(precision: str, what: str = "--precision") -> None:
    """Raise `UsageError` for a name that is not a precision; fp32 is allowed only inside a plan."""
    allowed = PRECISIONS[1:] if what == "--precision" else PRECISIONS
    if precision not in allowed:
        raise UsageError(f"{precision!r} is not a precision for {what}; give {', '.join(allowed)}.")


@torch.no_grad()
def check_runs(precision: str, device: str | torch.device) -> None:
    """Run one small layer; raise `UsageError` if this machine cannot run it."""
    layer = nn.Linear(32, 32, device=device)
    try:
        pack(layer, precision)(torch.zeros(32, 32, device=device))
    except (RuntimeError, NotImplementedError, TypeError) as error:
        reason = " ".join(str(error).split())[:120].rstrip(".")
        raise UsageError(
            f"{precision} does not run on {device} of this machine ({reason}); choose another precision or device."
        ) from error


def uniform(denoiser: nn.Module, precision: str) -> dict[str, str]:
    """The same precision for every linear and convolution layer, by layer name.

    A layer that cannot quantize its activations gets `int8` in place of `int8-dynamic`, `fp8` in place of
    `fp8-dynamic`; the dictionary shows it.
    """
    return {name: fitting(layer, precision) for name, layer in packable(denoiser).items()}


def fitting(layer: nn.Module, precision: str) -> str:
    """`precision`, or its weight-only form for a layer that cannot quantize its input."""
    return precision if fits(layer, precision) else precision.removesuffix("-dynamic")


def quantize_layers(denoiser: nn.Module, precisions: Mapping[str, str]) -> None:
    """Pack the named layers in place.

    Raises:
        UsageError: the denoiser is quantized already.
    """
    check_whole(denoiser)
    pack_layers(denoiser, precisions)


def check_whole(denoiser: nn.Module) -> None:
    """Raise `UsageError` if the denoiser is quantized already."""
    if packed_layers(denoiser):
        raise UsageError("This denoiser is quantized already; quantize the model it was made from.")


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all saved tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def counts(denoiser: nn.Module) -> dict[str, int]:
    """Precision -> number of packed layers."""
    return dict(Counter(layer.precision for layer in packed_layers(denoiser).values()))
