"""Sharded training: each process of a run keeps its share of the denoiser, and has the whole of one block at a time.

Of every tensor of the denoiser, frozen or learning, each process keeps a slice along the first axis, and with it the
gradient, the optimizer's state and the average of that slice. A block is put together when it runs, forward and
backward, and given up behind it. All else stays whole on each process: what makes conditions, what decodes, a teacher.

This is FSDP2, `torch.distributed.fsdp.fully_shard`, called directly: accelerate's plugin shards on GPUs only, and on a
CPU trains without sharding and without a word, so that what runs on GPUs could not be tested without one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn import functional

from ..errors import UsageError
from ..processes import how_many
from .accelerating import launched_sharded
from .learning import Learning
from .objectives.base import Objective

if TYPE_CHECKING:
    from .recipe import Recipe

_AT_ONCE = 2**26
"""Bytes of its shares that a process sends at once where tensors are put together."""
_PLAIN = torch.contiguous_format


def wanted(recipe: Recipe) -> bool:
    """Whether the recipe asks for sharding, or what launched the processes does."""
    return launched_sharded() or recipe.shard


def as_launched(recipe: Recipe) -> Recipe:
    """The recipe, with `shard` where what launched this process asks for it.

    Raises: `UsageError` for a run that asks for sharding and cannot have it, before a model is loaded.
    """
    if not wanted(recipe):
        return recipe
    if how_many() < 2:
        raise UsageError(
            "shard splits the denoiser among several processes, and this is one: start them with accelerate launch "
            "--config_file recipes/cluster/fsdp.yaml or with torchrun, or set shard to false."
        )
    if recipe.optim.mixed_precision == "fp16":
        raise UsageError("A sharded run has no loss scaler, which fp16 needs; set optim.mixed_precision to bf16.")
    return recipe.model_copy(update={"shard": True})


def shard(objective: Objective, accelerator: Accelerator) -> Sharded:
    """Leave of an objective's denoiser, in place, this process's share, on its device.

    The blocks are the modules that `_no_split_modules` of its class names; what lies outside of them is put together
    for the whole pass. Every process must evaluate the same blocks in the same order.
    """
    network = objective.network_to_shard()
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    half = accelerator.mixed_precision == "bf16"
    policy = MixedPrecisionPolicy(
        # Autocast alone would keep a copy of every whole weight in bf16 up to the backward pass.
        param_dtype=torch.bfloat16 if half else None,
        reduce_dtype=torch.float32 if half else None,
        cast_forward_inputs=False,
    )
    for unit in [*_blocks(network), network]:
        fully_shard(unit, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
    for method in getattr(network, "called_before_forward", ()):
        register_fsdp_forward_method(network, method)
    # Nobody writes into what a block returns: gradients are those of a run that is not sharded.
    warnings.filterwarnings("ignore", r"FSDP2-wrapped module .* returned a view tensor", UserWarning)
    # Gloo knows no mean.
    network.set_force_sum_reduction_for_comms(accelerator.device.type == "cpu")
    return Sharded(network, objective.trainable_parameters())


def _blocks(network: nn.Module) -> list[nn.Module]:
    names = set(network._no_split_modules)
    return [module for module in network.modules() if {base.__name__ for base in type(module).__mro__} & names]


def bytes_at_once(network: nn.Module, half: bool) -> int:
    """Bytes that a process has of other shares at once: two blocks, as one is fetched while another runs, what lies
    outside of blocks, and the gradients of a block before and while they are scattered."""

    def size(parameters: Iterable[nn.Parameter]) -> int:
        return sum((2 if half else value.element_size()) * value.numel() for value in parameters)

    def gradients(block: nn.Module) -> int:
        return sum((6 if half else 8) * value.numel() for value in block.parameters() if value.requires_grad)

    blocks = _blocks(network)
    sizes = [size(block.parameters()) for block in blocks]
    outside = size(network.parameters()) - sum(sizes)
    return outside + 2 * max(sizes) + max(map(gradients, blocks))


def prepared(
    accelerator: Accelerator, objective: Objective, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """As `Accelerator.prepare` for an objective that holds a sharded network: the rest of it moves to the device."""
    _move_whole(objective, accelerator.device)
    model = accelerator.prepare_model(objective, device_placement=False, evaluation_mode=True)
    return model, accelerator.prepare_optimizer(optimizer)


def _move_whole(module: nn.Module, device: torch.device) -> None:
    if isinstance(module, FSDPModule):
        return  # it is there
    if not any(isinstance(part, FSDPModule) for part in module.modules()):
        module.to(device)
        return
    for child in module.children():
        _move_whole(child, device)


class Sharded(Learning):
    """The weights that learn in a run whose denoiser is sharded: its slices here, and what is not in it whole.

    Args:
        network: the sharded denoiser.
        parameters: name -> parameter, those of the denoiser sharded.
    """

    def __init__(self, network: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
        self.network = network
        self._sharded = {name: value for name, value in parameters.items() if isinstance(value, DTensor)}
        self._whole = [value for name, value in parameters.items() if name not in self._sharded]
        # Slices as plain tensors, in the same memory: optimizer and average need not know of the others.
        slices = {name: nn.Parameter(value.to_local()) for name, value in self._sharded.items()}
        super().__init__({name: slices.get(name, value) for name, value in parameters.items()})

    def shape(self, name: str) -> torch.Size:
        return self._sharded.get(name, self.parameters[name]).shape

    def take_gradients(self) -> None:
        for name, value in self._sharded.items():
            self.parameters[name].grad = None if value.grad is None else value.grad.to_local()
            value.grad = None
        _average_gradients(self._whole)

    def clip(self, accelerator: Accelerator, limit: float) -> float:
        square = _square([self.parameters[name] for name in self._sharded], accelerator.device)
        dist.all_reduce(square)
        norm = (square + _square(self._whole, accelerator.device)).sqrt()
        torch.nn.utils.clip_grads_with_norm_(self.parameters.values(), limit, norm)
        return float(norm)

    def share(self, name: str, tensor: Tensor) -> Tensor:
        return _slice(tensor, dist.get_rank()) if name in self._sharded else tensor

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # Beside tensors of a parameter's shape there are counts of steps, which are the same everywhere.
        sharded = {key: tensor.ndim and key.partition("/")[0] in self._sharded for key, tensor in tensors.items()}
        sliced = {key: tensor for key, tensor in tensors.items() if sharded[key]}
        shapes = [self.shape(key.partition("/")[0]) for key in sliced]
        together = _gather(list(sliced.values()), shapes)
        return {**tensors, **dict(zip(sliced, together, strict=True))} if _is_first() else {}

    @contextmanager
    def put_together(self) -> Iterator[None]:
        """Ordinary classes, and weights in the CPU's memory."""
        places = [
            (module, name, value)
            for module in self.network.modules()
            for name, value in module.named_parameters(recurse=False)
            if isinstance(value, DTensor)
        ]
        together = _gather([value.to_local() for *_, value in places], [value.shape for *_, value in places])
        classes = [(module, type(module)) for module in self.network.modules() if isinstance(module, FSDPModule)]
        if _is_first():
            for (module, name, value), tensor in zip(places, together, strict=True):
                module._parameters[name] = nn.Parameter(tensor, value.requires_grad)
            for module, sharded in classes:
                # A class's name is saved, too, and FSDP makes a class of its own of each.
                module.__class__ = sharded.__mro__[sharded._orig_cls_mro_index]
        try:
            yield
        finally:
            for module, name, value in places:
                module._parameters[name] = value
            for module, sharded in classes:
                module.__class__ = sharded


