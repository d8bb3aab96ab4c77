"""What a computation takes, found by running it on the meta device: tensors have shapes there and no numbers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Work:
    """What a computation took.

    Args:
        peak: most bytes of tensors that it made and that were alive at once; weights and inputs are not its own.
        flops: floating point operations of its products and convolutions, a multiplication and an addition being two.
    """

    peak: int
    flops: int


class _AsOnADevice(TorchFunctionMode):
    """Attention without its matrix of scores, as the fused kernels of CPUs and GPUs compute it; and what is read back
    from a device, which has no numbers here, as zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.cpu and args[0].is_meta:
            return torch.zeros(args[0].shape, dtype=args[0].dtype)
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]
        self.flops += 2 * query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        return query.new_empty(*query.shape[:-1], value.shape[-1])


class _Alive(TorchDispatchMode):
    """Counts the bytes of storages that are alive, and operations."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.flops = 0
        self._known: dict[int, weakref.finalize] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor):
                self._see(tensor, new=False)
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._see(tensor, new=True)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=made)
        return made

    def _see(self, tensor: Tensor, *, new: bool) -> None:
        storage = tensor.untyped_storage()
        known = self._known.get(id(storage))
        if known is not None and known.alive:
            return
        size = storage.nbytes() if new else 0
        self.now += size
        self.peak = max(self.peak, self.now)
        self._known[id(storage)] = weakref.finalize(storage, self._gone, size)

    def _gone(self, size: int) -> None:
        self.now -= size


@torch.no_grad()
def track(function: Callable[[], Any]) -> tuple[Any, Work]:
    """What `function` returns, and what it took; all it works with is on the meta device."""
    attention, alive = _AsOnADevice(), _Alive()
    with attention, alive:
        result = function()
    return result, Work(alive.peak, alive.flops + attention.flops)
