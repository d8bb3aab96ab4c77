"""Students: smaller denoisers initialised from their teacher's weights.

A narrower student keeps evenly spaced channels of every layer, consistently wherever channels are shared, so that
the kept weights still match: whole groups of a norm, whole heads or evenly spaced channels of each, and the
frequencies of the time embedding that the narrower one also has. A shallower student has residual layers removed,
which then pass on their input.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .. import variants
from ..adapters import bake
from ..errors import UsageError
from ..families.base import InterpolationPipeline
from .recipe import StudentParams

Axis = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Copied:
    """The initialisation of a student, in tensors and in parameters.

    Args:
        whole, sliced, fresh: tensors copied, copied in part, initialised randomly.
        copied, parameters: the student's parameters that come from the teacher, and all of them.
        teacher: parameters of the teacher's denoiser.
        removed: the removed layers.
    """

    whole: int
    sliced: int
    fresh: int
    copied: int
    parameters: int
    teacher: int
    removed: tuple[str, ...]

    @property
    def share(self) -> float:
        """The student's parameters relative to the teacher's."""
        return self.parameters / self.teacher

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"share": self.share}


def make_student(
    params: StudentParams, pipeline: InterpolationPipeline | None = None
) -> tuple[InterpolationPipeline, Copied]:
    """The pipeline of `params.of` with a smaller denoiser, float32; the rest is the same.

    Args:
        pipeline: that of `params.of`, which is modified; loaded if none is given. If it is on the meta device, so is
            the student.

    Adapters in `params.of` are merged first. Raises `UsageError` for a student that cannot be built or is wider than
    its teacher somewhere.
    """
    if pipeline is None:
        pipeline = variants.load(params.of, formats={"default": torch.float32}).pipeline
    teacher = pipeline.denoiser
    bake(teacher)
    with torch.device(teacher.device):
        student = _smaller(teacher, params)
    copied = _copy(student, teacher, begin=params.init == "teacher")
    name = next(name for name, part in pipeline.components.items() if part is teacher)
    pipeline.register_modules(**{name: student.eval()})
    return pipeline, copied


def _smaller(teacher: nn.Module, params: StudentParams) -> nn.Module:
    # diffusers keeps other entries of a saved configuration, such as a setting of an older version.
    known = inspect.signature(type(teacher).__init__).parameters
    config = {name: value for name, value in dict(teacher.config).items() if name in known}
    if unknown := sorted(set(params.denoiser) - set(config)):
        raise UsageError(
            f"model.student.denoiser has the unknown key {unknown[0]!r}; allowed are {', '.join(sorted(config))}."
        )
    if (params.width < 1 or params.remove) and not _knows_axes(teacher):
        raise UsageError(
            "model.student.width and remove work only on ToonCrafter and mini; give model.student.denoiser instead."
        )
    changes = (_narrower(config, params.width) if params.width < 1 else {}) | params.denoiser
    if params.remove:
        changes["removed_layers"] = [*config["removed_layers"], *params.remove]
    try:
        return type(teacher)(**config | changes)
    except (ValueError, TypeError) as error:
        raise UsageError(f"The student cannot be built: {error}.") from error


def _narrower(config: Mapping[str, Any], width: float) -> dict[str, Any]:
    """Configuration entries of a denoiser narrower by `width`: heads no wider than its first level, the guide in
    proportion."""
    channels = round(config["model_channels"] * width)
    entries: dict[str, Any] = {"model_channels": channels}
    if config["num_head_channels"] > channels:
        entries["num_head_channels"] = channels
    if "guide_hidden" in config:
        entries["guide_hidden"] = max(1, round(config["guide_hidden"] * width))
    return entries


@torch.no_grad()
def _copy(student: nn.Module, teacher: nn.Module, begin: bool) -> Copied:
    theirs, names = dict(teacher.named_parameters()), _names(student, teacher)
    axes = [_axes(student), _axes(teacher)]
    counts, copied = {"whole": 0, "sliced": 0, "fresh": 0}, 0
    for name, value in student.named_parameters():
        source = theirs.get(names(name))
        part = None if source is None else _part(source, axes[0][name], axes[1][names(name)], name)
        known = part is not None and (source.shape == value.shape or _knows_axes(student))
        if not (known and begin):
            counts["fresh"] += 1
            continue
        counts["whole" if source.shape == value.shape else "sliced"] += 1
        copied += value.numel()
        value.copy_(part)
    parameters = sum(value.numel() for value in student.parameters())
    total = sum(value.numel() for value in teacher.parameters())
    removed = tuple(getattr(student.config, "removed_layers", ()))
    return Copied(**counts, copied=copied, parameters=parameters, teacher=total, removed=removed)


def _part(source: Tensor, wanted: tuple[Axis, ...], given: tuple[Axis, ...], name: str) -> Tensor | None:
    """The part of the teacher's tensor for the student; None if their axes differ in structure."""
    if len(wanted) != len(given):
        return None
    for axis, (ours, theirs) in enumerate(zip(wanted, given, strict=True)):
        if [len(part) for part in ours] != [len(part) for part in theirs]:
            return None
        source = source.index_select(axis, _kept(ours, theirs, name).to(source.device))
    return source


