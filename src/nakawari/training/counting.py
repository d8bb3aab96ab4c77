"""Memory and arithmetic of a training run, counted by running its objective on the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from .. import variants
from ..families.base import InterpolationPipeline
from ..processes import how_many
from ..quantization.precisions import weight_bytes
from ..resources.empty import empty_pipeline
from ..resources.need import OVERHEAD, SLACK, Size, need_of
from ..resources.tracking import Work, track, track_step
from . import sharding
from .batches import check_divides
from .objectives import module_of
from .objectives.adapt import base_formats, only_for_conditions
from .objectives.base import sample_generator
from .objectives.denoiser import DenoiserObjective
from .objectives.params_parts import TeacherParams
from .objectives.pipeline_objective import PipelineObjective
from .recipe import Recipe
from .students import make_student
from .teacher import Teacher

OPTIMIZER = 8
"""Bytes that AdamW keeps for each trained parameter."""


@dataclass(frozen=True)
class TrainingNeed:
    """Memory of a run in bytes.

    Args:
        trained, parameters: trained parameters, and all of the denoiser, adapter included.
        weights: frozen network -> bytes; a teacher's as `teacher's NAME`.
        kept: `trained weights`, `gradients`, `optimizer`, and `averaged weights` with EMA.
        step: most bytes of one pass and its backward pass beyond the gradients; `waiting` networks left out, and what
            is put together of a shared denoiser included.
        drawing: peak bytes of a validation.
        waiting: bytes of offloaded `weights`, on the device only while a clip is encoded.
        encoding: peak bytes of encoding a clip.
        flops: arithmetic of an optimizer step.
    """

    trained: int
    parameters: int
    weights: Mapping[str, int]
    kept: Mapping[str, int]
    step: int
    drawing: int
    waiting: int
    encoding: int
    flops: int

    def peak(self, device: str) -> int:
        """Peak bytes on `device` (cpu or cuda)."""
        there = sum(self.weights.values()) + sum(self.kept.values())
        slack = SLACK[device]
        worst = max(
            there - self.waiting + slack * self.step,
            there + slack * self.encoding,
            there + slack * self.drawing,
        )
        return int(OVERHEAD[device] + worst)

    def memory(self) -> dict[str, int]:
        """Part -> bytes, as a plan shows it."""
        return {**self.weights, **self.kept, "activations": self.step}


def counted(recipe: Recipe, device: str) -> TrainingNeed:
    """What each process of `recipe` needs on `device`, cpu or cuda, of as many as were started. Raises as building its
    model would."""
    key = recipe.model_dump_json(include={"model", "objective", "data", "optim", "validation", "seed"})
    return _counted(key, device, how_many(), sharding.wanted(recipe))


@lru_cache(maxsize=32)
def _counted(words: str, device: str, processes: int, shared: bool) -> TrainingNeed:
    import json

    from .recipe import parse_recipe

    recipe = parse_recipe({"name": "counted", "shard": shared} | json.loads(words))
    return _count(recipe, device, processes)


def _count(recipe: Recipe, device: str, processes: int) -> TrainingNeed:
    objective, waits = empty_objective(recipe, device)
    pipeline = objective.pipeline
    check_divides(recipe.optim.batch_size, recipe.optim.accumulation, processes)
    clips = recipe.optim.batch_size // (recipe.optim.accumulation * processes)
    height, width = max((recipe.data.size, *recipe.data.buckets), key=lambda size: size[0] * size[1])
    batch = {
        "frames": torch.empty(clips, max(recipe.data.frames), 3, height, width, device="meta"),
        "index": list(range(clips)),
    }
    generators = [sample_generator(recipe.seed, index) for index in range(clips)]
    weights, half = _frozen(objective), recipe.optim.mixed_precision != "no"
    shared = recipe.shard and processes > 1
    if shared and half:
        # Its blocks come in bf16, and autocast makes no copies of them.
        torch.nn.Module.to(objective.network_to_shard(), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        step = track_step(lambda: objective(batch, generators).loss)
    gradients = sum(value.nbytes for value in objective.trainable_parameters().values())
    trained = sum(value.numel() for value in objective.trainable_parameters().values())
    size = Size(max(recipe.data.frames), height, width, 1)
    drawing = need_of(pipeline, size).phases if recipe.validation.samples else {}
    encoding = _encoding(objective, batch) if waits else Work(0, 0)
    need = TrainingNeed(
        trained=trained,
        parameters=sum(value.numel() for value in pipeline.denoiser.parameters()),
        weights=weights,
        kept=_kept(recipe, trained),
        step=max(0, step.peak - gradients),
        drawing=max((work.peak for work in drawing.values()), default=0),
        waiting=sum(weight_bytes(pipeline.components[name]) for name in waits),
        encoding=encoding.peak,
        flops=step.flops * recipe.optim.accumulation,
    )
    return _of_one_share(need, objective, processes, half) if shared else need


def _of_one_share(need: TrainingNeed, objective: PipelineObjective, processes: int, half: bool) -> TrainingNeed:
    """The need of one of the processes that share the denoiser."""
    denoiser = objective.network_to_shard()
    name = next(name for name, part in objective.networks.items() if part is denoiser)
    inside = sum(value.numel() for value in denoiser.parameters() if value.requires_grad) / need.trained
    left = 1 - inside + inside / processes
    together = sharding.bytes_at_once(denoiser, half)
    return replace(
        need,
        weights={**need.weights, name: need.weights[name] // processes},
        kept={part: int(size * left) for part, size in need.kept.items()},
        step=need.step + together,
        drawing=need.drawing + together if need.drawing else 0,
    )


def _kept(recipe: Recipe, trained: int) -> dict[str, int]:
    kept = {"trained weights": 4 * trained, "gradients": 4 * trained, "optimizer": OPTIMIZER * trained}
    return kept | ({"averaged weights": 4 * trained} if recipe.optim.ema else {})


def _frozen(objective: PipelineObjective) -> dict[str, int]:
    learning = set(objective.trainable_parameters().values())
    found = {
        name: weight_bytes(network) - sum(4 * value.numel() for value in network.parameters() if value in learning)
        for name, network in objective.networks.items()
    }
    teacher = getattr(objective, "teacher", None)
    theirs = {} if teacher is None else teacher.networks
    return found | {f"teacher's {name}": weight_bytes(network) for name, network in theirs.items()}


def _encoding(objective: PipelineObjective, batch: dict[str, Any]) -> Work:
    assert isinstance(objective, DenoiserObjective)
    return track(lambda: objective._encode(batch, [True] * len(batch["index"])))[1]


def empty_objective(recipe: Recipe, device: str) -> tuple[PipelineObjective, list[str]]:
    """The objective of `recipe` on the meta device, configured for `device`, and its offloaded networks. Does not
    access the disk."""
    params, module = recipe.objective, module_of(recipe.objective.kind)
    pipeline = _empty_model(recipe, device)
    waits = only_for_conditions(pipeline, params) if getattr(params, "offload", False) else []
    plain = {name: value for name, value in {"cache": None, "offload": False}.items() if hasattr(params, name)}
    words: dict[str, Any] = {}
    if isinstance(params, TeacherParams):
        words["teacher"] = Teacher(empty_pipeline(params.teacher, device), params.teacher, params.teacher_sampling)
    objective = module.build(params.model_copy(update=plain), pipeline, recipe, **words).to("meta").train()
    if getattr(objective, "teacher", None) is not None:
        # A teacher's drawings are made separately, without gradient; a step uses latents of their shape.
        objective.target = replace(objective.target, drawings=None)
    names = [name for name, part in pipeline.components.items() if any(part is one for one in waits)]
    return objective, names


def _empty_model(recipe: Recipe, device: str) -> InterpolationPipeline:
    model = recipe.model
    whole = {"default": torch.float32}
    if model.student is not None:
        return make_student(model.student, empty_pipeline(model.student.of, device, whole))[0]
    assert model.base is not None
    name, formats = base_formats(model.base, getattr(recipe.objective, "base_dtype", "fp32"))
    return empty_pipeline(name, device, formats)


def largest(recipe: Recipe) -> int:
    """Bytes of the saved weights that a run loads; nothing is loaded."""
    model = recipe.model
    names = [model.base, model.student and model.student.of, getattr(recipe.objective, "teacher", None)]
    return sum(variants.weights_bytes(name) for name in names if name is not None)
