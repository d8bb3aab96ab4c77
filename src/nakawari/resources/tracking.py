"""Memory and FLOPs of a computation, found by running it on the meta device, where tensors have shapes but no data."""

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
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Work:
    """Memory and FLOPs of a computation.

    Args:
        peak: peak bytes of tensors that it allocated; weights and inputs do not count.
        flops: floating point operations of its matrix products and convolutions; a multiply-add counts as two.
    """

    peak: int
    flops: int


_PRODUCTS = frozenset(
    (
        functional.linear,
        functional.conv1d,
        functional.conv2d,
        functional.conv3d,
        functional.scaled_dot_product_attention,
        torch.matmul,
        torch.bmm,
        torch.baddbmm,
        torch.einsum,
        Tensor.matmul,
        Tensor.__matmul__,
    )
)
"""Functions that autocast runs in the lower precision."""


class _Attention(torch.autograd.Function):
    """Attention of a fused kernel: saves inputs, output and one value per query for the backward pass, no score
    matrix."""

    @staticmethod
    def forward(ctx: Any, mode: _AsOnADevice, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.mode = mode
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        mode.flops += _attention_flops(query, key, value)
        return output

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *_ = ctx.saved_tensors
        # Five products of that size: the recomputed scores, and the gradients of scores, query, key and value.
        ctx.mode.flops += _attention_flops(query, key, value) * 5 // 2
        return None, torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _attention_flops(query: Tensor, key: Tensor, value: Tensor) -> int:
    return 2 * query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


class _AsOnADevice(TorchFunctionMode):
    """Attention without a score matrix, as the fused kernels of CPUs and GPUs compute it; values read back from
    the meta device, which has no data, as zeros; and CPU autocast, if it is on, for meta tensors, which have no
    autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.cpu and args[0].is_meta:
            return torch.zeros(args[0].shape, dtype=args[0].dtype)
        if func in (Tensor.tolist, Tensor.item) and args[0].is_meta:
            return func(torch.zeros(args[0].shape, dtype=args[0].dtype))
        if func in _PRODUCTS and torch.is_autocast_enabled("cpu"):
            args, kwargs = tree_map(_lower, (tuple(args), dict(kwargs or {})))
        if func is functional.scaled_dot_product_attention:
            return _Attention.apply(self, *args[:3])
        return func(*args, **(kwargs or {}))


def _lower(value: Any) -> Any:
    """A floating-point meta tensor cast to autocast's dtype; everything else unchanged."""
    is_wide = isinstance(value, Tensor) and value.is_meta and value.dtype == torch.float32
    return value.to(torch.get_autocast_dtype("cpu")) if is_wide else value


def _group_norm(x: Tensor, weight: Any, bias: Any, batch: int, _c: int, _p: int, groups: int, _eps: float) -> Any:
    return torch.empty_like(x), x.new_empty(batch, groups), x.new_empty(batch, groups)


def _layer_norm(x: Tensor, shape: Sequence[int], *_: Any) -> Any:
    kept = (*x.shape[: x.ndim - len(shape)], *(1 for _ in shape))
    wide = torch.promote_types(x.dtype, torch.float32)
    return x.new_empty(x.shape), x.new_empty(kept, dtype=wide), x.new_empty(kept, dtype=wide)


def _group_norm_backward(grad: Tensor, x: Tensor, _m: Tensor, _r: Tensor, weight: Any, *rest: Any) -> Any:
    made = torch.empty_like(x), x.new_empty(rest[1]), x.new_empty(rest[1])
    return tuple(one if wanted else None for one, wanted in zip(made, rest[-1], strict=True))


def _layer_norm_backward(grad: Tensor, x: Tensor, shape: Sequence[int], *rest: Any) -> Any:
    made = x.new_empty(x.shape), x.new_empty(shape), x.new_empty(shape)
    return tuple(one if wanted else None for one, wanted in zip(made, rest[-1], strict=True))


def _product(_bias: Tensor, first: Tensor, second: Tensor, **_: Any) -> Tensor:
    return first.new_empty(first.shape[0], second.shape[1])


def _sampled(x: Tensor, grid: Tensor, *_: Any) -> Tensor:
    return x.new_empty(*x.shape[:2], *grid.shape[1:-1])


def _alike(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.empty_like(x)


_aten = torch.ops.aten
_SHAPES: dict[Any, Callable[..., Any]] = {
    _aten.native_group_norm.default: _group_norm,
    _aten.native_group_norm_backward.default: _group_norm_backward,
    _aten.native_layer_norm.default: _layer_norm,
    _aten.native_layer_norm_backward.default: _layer_norm_backward,
    _aten.addmm.default: _product,
    _aten.grid_sampler_2d.default: _sampled,
    _aten.gelu.default: _alike,
    _aten.gelu_backward.default: _alike,
}
"""Replacements for torch's meta functions of these operators, which take a millisecond or more each: most of
the time of a count."""


class _Alive(TorchDispatchMode):
    """Counts live storage bytes and FLOPs."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.flops = 0
        self._known: dict[int, weakref.finalize] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        known = _SHAPES.get(func) if args[:1] and isinstance(args[0], Tensor) and args[0].is_meta else None
        made = (known or func)(*args, **(kwargs or {}))
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
    """The result of `function` and its `Work`; all its tensors are on the meta device."""
    attention, alive = _AsOnADevice(), _Alive()
    with attention, alive:
        result = function()
    return result, Work(alive.peak, alive.flops + attention.flops)


def track_step(loss: Callable[[], Tensor]) -> Work:
    """The `Work` of a loss and its backward pass, gradients included; all tensors are on the meta device."""
    attention, alive = _AsOnADevice(), _Alive()
    with attention, alive:
        value = loss()
        # torch.autograd.backward calls this with function modes off; recomputed (checkpointed) stages
        # need the mode.
        engine = torch.autograd.Variable._execution_engine
        engine.run_backward(
            (value,), (torch.ones_like(value),), False, False, (), allow_unreachable=True, accumulate_grad=True
        )
    return Work(alive.peak, alive.flops + attention.flops)
