"""Trained weights without a gradient stop the run with an error that names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn
from toy_training import Params, Samples, Toy, recipe

from nakawari.errors import NakawariError
from nakawari.training.guards import PATIENCE_WITHOUT_GRADIENT
from nakawari.training.loop import train
from nakawari.training.objectives.base import Batch, StepOutput


class Idle(Toy):
    """Also trains a layer that is used from step `from_step` on; None = never."""

    def __init__(self, from_step: int | None) -> None:
        super().__init__(Params(kind="toy"))
        self.control, self.from_step = nn.Linear(4, 4), from_step

    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        output = super().forward(batch, generators)
        if self.from_step is None or batch["index"][0] // 4 < self.from_step:
            return output
        return StepOutput(output.loss + self.control(batch["x"]).square().mean(), output.logs, output.details)


class Detached(Toy):
    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        output = super().forward(batch, generators)
        return StepOutput(output.loss.detach(), output.logs, output.details)


LONG = {"optim__steps": PATIENCE_WITHOUT_GRADIENT + 5, "validation": {"samples": 0}}


def test_a_layer_without_a_part_in_the_loss_is_named(tmp_path: Path):
    with pytest.raises(NakawariError, match=r"2 of the 6 trained tensors have no gradient \(in control\.\w+.*tracks"):
        train(recipe(**LONG), Idle(None), Samples(), [], tmp_path)


def test_a_layer_that_takes_part_seldom_is_trained(tmp_path: Path):
    late = PATIENCE_WITHOUT_GRADIENT // 2
    assert train(recipe(**LONG), Idle(late), Samples(), [], tmp_path).status == "finished"


def test_a_loss_that_nothing_has_a_part_in_is_one_sentence(tmp_path: Path):
    with pytest.raises(NakawariError, match="4 of the 4 trained tensors have no gradient"):
        train(recipe(**LONG), Detached(Params(kind="toy")), Samples(), [], tmp_path)
