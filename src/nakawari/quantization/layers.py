"""Linear and convolution layers of any subclass that store their weight packed and unpack it in the forward pass.

Why not a library: torchao covers only linear layers, its int4 needs CUDA kernels, and its tensors cannot be saved as
safetensors unchanged. More than half of these denoisers' weights are convolutions. A packed layer here is a subclass
of the layer's class with the same forward and constructor, so adapters (PEFT) treat it like the plain layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from . import kernels
from .formats import decode, encode

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Packed(nn.Module):
    """Mixin of packed layers: buffers `packed` and perhaps `scale` in place of `weight`.

    Reading `weight` unpacks it into the activations' dtype; it cannot be assigned. A new object of a packed
    class is a plain layer until `pack` packs it, because PEFT creates an adapter's layers from the base layer's class.
    """

    precision: str
    shape: torch.Size

    def __getattr__(self, name: str) -> Any:
        if name == "weight" and "packed" in self._buffers:
            return decode(self.plain(), self._buffers.get("scale"), self.shape, self.like.dtype)
        return super().__getattr__(name)

    def plain(self) -> Tensor:
        """`packed` in the layout of `encode`."""
        return self.packed


class PackedDynamic(Packed):
    """A packed layer that also quantizes its input, with a straight-through gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """As in the layer's own class."""
        if "packed" not in self._buffers:
            return super().forward(x)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return self.product(x)
        smooth = super().forward(x)
        return smooth + (self.product(x.detach()) - smooth).detach()

    def product(self, x: Tensor) -> Tensor:
        """Output of the layer for its quantized input, without gradient."""
        raise NotImplementedError


class PackedFloat8(PackedDynamic):
    """Inputs and weights in float8."""

    @torch.no_grad()
    def product(self, x: Tensor) -> Tensor:
        return kernels.linear_float8(x, self.packed, self.scale, self.bias)


class PackedInteger(PackedDynamic):
    """Inputs and weights in int8, products in integers, see `kernels`.

    If the CPU's kernels need the weight in their own layout, `packed` is in that layout from the first call on, and is
    restored before it is saved, moved or copied.
    """

    @torch.no_grad()
    def product(self, x: Tensor) -> Tensor:
        self.packed = kernels.prepared(self, self.packed, self.scale)
        if isinstance(self, nn.Linear):
            return kernels.linear(x, self.packed, self.scale, self.bias)
        return kernels.convolve(self, x, self.packed, self.scale)

    def plain(self) -> Tensor:
        return kernels.restored(self, self.packed, self.shape)

    def _restore(self) -> None:
        if "packed" in self._buffers:
            self.packed = self.plain()

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._restore()
        super()._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._restore()
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> nn.Module:
        self._restore()
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        self._restore()
        return self.__dict__


_DYNAMIC = {
    "int8-dynamic": (PackedInteger, kernels.has_integer_form),
    "fp8-dynamic": (PackedFloat8, kernels.has_float8_form),
}


def fits(layer: nn.Module, precision: str) -> bool:
    """Whether the layer can quantize its input as the precision requires; always true for weight-only precisions."""
    return precision not in _DYNAMIC or _DYNAMIC[precision][1](layer)


@cache
def _packed_class(layer: type[nn.Module], base: type[Packed]) -> type[nn.Module]:
    return type(f"Packed{layer.__name__}", (base, layer), {"__doc__": base.__doc__})


def pack(layer: nn.Module, precision: str) -> nn.Module:
    """A packed copy of a linear or convolution layer; bias and settings are shared with it.

    Raises:
        ValueError: the layer is packed already, or cannot quantize its input as the precision requires.
    """
    if isinstance(layer, Packed) or not fits(layer, precision):
        raise ValueError(f"a {type(layer).__name__} cannot be packed as {precision}")
    weight = layer.weight.detach()
    tensors = encode(weight, precision)
    packed = copy(layer)
    packed._parameters = {name: value for name, value in layer._parameters.items() if name != "weight"}
    packed._buffers = dict(layer._buffers)
    packed.__class__ = _packed_class(type(layer), _DYNAMIC[precision][0] if precision in _DYNAMIC else Packed)
    packed.precision, packed.shape = precision, weight.shape
    for name, tensor in tensors.items():
        packed.register_buffer(name, tensor)
    # An empty, unsaved buffer with the activations' dtype, which follows `.to(dtype)`.
    packed.register_buffer("like", weight.new_empty(0), persistent=False)
    return packed


def packable(denoiser: nn.Module) -> dict[str, nn.Module]:
    """Name -> layer of all linear and convolution layers, packed ones included, in module order."""
    return {name: layer for name, layer in denoiser.named_modules() if isinstance(layer, _LAYERS)}


def parameter_count(network: nn.Module) -> int:
    """Number of parameters of a network; a packed weight counts as its unpacked elements."""
    packed = sum(layer.shape.numel() for layer in packed_layers(network).values())
    return packed + sum(parameter.numel() for parameter in network.parameters())


def packed_layers(denoiser: nn.Module) -> dict[str, Packed]:
    """Name -> layer of the packed layers, without adapters' plain layers of a packed class."""
    found = {name: layer for name, layer in denoiser.named_modules() if isinstance(layer, Packed)}
    return {name: layer for name, layer in found.items() if "packed" in layer._buffers}


def kind(layer: nn.Module) -> str:
    """`linear`, `conv` (within a frame) or `temporal conv` (a kernel along time alone)."""
    if isinstance(layer, nn.Linear):
        return "linear"
    along_time = isinstance(layer, nn.Conv3d) and layer.kernel_size[0] > 1 and layer.kernel_size[1:] == (1, 1)
    return "temporal conv" if along_time else "conv"


def pack_layers(denoiser: nn.Module, precisions: Mapping[str, str]) -> None:
    """Replace the named layers by packed ones."""
    for name, precision in precisions.items():
        denoiser.set_submodule(name, pack(denoiser.get_submodule(name), precision))


@contextmanager
def packed_as(denoiser: nn.Module, precisions: Mapping[str, str]) -> Iterator[None]:
    """Pack the named layers inside the block; restore them bit for bit after it."""
    kept = {name: denoiser.get_submodule(name) for name in precisions}
    try:
        pack_layers(denoiser, precisions)
        yield
    finally:
        for name, layer in kept.items():
            denoiser.set_submodule(name, layer)
