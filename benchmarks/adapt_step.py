"""Time and memory of one optimizer step of `nakawari adapt` on mini: with and without cache and checkpointing.

    python benchmarks/adapt_step.py [--model FOLDER] [--batch 4]

Without `--model` the weights are new ones in mini's shape: time and memory are the same. The cache is warm, as it is
from the second turn over the data on; drawing the synthetic scenes is part of no figure.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from nakawari.files import write_json
from nakawari.training.data_sources import training_samples
from nakawari.training.objectives.base import collate, sample_generator
from nakawari.training.plan import Kept
from nakawari.training.provenance import git_revision, machine, packages
from nakawari.training.recipe import parse_recipe
from nakawari.training.run import build_objective

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "adapt_step.json"
REPEATS = 3
SETTINGS: dict[str, dict[str, bool]] = {
    "plain": {},
    "cache": {"cache": True},
    "checkpointing": {"gradient_checkpointing": True},
    "cache and checkpointing": {"cache": True, "gradient_checkpointing": True},
}


def recipe_of(model: str | None, batch: int, changes: dict[str, Any]) -> Any:
    """The recipe of a show on synthetic scenes."""
    values = yaml.safe_load((ROOT / "recipes" / "adapt" / "show.yaml").read_text())
    mini = yaml.safe_load((ROOT / "recipes" / "mini" / "1-autoencoder.yaml").read_text())
    values["model"] = {"base": model} if model else {"new": mini["model"]["new"]}
    values["data"] |= {"sources": [{"kind": "synthetic"}], "augment": False}
    values["objective"] |= changes
    values["optim"]["batch_size"] = batch
    return parse_recipe(values)


def measure(recipe: Any) -> dict[str, float]:
    """Median seconds of a step after the first, and what its forward pass keeps, in bytes."""
    objective = build_objective(recipe).train()
    parameters = list(objective.trainable_parameters().values())
    optimizer = torch.optim.AdamW(parameters, lr=recipe.optim.lr)
    samples, size = training_samples(recipe), recipe.optim.batch_size
    batch = collate([{**samples.sample(index), "index": index} for index in range(size)])
    kept, seconds = Kept(objective), []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        with kept.watching():
            loss = objective(batch, [sample_generator(0, index) for index in range(size)]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    return {"seconds": round(statistics.median(seconds[1:]), 4), "activation_bytes": kept.bytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--batch", type=int, default=4)
    given = parser.parse_args()
    found = {}
    for name, setting in SETTINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            changes = setting | ({"cache": folder} if "cache" in setting else {})
            found[name] = measure(recipe_of(given.model, given.batch, changes))
        print(f"{name:<26}{found[name]['seconds']:>9.3f} s{found[name]['activation_bytes'] / 2**20:>10.1f} MiB")
    about = {"batch": given.batch, "frames": 3, "size": [96, 160], "threads": torch.get_num_threads()}
    record = {"machine": machine(), "packages": packages(), "git": git_revision(), "settings": about, "steps": found}
    write_json(RESULT, record)


if __name__ == "__main__":
    main()
