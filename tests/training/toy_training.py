"""A regression small enough to train in milliseconds; run as a script it trains into a given folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from nakawari.training.loop import train
from nakawari.training.objectives import OBJECTIVES, ObjectiveParams
from nakawari.training.objectives.base import Batch, Objective, StepOutput, randn, sample_generator
from nakawari.training.recipe import Recipe, parse_recipe

OBJECTIVES["toy"] = __name__


class Params(ObjectiveParams):
    noise: float = 0.1
    dropout: float = 0.0
    bad_steps: tuple[int, ...] = ()


class Layers(nn.Sequential):
    _no_split_modules = ("Linear",)


class Toy(Objective):
    def __init__(self, params: Params, pause: float = 0.0) -> None:
        super().__init__()
        self.params = params
        self.pause = pause
        """Seconds that a step takes longer; not in the recipe, which stands in what is saved."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = Layers(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(params.dropout), nn.Linear(8, 4))
            self.frozen = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).requires_grad_(False)
        self.scores: list[float] = []
        self.error: float | None = None

    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        time.sleep(self.pause)
        x = batch["x"]
        noisy = x + self.params.noise * randn(generators, (4,), x)
        per_sample = (self.net(noisy) - 2 * x).square().mean(1)
        if any(index // 4 in self.params.bad_steps for index in batch["index"]):
            per_sample = per_sample * float("nan")
        baseline = (2 * x).square().mean()
        return StepOutput(per_sample.mean(), {"baseline": baseline, "extra": x.mean()}, {"t": x[:, 0]})

    def validate(self, batches: Sequence[Batch]) -> dict[str, float]:
        if self.scores:
            error = {} if self.error is None else {"psnr_error": self.error}
            return {"psnr": self.scores.pop(0)} | error
        errors = [(self.net(batch["x"]) - 2 * batch["x"]).square().mean() for batch in batches]
        return {"psnr": -10 * torch.stack(errors).mean().log10().item()}

    def network_to_shard(self) -> nn.Module:
        return self.net

    def save(self, folder: Path) -> None:
        save_file(self.net.state_dict(), folder / "net.safetensors")


class Samples:
    def sample(self, index: int) -> dict[str, Any]:
        x = torch.randn(4, generator=sample_generator(99, index))
        return {"x": x, "name": f"sample {index}"}


def recipe(**changes: Any) -> Recipe:
    """The toy recipe; `section__key=value` changes a key of a section."""
    values: dict[str, Any] = {
        "name": "toy",
        "model": {"base": "toy"},
        "objective": {"kind": "toy"},
        "data": {"sources": [{"kind": "synthetic"}], "size": [8, 8], "frames": [2]},
        "optim": {"lr": 0.05, "steps": 12, "batch_size": 4, "ema": 0.9, "weight_decay": 0.01, "warmup_steps": 3},
        "validation": {"every": 5, "samples": 2},
        "checkpoint": {"every": 4},
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if key:
            values[section][key] = value
        else:
            values[section] = value
    return parse_recipe(values)


def held_out(count: int = 2) -> list[dict[str, Any]]:
    return [Samples().sample(10_000 + n) for n in range(count)]


def main() -> None:
    from nakawari.training.checkpoints import saved_steps, sweep

    folder = Path(sys.argv[1])
    toy = {"kind": "toy", "dropout": 0.2}
    settings = recipe(objective=toy, optim__accumulation=2, workers=int(sys.argv[3]), shard="shard" in sys.argv)
    sweep(folder)
    steps = saved_steps(folder)
    toy = Toy(settings.objective, pause=float(sys.argv[2]))
    outcome = train(settings, toy, Samples(), held_out(), folder, resume_step=steps[-1] if steps else None)
    print(outcome.reason)


if __name__ == "__main__":
    main()
