"""What `nakawari adapt` does without a recipe: a recipe made from a few words, with defaults that we stand behind."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data.clips import FEW_SOURCES, clip_name, find_clips, frame_count, share_of_sources, sources_of
from ..data.splits import for_training, part_of
from ..data.triplets import open_for_training, parts_of
from ..errors import NakawariError, NakawariWarning, UsageError
from ..families import pipeline_class, read_index
from ..media import is_clip
from ..variants import model_folder, parse
from .recipe import Recipe, parse_recipe
from .recipe_yaml import apply_overrides


@dataclass(frozen=True)
class Words:
    """The words of the command; sizes are (height, width), rates per optimizer step.

    `target` None: what the family adapts where nothing else is said.

    `frames` None: as many as a triplet has, five of a clip. `windows`: so many whole frames get their guides once (see
    `WindowsParams`), where the model has a guide and the data are clips; 0 = each crop gets its own."""

    model: str
    data: Path
    target: str | None
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
VALIDATED = 8
"""Samples of a validation."""


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
    settings = _settings(words.model)
    steps = settings.get("default_steps")
    target = words.target or pipeline_class(settings["_class_name"]).default_lora
    data, validated = crops_of(words.data, words.model, words.size, words.frames, words.windows)
    values: dict[str, Any] = {
        "name": words.data.name or "adapter",
        "seed": words.seed,
        "model": {"base": words.model},
        "objective": {
            "kind": "adapt",
            "lora": {"target": target, "rank": words.rank, "decoder_rank": words.decoder_rank},
            "inner_only": True,
            "last_time_share": round(min(0.9, 1 / steps), 3) if steps else 0.0,
            "pixel": dict(PIXEL),
            "sampling": {"steps": min(8, steps or 8)},
        },
        "data": data,
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
        "validation": {"every": max(1, words.steps // 5), "samples": validated},
        "checkpoint": {"every": max(1, words.steps // 5)},
        "workers": 1,
    }
    apply_overrides(values, changes)
    return parse_recipe(values, "The adaptation")


def crops_of(
    path: Path, model: str, size: tuple[int, int], frames: int | None, windows: int
) -> tuple[dict[str, Any], int]:
    """The `data` of a recipe for `model`, see `Words`, and on how many samples it can be validated."""
    source = source_of(path)
    clips = source["kind"] == "clips"
    count = frames or (5 if clips else 3)
    share = held_out(path, clips, count) if path.is_dir() else 0.0
    source["held_out"] = share or 0.0
    data: dict[str, Any] = {"sources": [source], "size": list(size), "frames": [count]}
    if clips and windows and (_settings(model).get("guide") or [None])[0]:
        data["windows"] = {"count": windows, "size": list(WINDOW)}
    return data, 0 if share == 0 else VALIDATED


def _settings(model: str) -> dict[str, Any]:
    """What the folder of a variant's base says of it: components, steps and the like."""
    return read_index(model_folder(parse(model).base))


def _has_fast_bf16() -> bool:
    """On a CPU without tile instructions bfloat16 is slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_amx_tile_supported()


def source_of(path: Path) -> dict[str, Any]:
    """Clips where there are videos or long sequences, else triplets."""
    if _has_triplets(path):
        return {"kind": "triplets", "path": str(path)}
    return {"kind": "clips", "path": str(path), "min_change": 1.0, "span": [4, 24]}


def held_out(path: Path, clips: bool, frames: int) -> float | None:
    """The share of the data that training leaves to validation: about a tenth of its sources, and at least one.

    Of fewer than four sources, the end of the longest clip, or one of the triplets (see `clips.in_split`). None where
    the data have a part of their own for validation; 0, with a warning, where there is too little to spare any.
    """
    if not clips:
        if {"train", "val"} <= parts_of(path):
            return None
        names = [sample.group or sample.name for sample in open_for_training(path)]
        return share_of_sources(names) if sources_of(names) >= FEW_SOURCES else _enough(1, len(names), 1)
    paths = for_training(find_clips(path), path)
    if any(part_of(clip / "_", path) == "val" for clip in paths):
        return None
    names = [clip_name(clip, path) for clip in paths]
    if sources_of(names) >= FEW_SOURCES:
        return share_of_sources(names)
    longest = max(frame_count(clip) for clip in paths)
    return _enough(max(frames, round(0.15 * longest)), longest, frames)


def _enough(wanted: int, there: int, least: int) -> float:
    """`wanted` of what is there, as a share; 0 with a warning where less than as much would be left."""
    if 2 * wanted <= there:
        return wanted / there
    if there >= least:
        sentence = "There is too little to hold any out: nothing is validated, and best/ holds the last weights."
        warnings.warn(sentence, NakawariWarning, stacklevel=2)
    return 0.0


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
