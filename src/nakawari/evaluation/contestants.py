"""The rows of a table: models, and the baselines of `nakawari.evaluation.floors`, with a common interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import NakawariError
from ..families.calling import settings_for
from ..interpolation import Key, Settings, draw
from ..media import to_uint8
from ..seeds import seed_from
from .fitting import Placement
from .protocol import Protocol
from .schema import Identity, Role
from .scored import Frames


@dataclass(frozen=True)
class Task:
    """One sample at the size of the protocol.

    Args:
        name: of the sample.
        keys: (2, H, W, 3) uint8.
        truth: (T, H, W, 3) uint8, the true in-betweens, used only by the autoencoder's round trip.
        num_frames: frames to draw, keys included.
        times: (T,), the times of the truths in (0, 1).
        caption: text prompt, for models that read text.
        placement: position of the picture in these frames, and its original size.
    """

    name: str
    keys: Frames
    truth: Frames
    num_frames: int
    times: tuple[float, ...]
    caption: str = ""
    placement: Placement | None = None


class Contestant(ABC):
    """A row of the table.

    Args:
        name: in files and tables.
        role: the kind of row.
        parent: name of the full-precision model for the fidelity.
    """

    def __init__(self, name: str, role: Role, parent: str | None = None) -> None:
        self.name, self.role, self.parent = name, role, parent

    seeded = False
    """Whether the seed has an effect; otherwise only the first seed is run."""
    settings_matter = False
    """Whether sampler settings have an effect; otherwise departures that change only those are skipped."""
    departs = True
    """Whether it can draw under departures of the protocol; otherwise it has only the protocol's numbers."""

    @property
    def batched(self) -> bool:
        """Whether several clips are drawn at once. Not on a CPU: it gains nothing there, and kernels round
        differently for other batch sizes, which would change the numbers."""
        pipeline = getattr(self, "pipeline", None)
        return torch.device(getattr(pipeline, "device", "cpu")).type != "cpu"

    def num_frames(self, task: Task) -> int:
        """Number of frames that `draw` returns for a task."""
        return task.num_frames

    def identity(self) -> Identity | None:
        """The identity of this row besides code; rows with a `pipeline` are identified by its weights."""
        return None

    @abstractmethod
    def draw(self, tasks: Sequence[Task], protocol: Protocol, seed: int) -> list[Frames]:
        """The clips of some tasks of one size and length, each (F, H, W, 3) uint8, F = `num_frames`."""


def sample_generator(seed: int, name: str) -> torch.Generator:
    """The generator of one sample: a function of only the protocol's seed and the sample's name."""
    return torch.Generator().manual_seed(seed_from(f"{seed}/{name}"))


def keys_of(tasks: Sequence[Task]) -> tuple[Tensor, Tensor]:
    """Start and end keys of tasks of one size, each (B, 3, H, W) in [-1, 1]."""
    keys = torch.from_numpy(np.stack([task.keys for task in tasks])).movedim(-1, -3).float() / 127.5 - 1
    return keys[:, 0].contiguous(), keys[:, 1].contiguous()


class Model(Contestant):
    """A pipeline with the interface of `nakawari.families.base`.

    Args:
        name: of the row.
        pipeline: called once per batch.
        guided: whether motion guidance is used, if the pipeline has it.
        parent: see `Contestant`.
        source: the variant in command-line notation, if it can be loaded again; needed only for cost.
    """

    seeded = True
    settings_matter = True
    drawing: str | None = None
    """See `Identity`."""

    def __init__(
        self, name: str, pipeline: Any, *, guided: bool = True, parent: str | None = None, source: str | None = None
    ) -> None:
        super().__init__(name, "model", parent)
        self.pipeline, self.guided, self.source = pipeline, guided, source
        if hasattr(pipeline, "set_progress_bar_config"):
            pipeline.set_progress_bar_config(disable=True)

    def draw(self, tasks: Sequence[Task], protocol: Protocol, seed: int) -> list[Frames]:
        start, end = keys_of(tasks)
        generators = [sample_generator(seed, task.name) for task in tasks]
        settings = call_settings(self.pipeline, protocol, self.guided)
        if protocol.captions and "prompt" in self.pipeline.call_settings:
            settings["prompt"] = [task.caption for task in tasks]
        with torch.no_grad(), self._autocast(protocol.precision):
            made = self.pipeline(
                start, end, num_frames=tasks[0].num_frames, generator=generators, output_type="pt", **settings
            ).frames
        wanted = (len(tasks), tasks[0].num_frames, 3, *start.shape[-2:])
        if tuple(made.shape) != wanted:
            raise NakawariError(f"{self.name} drew frames of shape {tuple(made.shape)} instead of {wanted}.")
        return [to_uint8(clip, low=0) for clip in made]

    def _autocast(self, precision: str) -> Any:
        if precision == "as-loaded":
            return nullcontext()
        device = getattr(self.pipeline, "device", torch.device("cpu")).type
        return torch.autocast(device, getattr(torch, precision.removeprefix("autocast-")))


class Interpolated(Model):
    """A pipeline within `nakawari interpolate`: parts, passes, post-processing."""

    drawing = "interpolate"

    def draw(self, tasks: Sequence[Task], protocol: Protocol, seed: int) -> list[Frames]:
        return [self._clip(task, protocol, seed) for task in tasks]

    def _clip(self, task: Task, protocol: Protocol, seed: int) -> Frames:
        options = call_settings(self.pipeline, protocol, self.guided)
        steps, guidance = options.pop("num_inference_steps", None), options.pop("guidance_scale", None)
        settings = Settings(
            (task.num_frames - 2,),
            steps=steps,
            guidance=guidance,
            seed=seed_from(f"{seed}/{task.name}"),
            prompt=task.caption if protocol.captions and self.pipeline.reads_words else "",
            options=options,
        )
        keys = [Key(Path(f"{task.name}/{number}"), key) for number, key in enumerate(task.keys)]
        with self._autocast(protocol.precision):
            return np.stack(draw(keys, settings, self.pipeline).frames)


def call_settings(pipeline: Any, protocol: Protocol, guided: bool = True) -> dict[str, Any]:
    """The keyword arguments that a protocol gives to a pipeline; unset ones have the pipeline's own default.

    Raises:
        UsageError: the protocol sets something that this pipeline does not have.
    """
    wanted = {
        "num_inference_steps": protocol.steps,
        "guidance_scale": protocol.guidance,
        "guidance_rescale": protocol.guidance_rescale,
        "eta": protocol.eta,
        "spacing": protocol.spacing,
        "guided": guided,
    }
    return settings_for(pipeline, wanted, f"Protocol {protocol.name}")
