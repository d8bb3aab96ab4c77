"""A protocol with rows for other step counts shows them in the cost plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from crossfade import CrossFade
from nakawari.data.samples import Sample
from nakawari.evaluation.contestants import Model
from nakawari.evaluation.protocol import Protocol, Row
from nakawari.evaluation.runner import evaluate
from nakawari.reporting.cost_figures import cost_figures
from nakawari.reporting.results import load_evidence


class Stepping(CrossFade):
    """Calls its denoiser once per step; more steps give less noise."""

    def __init__(self) -> None:
        super().__init__()
        self.denoiser = torch.nn.Identity()
        self.components = {"unet": self.denoiser}

    def __call__(self, *args: Any, num_inference_steps: int | None = None, **options: Any) -> Any:
        steps = num_inference_steps or 4
        self.noise = 0.3 / steps
        for _ in range(steps):
            self.denoiser(torch.zeros(1))
        return super().__call__(*args, **options)


def captions(pictures: Path, output: Path, **changes: object) -> list[str]:
    """Captions of the quality-cost plots, for a protocol with rows of 8 and 2 steps."""
    rows = tuple(Row(name=f"row-{n}", note="n", change={"steps": n, **changes}) for n in (8, 2))
    frames = [[pictures / f"s{n}" / f"frame{k}.png" for k in (1, 2, 3)] for n in range(2)]
    drawn = [Sample(f"s{n}", (a, c), (b,), (0.5,)) for n, (a, b, c) in enumerate(frames)]
    evaluate([Model("stub", Stepping())], drawn, Protocol(name="t", metrics=("psnr",), rows=rows), output, floors=False)
    evidence = load_evidence([output])
    costs = evidence.models[0].entry.costs
    assert {name: cost["network_evaluations"] for name, cost in costs.items()} == {"row-8": 8, "row-2": 2}
    return [plot.caption for plot in cost_figures(evidence)]


@pytest.mark.usefixtures("no_plots")
def test_a_model_stands_at_every_number_of_steps(kept: Path, tmp_path: Path) -> None:
    pictures = kept.parent / "data"
    steps = captions(pictures, tmp_path / "steps")
    assert len(steps) == 2 and all("number of steps beside them" in caption for caption in steps)
    # Rows that change more than the steps are no curve over steps.
    assert not any("number of steps" in caption for caption in captions(pictures, tmp_path / "more", eta=0.5))
