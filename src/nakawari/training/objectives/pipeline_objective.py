"""What the objectives share that train parts of a pipeline and save the whole of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ...families.base import Condition, InterpolationPipeline
from .base import Batch, Objective
from .conditions import condition_of, drawn_by_nothing
from .pixels import mean_scores, middle_psnr, write_rows


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

    @abstractmethod
    def draw(self, batch: Batch, guided: bool) -> Tensor:
        """The clips of a batch as the model draws them for validation, (B, F, 3, H, W) in [-1, 1]."""

    def draw_nothing(self, batch: Batch, condition: Condition) -> Tensor:
        """The clips as they would stand if what is trained added nothing; as `draw`."""
        return drawn_by_nothing(batch["frames"], condition)

    @torch.no_grad()
    def validate(self, batches: Sequence[Batch]) -> dict[str, float]:
        """`psnr` of the middle frames; where the model takes a guide also `psnr_unguided`; `psnr_nothing` beside it."""
        return mean_scores([self.scores(batch) for batch in batches])

    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """The scores of a batch, per sample (B,); see `validate`."""
        truth, condition = batch["frames"], self.guided_condition(batch)
        scores = {
            "psnr": middle_psnr(self.draw(batch, guided=True), truth),
            "psnr_nothing": middle_psnr(self.draw_nothing(batch, condition), truth),
        }
        if condition.guide is not None:
            scores["psnr_unguided"] = middle_psnr(self.draw(batch, guided=False), truth)
        return scores

    @torch.no_grad()
    def sample(self, batches: Sequence[Batch], folder: Path) -> None:
        """One picture per batch, rows: truth, drawn, what adding nothing draws."""
        for number, batch in enumerate(batches):
            truth = batch["frames"]
            nothing = self.draw_nothing(batch, self.guided_condition(batch))
            rows = (truth[0], self.draw(batch, guided=True)[0], nothing[0])
            write_rows(folder / f"{number:03d}.png", rows)

    def guided_condition(self, batch: Batch) -> Condition:
        """The condition of a batch with guidance everywhere."""
        return condition_of(self.pipeline, batch, [True] * len(batch["frames"]))

    def save(self, folder: Path) -> None:
        self.pipeline.save_pretrained(folder)
