"""Time and memory of one optimizer step of `nakawari adapt` on mini: with and without caching and checkpointing.

    OMP_NUM_THREADS=1 python benchmarks/adapt_step.py [--model FOLDER] [--batch 4]

The recipe is recipes/adapt/show.yaml, on synthetic scenes; rendering them is not measured. Cached are
latents and conditions (`cache`, warm, as from the second epoch on) or guides only (`windows`).
The CPU time of a step, which other load on the machine hardly changes, is printed beside the wall time; in one thread
it equals the wall time on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages
from nakawari.training.data_sources import training_samples
from nakawari.training.objectives.base import collate, sample_generator
from nakawari.training.plan import Kept
from nakawari.training.recipe import Recipe, parse_recipe
from nakawari.training.run import build_objective, guide_of

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "adapt_step.json"
REPEATS = 3
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "windows": {"windows": {"count": 8, "size": [160, 256]}},
    "cache": {"cache": True},
    "checkpointing": {"gradient_checkpointing": True},
    "cache and checkpointing": {"cache": True, "gradient_checkpointing": True},
    "int8 base": {"base_dtype": "int8"},
}


def recipe_of(model: str, batch: int, changes: dict[str, Any]) -> Recipe:
    """The recipe of a show on synthetic scenes."""
    values = yaml.safe_load((ROOT / "recipes" / "adapt" / "show.yaml").read_text())
    values["model"] = {"base": model}
    windows = changes.pop("windows", None)
    values["data"] |= {"sources": [{"kind": "synthetic"}], "augment": False, "windows": windows}
    values["objective"] |= changes
    values["optim"]["batch_size"] = batch
    return parse_recipe(values)


def measure(recipe: Recipe) -> dict[str, float]:
    """Medians of wall and CPU seconds of a step after the first, activation bytes of its forward pass, and frozen
    weights of the denoiser, in bytes."""
    objective = build_objective(recipe).train()
    parameters = list(objective.trainable_parameters().values())
    optimizer = torch.optim.AdamW(parameters, lr=recipe.optim.lr)
    samples, size = training_samples(recipe, guide_of(objective)), recipe.optim.batch_size
    batch = collate([{**samples.sample(index), "index": index} for index in range(size)])
    kept, seconds, busy = Kept(objective), [], []
    half = recipe.optim.mixed_precision == "bf16"
    for _ in range(1 + REPEATS):
        began, worked = time.perf_counter(), time.process_time()
        with kept.watching(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = objective(batch, [sample_generator(0, index) for index in range(size)]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
    denoiser = objective.pipeline.denoiser
    frozen = [value for value in (*denoiser.parameters(), *denoiser.buffers()) if not value.requires_grad]
    return {
        "seconds": round(statistics.median(seconds[1:]), 4),
        "processor_seconds": round(statistics.median(busy[1:]), 4),
        "activation_bytes": kept.bytes,
        "base_bytes": sum(value.numel() * value.element_size() for value in frozen),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--batch", type=int, default=4)
    given = parser.parse_args()
    found = {}
    for name, setting in SETTINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            changes = dict(setting) | ({"cache": folder} if "cache" in setting else {})
            recipe = recipe_of(given.model, given.batch, changes)
            found[name] = measure(recipe)
        shown = found[name]
        print(
            f"{name:<26}{shown['seconds']:>9.3f} s{shown['processor_seconds']:>9.3f} s busy"
            f"{shown['activation_bytes'] / 2**20:>10.1f} MiB kept{shown['base_bytes'] / 2**20:>8.1f} MiB base"
        )
    about = {"model": given.model, "batch": given.batch, "frames": recipe.data.frames, "size": recipe.data.size}
    about |= {"precision": recipe.optim.mixed_precision, "threads": torch.get_num_threads()}
    about |= {"load": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}
    record = {"machine": machine(), "packages": packages(), "git": git_revision(), "settings": about, "steps": found}
    write_json(RESULT, record)


if __name__ == "__main__":
    main()
