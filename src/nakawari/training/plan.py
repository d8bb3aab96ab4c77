"""Plan a training run: memory and time, counted for a large model, otherwise measured on two steps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..memory import guarded
from ..processes import how_many
from ..resources.ways import speed
from . import sharding
from .counting import counted
from .data_params import DataParams
from .data_sources import training_samples
from .fitting import is_large, place
from .loop import Trainer
from .objectives.pipeline_objective import PipelineObjective
from .recipe import Recipe
from .run import SMALLER_RUN, build_objective, guide_of
from .showing import with_few_windows

PROBES = 2


@dataclass(frozen=True)
class Plan:
    """Memory and time of a run on this machine, in bytes and seconds.

    Args:
        trained, parameters: trained parameters, and all of the denoiser, adapter included.
        memory: part -> bytes: frozen weights by network, `trained weights`, `gradients`, `optimizer`, and
            `activations`, the tensors that one forward pass keeps for its backward pass.
        peak: peak bytes on the GPU; None on a CPU.
        steps: optimizer steps of the run.
        seconds_per_step: of the last probe step, data included, after warm-up; for a large model
            a rough estimate from the arithmetic and the speed of one convolution.
        need: for a large model, peak bytes of the process, allowances included.
        samples: frames, size and augmentation of a sample, as text.
        run: trained layers, loss and optimization, as text.
    """

    trained: int
    parameters: int
    memory: dict[str, int]
    peak: int | None
    steps: int
    seconds_per_step: float
    samples: str
    run: str
    need: int | None = None

    @property
    def share(self) -> float:
        """Share of the denoiser's parameters that is trained, 0 to 1."""
        return self.trained / self.parameters

    @property
    def seconds(self) -> float:
        """Seconds of the whole run, without validation."""
        return self.steps * self.seconds_per_step

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"share": self.share, "seconds": self.seconds}


def make_plan(recipe: Recipe) -> Plan:
    """The plan of `recipe`: counted for a large model, otherwise measured by building everything and taking two
    optimizer steps, which are discarded. Raises the errors of training."""
    device, recipe = place(), sharding.as_launched(recipe)
    if is_large(recipe):
        return _counted(recipe, device)
    with guarded("building the model and taking two steps", SMALLER_RUN, device):
        return _measured(recipe.model_copy(update={"shard": False}))


def _counted(recipe: Recipe, device: str) -> Plan:
    need = counted(recipe, device)
    half = recipe.optim.mixed_precision != "no"
    return Plan(
        trained=need.trained,
        parameters=need.parameters,
        memory=need.memory(),
        peak=None,
        steps=recipe.optim.steps,
        seconds_per_step=need.flops / speed(device, torch.bfloat16 if half else torch.float32),
        need=need.peak(device),
        samples=described(recipe.data),
        run=run_in_words(recipe),
    )


def _measured(recipe: Recipe) -> Plan:
    objective = build_objective(recipe)
    # The run computes all windows once; two steps need only these.
    recipe = with_few_windows(recipe, PROBES * recipe.optim.batch_size)
    samples = training_samples(recipe, guide_of(objective))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(recipe, objective, samples, [], Path(folder))
        kept = Kept(objective)
        data = trainer.data()
        for _ in range(min(PROBES, recipe.optim.steps)):
            with kept.watching():
                entry = trainer.step(data)
    on_gpu = trainer.accelerator.device.type == "cuda"
    return Plan(
        trained=sum(value.numel() for value in trainer.parameters.values()),
        parameters=sum(value.numel() for value in objective.pipeline.denoiser.parameters()),
        memory=_memory(objective, trainer, kept.bytes),
        peak=torch.cuda.max_memory_allocated() if on_gpu else None,
        steps=recipe.optim.steps,
        seconds_per_step=entry["seconds"],
        samples=described(recipe.data),
        run=run_in_words(recipe),
    )


def run_in_words(recipe: Recipe) -> str:
    """What learns, by what loss, how fast, in what precision, on how many clips it is validated, and who shares it."""
    objective, o = recipe.objective, recipe.optim
    lora = getattr(objective, "lora", None)
    what = objective.kind if lora is None else f"rank {lora.rank} on {lora.target}"
    if lora is not None and lora.decoder_rank:
        what += f" and {lora.decoder_rank} on the decoder"
    terms = ["noise"] if getattr(objective, "noise_l1", 0) else []
    weightings = [name for name, weight in getattr(objective, "weights", {}).items() if weight]
    terms += [f"latents ({', '.join(weightings)})"] if weightings else []
    terms += ["decoded frames"] if getattr(objective, "pixel", None) else []
    loss = f", loss on {' and '.join(terms)}" if terms else ""
    half = "float32" if o.mixed_precision == "no" else o.mixed_precision
    return (
        f"{what}{loss}, {o.batch_size} clips a step, rate {o.lr:g}, in {half}, "
        f"validated on {recipe.validation.samples} clips{_sharing(recipe)}"
    )


def _sharing(recipe: Recipe) -> str:
    shared = how_many() > 1 and sharding.wanted(recipe)
    return f", for each of {how_many()} processes that share the denoiser" if shared else ""


def described(data: DataParams) -> str:
    """Frames, size and augmentation of a sample, as text."""
    counts = " or ".join(str(count) for count in data.frames)
    sizes = " or ".join(f"{width}x{height}" for height, width in data.buckets or [data.size])
    crop = "random crops" if data.augment.crop else "centred crops"
    return f"{counts} frames of {sizes}, {crop}; changed: {data.augment.shares().described()}"


class Kept:
    """Counts the tensors that a forward pass keeps for its backward pass, without weights."""

    def __init__(self, objective: PipelineObjective) -> None:
        self._weights = {value.untyped_storage().data_ptr() for value in objective.parameters()}
        self._storages: dict[int, int] = {}
        objective.register_forward_pre_hook(lambda *_: self._storages.clear())
        denoiser = objective.pipeline.denoiser
        for module in denoiser.modules():
            if getattr(module, "gradient_checkpointing", False):
                module._gradient_checkpointing_func = self._noting(module._gradient_checkpointing_func)

    @property
    def bytes(self) -> int:
        """Bytes of the last pass."""
        return sum(self._storages.values())

    def watching(self) -> AbstractContextManager[None]:
        """Inside the block forward passes are recorded."""
        return torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor)

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights:
            self._storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    def _noting(self, checkpoint: Callable[..., Any]) -> Callable[..., Any]:
        """Also record the inputs of checkpointed stages, which autograd's hooks do not see."""

        def run(stage: nn.Module, *inputs: Any) -> Any:
            for value in inputs:
                if isinstance(value, Tensor):
                    self._note(value)
            return checkpoint(stage, *inputs)

        return run


def _memory(objective: PipelineObjective, trainer: Trainer, activations: int) -> dict[str, int]:
    learning = set(trainer.parameters.values())
    found = {
        name: _bytes(value for value in (*network.parameters(), *network.buffers()) if value not in learning)
        for name, network in objective.networks.items()
    }
    found["trained weights"] = _bytes(learning)
    # The loop has freed the gradients; each is as large as its weight.
    found["gradients"] = found["trained weights"]
    teacher = getattr(objective, "teacher", None)
    if teacher is not None:
        found |= {
            f"teacher's {name}": _bytes([*network.parameters(), *network.buffers()])
            for name, network in teacher.networks.items()
        }
    states = trainer.optimizer.state_dict()["state"].values()
    found["optimizer"] = _bytes(value for state in states for value in state.values() if isinstance(value, Tensor))
    return found | {"activations": activations}


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