def _is_first() -> bool:
    return dist.get_rank() == 0


def _square(parameters: Sequence[nn.Parameter], device: torch.device) -> Tensor:
    """The square of the norm of the parameters' gradients together."""
    gradients = [value.grad for value in parameters if value.grad is not None]
    return torch.nn.utils.get_total_norm(gradients).square() if gradients else torch.zeros((), device=device)


def _average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Make each gradient the mean over the processes; what is nowhere part of the loss keeps none."""
    for begin, end in pairwise(_parcels(parameters)):
        parcel = parameters[begin:end]
        known = torch.tensor([float(value.grad is not None) for value in parcel], device=parcel[0].device)
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in parcel]
        flat = torch.cat([gradient.flatten() for gradient in [known, *gradients]])
        dist.all_reduce(flat)
        known, *sums = flat.split([len(parcel), *(value.numel() for value in parcel)])
        for value, total, anywhere in zip(parcel, sums, known.tolist(), strict=True):
            value.grad = total.view_as(value) / dist.get_world_size() if anywhere else None


def _rows(shape: torch.Size) -> int:
    """Rows of a tensor that each process holds; the last ones hold fewer, or none."""
    return -(-shape[0] // dist.get_world_size())


def _slice(tensor: Tensor, rank: int) -> Tensor:
    """Of a whole tensor the rows of one process."""
    rows = _rows(tensor.shape)
    return tensor[rows * rank : rows * (rank + 1)]


@torch.no_grad()
def _gather(slices: Sequence[Tensor], shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The whole tensors of these shapes in the CPU's memory of the first process; nothing in the others."""
    found: list[Tensor] = []
    for begin, end in pairwise(_parcels(slices)):
        flat = torch.cat([_padded(*pair) for pair in zip(slices[begin:end], shapes[begin:end], strict=True)])
        parts = [torch.empty_like(flat) for _ in range(dist.get_world_size())] if _is_first() else None
        dist.gather(flat, parts)
        if parts is not None:
            found += _whole(torch.stack(parts).cpu(), shapes[begin:end])
    return found


def _parcels(slices: Sequence[Tensor]) -> list[int]:
    """Where to cut a list of tensors so that each part is of one dtype and of no more than `_AT_ONCE` bytes, or one."""
    cuts, held = [0], 0
    for place, tensor in enumerate(slices):
        held += tensor.nbytes
        if place > cuts[-1] and (held > _AT_ONCE or tensor.dtype != slices[place - 1].dtype):
            cuts.append(place)
            held = tensor.nbytes
    return [*cuts, len(slices)] if slices else []


def _padded(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The slice as one row, as long as the longest of them."""
    return functional.pad(tensor.flatten(), (0, _rows(shape) * shape[1:].numel() - tensor.numel()))


def _whole(parts: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Padded slices, one process a row, as whole tensors."""
    lengths = [_rows(shape) * shape[1:].numel() for shape in shapes]
    columns = zip(parts.split(lengths, dim=1), shapes, strict=True)
    return [column.reshape(-1, *shape[1:])[: shape[0]].clone(memory_format=_PLAIN) for column, shape in columns]
