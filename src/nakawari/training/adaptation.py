"""What `nakawari adapt` does without a recipe: a recipe made from a few words, with defaults that we stand behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.samples import Dataset
from ..errors import NakawariError
from .recipe import Recipe, parse_recipe
from .recipe_yaml import apply_overrides


@dataclass(frozen=True)
class Words:
    """The words of the command; sizes are (height, width), rates per optimizer step."""

    model: str
    data: Path
    target: str
    rank: int
    steps: int
    batch_size: int
    learning_rate: float
    frames: int
    size: tuple[int, int]
    seed: int = 0


def make_recipe(words: Words, changes: list[str]) -> Recipe:
    """A recipe for an adapter on `words.data`, clips or triplets; `changes` are `key=value` words over it."""
    values: dict[str, Any] = {
        "name": words.data.name or "adapter",
        "seed": words.seed,
        "model": {"base": words.model},
        "objective": {
            "kind": "adapt",
            "lora": {"target": words.target, "rank": words.rank},
            "pixel": {"weight": 0.5, "frames": 2, "perceptual": "st-lpips"},
        },
        "data": {"sources": [_source(words.data)], "size": list(words.size), "frames": [words.frames]},
        "optim": {
            "lr": words.learning_rate,
            "steps": words.steps,
            "batch_size": words.batch_size,
            "schedule": "cosine",
            "warmup_steps": min(20, words.steps // 10),
            "floor": 0.05,
            "ema": 0.99,
        },
        "validation": {"every": max(1, words.steps // 5), "samples": 0},
        "checkpoint": {"every": max(1, words.steps // 5)},
    }
    apply_overrides(values, changes)
    return parse_recipe(values, "The adaptation")


def _source(path: Path) -> dict[str, Any]:
    """Clips where there are videos or long sequences, else triplets."""
    triplets = _dataset(path)
    if triplets is not None and any(sample.truth for sample in triplets):
        return {"kind": "triplets", "path": str(path), "held_out": 0.0}
    return {"kind": "clips", "path": str(path), "held_out": 0.0, "min_change": 1.0}


def _dataset(path: Path) -> Dataset | None:
    from ..data.clips import VIDEO_SUFFIXES
    from ..data.triplets import open_dataset

    if not path.is_dir() or any(file.suffix.lower() in VIDEO_SUFFIXES for file in path.rglob("*")):
        return None
    try:
        found = open_dataset(path)
    except NakawariError:
        return None
    short = all(len(sample.truth) == 1 for sample in found)
    return found if short else None