def _kept(ours: Axis, theirs: Axis, name: str) -> Tensor:
    """Indices on the teacher's axis that the student keeps."""
    places, begin = [], 0
    for few, many in zip(ours, theirs, strict=True):
        place = torch.zeros(1, dtype=torch.long)
        for kept, width in zip(few, many, strict=True):
            if kept > width:
                raise UsageError(
                    f"The student is wider than its teacher ({kept} against {width} at {name}); "
                    "a student may only be smaller."
                )
            place = (place[:, None] * width + torch.arange(kept) * width // kept).flatten()
        places.append(begin + place)
        begin += math.prod(many)
    return torch.cat(places)


def _knows_axes(denoiser: nn.Module) -> bool:
    from ..families.tooncrafter.body import UNetBody

    return isinstance(denoiser, UNetBody)


def _axes(denoiser: nn.Module) -> Mapping[str, tuple[Axis, ...]]:
    """The family's description of its axes; without one, each axis is treated as plain channels."""
    from ..families.tooncrafter.widths import weight_axes

    if _knows_axes(denoiser):
        return weight_axes(denoiser)
    return {name: tuple(((size,),) for size in value.shape) for name, value in denoiser.named_parameters()}


def stage_names(student: nn.Module, teacher: nn.Module) -> dict[str, str]:
    """Stage of the student -> the corresponding stage of the teacher, by module name."""
    from ..families.tooncrafter.body import UNetBody
    from ..families.tooncrafter.widths import counterparts

    if isinstance(student, UNetBody) and isinstance(teacher, UNetBody):
        return counterparts(student, teacher)
    stages = ("down_blocks", "mid_block", "up_blocks")
    both = dict(student.named_modules()).keys() & dict(teacher.named_modules()).keys()
    return {name: name for name in sorted(both) if name.split(".")[0] in stages and name.count(".") <= 1}


def _names(student: nn.Module, teacher: nn.Module) -> Callable[[str], str]:
    stages = stage_names(student, teacher)

    def name_of(parameter: str) -> str:
        words = parameter.split(".")
        for length in (2, 1):
            stage = ".".join(words[:length])
            if stage in stages:
                return ".".join([stages[stage], *words[length:]])
        return parameter

    return name_of


# --- importance of layers--------------------------------------------------------------------------------------------


@contextmanager
def skipped(layer: nn.Module) -> Iterator[None]:
    """Inside the block the residual layer returns its input."""
    handle = layer.register_forward_hook(lambda module, inputs, output: inputs[0])
    try:
        yield
    finally:
        handle.remove()


def removable(denoiser: nn.Module) -> list[str]:
    """Names of the removable residual layers. Raises `UsageError` for a family without any."""
    if not hasattr(denoiser, "removable_layers"):
        raise UsageError(
            "Layers can be removed only from the denoisers of ToonCrafter and mini; make a narrower student."
        )
    return list(denoiser.removable_layers())


@torch.no_grad()
def importance(denoiser: nn.Module, loss: Callable[[], float]) -> dict[str, float]:
    """Removable layer -> increase of the loss without it, least important first.

    Args:
        loss: measures the model on a fixed batch; called once, and once per layer.
    """
    whole, found = loss(), {}
    for name in removable(denoiser):
        with skipped(denoiser.get_submodule(name)):
            found[name] = loss() - whole
    return dict(sorted(found.items(), key=lambda item: item[1]))
