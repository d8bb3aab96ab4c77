"""Base class of the objectives that train parts of a pipeline: validation, samples, saving."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...families.base import Condition, InterpolationPipeline
from .base import Batch, Objective, sample_generator
from .conditions import condition_of, drawn_by_nothing
from .pixels import mean_scores, middle_psnr, write_comparison


@dataclass(frozen=True)
class HeldOut:
    """A held-out batch with its condition, computed once for all drawings.

    Args:
        batch: true clips and their metadata.
        condition: of the batch, with or without motion guidance.
        generators: one per sample, in their state after the condition.
    """

    batch: Batch
    condition: Condition
    generators: list[torch.Generator]

    def noise(self) -> list[torch.Generator]:
        """Generators for one drawing, the same each time."""
        return [generator.clone_state() for generator in self.generators]


class PipelineObjective(Objective):
    """Holds a pipeline's networks, all frozen until a subclass unfreezes some; saves the pipeline whole.

    Args:
        pipeline: the model; its networks become children of this module.
    """

    def __init__(self, pipeline: InterpolationPipeline) -> None:
        super().__init__()
        self.pipeline = pipeline
        networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
        self.networks = nn.ModuleDict(networks).requires_grad_(False)

    nothing = "nothing added"
    """Label of the frames of `draw_nothing`."""

    @abstractmethod
    def draw(self, held_out: HeldOut) -> Tensor:
        """The clips of a batch drawn by the model for validation, (B, F, 3, H, W) in [-1, 1]."""

    def draw_nothing(self, held_out: HeldOut) -> Tensor:
        """The clips of a zero prediction; as `draw`."""
        return drawn_by_nothing(held_out.batch["frames"], held_out.condition)

    @torch.no_grad()
    def validate(self, batches: Sequence[Batch]) -> dict[str, float]:
        """`psnr` of the middle frames, and `psnr_nothing` beside it; with a guide also `psnr_unguided`,
        over a base also `psnr_error`, the standard error of the gain."""
        scores = [self.scores(self.held_out(batch)) for batch in batches]
        found = mean_scores(scores)
        if self.over_base and len(batches) > 1:
            gains = torch.cat([batch["psnr"] - batch["psnr_nothing"] for batch in scores]).double()
            found["psnr_error"] = (gains.std() / len(gains) ** 0.5).item()
        return found

    def scores(self, held_out: HeldOut) -> dict[str, Tensor]:
        """The scores of a batch, per sample (B,); see `validate`."""
        truth = held_out.batch["frames"]
        scores = {
            "psnr": middle_psnr(self.draw(held_out), truth),
            "psnr_nothing": middle_psnr(self.draw_nothing(held_out), truth),
        }
        if held_out.condition.guide is not None:
            unguided = self.held_out(held_out.batch, guided=False)
            scores["psnr_unguided"] = middle_psnr(self.draw(unguided), truth)
        return scores

    @torch.no_grad()
    def sample(self, batches: Sequence[Batch], folder: Path) -> None:
        """A picture and a GIF per batch: truth, zero prediction or base, trained."""
        for number, batch in enumerate(batches):
            held_out = self.held_out(batch)
            drawn = {self.nothing: self.draw_nothing(held_out), "trained": self.draw(held_out)}
            clips = {"truth": batch["frames"][0]} | {label: clip[0] for label, clip in drawn.items()}
            write_comparison(folder / f"{number:03d}", clips)

    def held_out(self, batch: Batch, guided: bool = True) -> HeldOut:
        """A batch with its condition, with motion guidance everywhere or nowhere."""
        generators = [sample_generator(0, index) for index in batch["index"]]
        condition = condition_of(self.pipeline, batch, [guided] * len(generators), generators)
        return HeldOut(batch, condition, generators)

    def save(self, folder: Path) -> None:
        self.pipeline.save_pretrained(folder)
