"""Checks on named tensors inside a training step, off by default; then they cost a single `if`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import NakawariError

_enabled = False


@contextmanager
def enable(on: bool = True) -> Iterator[None]:
    """Switch the checks on (or off) inside the block."""
    global _enabled
    before, _enabled = _enabled, on
    try:
        yield
    finally:
        _enabled = before


def check(
    name: str, tensor: Tensor, *, shape: Sequence[int | None] | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Return `tensor` unchanged; if enabled, raise `NakawariError` with statistics if it is not as expected.

    Args:
        name: name of the tensor in the message.
        shape: the expected shape; `None` in it accepts any length.
        dtype: the expected dtype.
    """
    if not _enabled:
        return tensor
    fault = _fault(tensor, shape, dtype)
    if fault:
        raise NakawariError(f"Tensor {name} {fault} ({_sentence(tensor)}); the step was stopped before it spread.")
    return tensor


def _fault(tensor: Tensor, shape: Sequence[int | None] | None, dtype: torch.dtype | None) -> str | None:
    if dtype is not None and tensor.dtype != dtype:
        return f"has dtype {tensor.dtype}, not {dtype}"
    if shape is not None:
        fits = len(shape) == tensor.ndim and all(w in (None, n) for w, n in zip(shape, tensor.shape, strict=False))
        if not fits:
            return f"has shape {tuple(tensor.shape)}, not {tuple('any' if n is None else n for n in shape)}"
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        return "is not finite"
    return None


def statistics(tensor: Tensor) -> dict[str, Any]:
    """Shape, dtype, and over the finite values: minimum, maximum, mean, standard deviation; JSON-ready."""
    found: dict[str, Any] = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
    values = tensor.detach().double().flatten()
    finite = values[torch.isfinite(values)]
    found["nonfinite"] = values.numel() - finite.numel()
    if finite.numel():
        numbers = {"min": finite.min(), "max": finite.max(), "mean": finite.mean(), "std": finite.std(correction=0)}
        found |= {key: finite_or_none(value.item()) for key, value in numbers.items()}
    return found


def finite_or_none(value: float) -> float | None:
    """`value`, or None if JSON cannot represent it."""
    return value if math.isfinite(value) else None


def _sentence(tensor: Tensor) -> str:
    return ", ".join(f"{key} {value}" for key, value in statistics(tensor).items())


PATIENCE_WITHOUT_GRADIENT = 20
"""Every trained parameter must get a gradient within this many steps; a source may be rare."""


def without_gradient(names: Collection[str], trained: int) -> str:
    """One sentence about trained tensors without gradient."""
    parts = sorted({".".join(name.split(".")[:2]).removeprefix("networks.") for name in names})
    return (
        f"{len(names)} of the {trained} trained tensors have no gradient (in {', '.join(parts[:4])}; "
        f"such as {min(names)}): give data that use them, such as clips with tracks for point control, or do not train "
        "them."
    )
