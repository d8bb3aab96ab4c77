"""What `nakawari adapt` does without a recipe: a recipe made from a few words, with defaults that we stand behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data.triplets import open_for_training
from ..errors import NakawariError, UsageError
from ..files import read_json
from ..media import is_clip
from ..variants import model_folder, parse
from .recipe import Recipe, parse_recipe
from .recipe_yaml import apply_overrides


@dataclass(frozen=True)
class Words:
    """The words of the command; sizes are (height, width), rates per optimizer step.

    `frames` None: as many as a triplet has, five of a clip. `windows`: so many whole frames get their guides once (see
    `WindowsParams`), where the model has a guide and the data are clips; 0 = each crop gets its own."""

    model: str
    data: Path
    target: str
    rank: int
    steps: int
    batch_size: int
    learning_rate: float
    frames: int | None
    size: tuple[int, int]
    seed: int = 0
    decoder_rank: int = 0
    windows: int = 0


WINDOW = 160, 256


# The logarithm of the squared error is PSNR: clips that are nearly right count, too, up to 39 dB.
PIXEL: dict[str, Any] = {
    "weight": 1.0,
    "frames": 1,
    "l1": 0.0,
    "log_l2": 1.0,
    "log_floor": 5e-4,
    "perceptual": "st-lpips",
    "perceptual_weight": 2.0,
}


def make_recipe(words: Words, changes: list[str]) -> Recipe:
    """A recipe for an adapter on `words.data`, clips or triplets; `changes` are `key=value` words over it.

    One of the model's own sampling steps is at the noisiest time: so is that share of training, nine tenths of it where
    one step decides everything. A model that does not say its steps is trained as its family.
    """
    steps = _settings(words.model).get("default_steps")
    values: dict[str, Any] = {
        "name": words.data.name or "adapter",
        "seed": words.seed,
        "model": {"base": words.model},
        "objective": {
            "kind": "adapt",
            "lora": {"target": words.target, "rank": words.rank, "decoder_rank": words.decoder_rank},
            "inner_only": True,
            "last_time_share": round(min(0.9, 1 / steps), 3) if steps else 0.0,
            "pixel": dict(PIXEL),
        },
        "data": crops_of(words.data, words.model, words.size, words.frames, words.windows),
        "optim": {
            "lr": words.learning_rate,
            "steps": words.steps,
            "batch_size": words.batch_size,
            "schedule": "cosine",
            "warmup_steps": min(20, words.steps // 10),
            "floor": 0.05,
            "ema": 0.98 if words.steps >= 100 else 0.0,
            "mixed_precision": "bf16" if _has_fast_bf16() else "no",
        },
        "validation": {"every": max(1, words.steps // 5), "samples": 0},
        "checkpoint": {"every": max(1, words.steps // 5)},
        "workers": 1,
    }
    apply_overrides(values, changes)
    return parse_recipe(values, "The adaptation")


def crops_of(path: Path, model: str, size: tuple[int, int], frames: int | None, windows: int) -> dict[str, Any]:
    """The `data` of a recipe for `model`, see `Words`."""
    source = source_of(path)
    clips = source["kind"] == "clips"
    data: dict[str, Any] = {"sources": [source], "size": list(size), "frames": [frames or (5 if clips else 3)]}
    if clips and windows and (_settings(model).get("guide") or [None])[0]:
        data["windows"] = {"count": windows, "size": list(WINDOW)}
    return data


def _settings(model: str) -> dict[str, Any]:
    """What the folder of a variant's base says of it: components, steps and the like."""
    return read_json(model_folder(parse(model).base) / "model_index.json")


def _has_fast_bf16() -> bool:
    """On a CPU without tile instructions bfloat16 is slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_amx_tile_supported()


def source_of(path: Path) -> dict[str, Any]:
    """Clips where there are videos or long sequences, else triplets."""
    if _has_triplets(path):
        return {"kind": "triplets", "path": str(path), "held_out": 0.0}
    return {"kind": "clips", "path": str(path), "held_out": 0.0, "min_change": 1.0, "span": [4, 24]}


def _has_triplets(path: Path) -> bool:
    if not path.is_dir() or any(is_clip(file) for file in path.rglob("*")):
        return False
    try:
        found = open_for_training(path)
    except UsageError:
        raise
    except NakawariError:
        return False
    return all(len(sample.truth) == 1 for sample in found)
