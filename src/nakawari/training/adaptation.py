"""`nakawari adapt` without a recipe: a recipe from the command's options and the model's defaults."""

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
from ..families import read_index
from ..families.base import default
from ..media import is_clip
from ..variants import model_folder, parse
from .defaults import Defaults, defaults_of
from .recipe import Recipe, parse_recipe
from .recipe_yaml import apply_overrides


@dataclass(frozen=True)
class Words:
    """The options of the command; sizes are (height, width). None: the model's `defaults`, and for triplets as many
    frames as each has. `windows`: number of windows of whole frames whose guides are computed once (see
    `WindowsParams`), if the model has a guide and the data are clips; 0 = a guide for each crop."""

    model: str
    data: Path
    target: str | None = None
    rank: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    frames: int | None = None
    size: tuple[int, int] | None = None
    seed: int = 0
    decoder_rank: int | None = None
    windows: int | None = None


WINDOW = 160, 256


def make_recipe(words: Words, changes: list[str]) -> Recipe:
    """A recipe for an adapter on `words.data`, clips or triplets; `changes` are `key=value` overrides."""
    chosen = defaults_of(words.model)
    data, can_validate = crops_of(words, chosen, default(words.windows, chosen.windows[0]))
    steps, batch = default(words.steps, chosen.steps), default(words.batch_size, chosen.batch)
    if chosen.distinct:
        data["distinct"] = chosen.distinct - chosen.distinct % batch
    every = max(1, steps // 5)
    values: dict[str, Any] = {
        "name": words.data.name or "adapter",
        "seed": words.seed,
        "model": {"base": words.model},
        "objective": {
            "kind": "adapt",
            "lora": {"target": words.target or chosen.target, "rank": default(words.rank, chosen.rank)}
            | ({} if words.decoder_rank is None else {"decoder_rank": words.decoder_rank}),
            "sampling": dict(chosen.sampling),
        }
        | dict(chosen.objective),
        "data": data,
        "optim": optim_of(steps, batch, default(words.learning_rate, chosen.rate))
        | {"ema": 0.98 if steps >= 100 else 0.0},
        "validation": {"every": every, "samples": chosen.validated if can_validate else 0},
        "checkpoint": {"every": every},
        "log": {"samples_every": steps},
        "workers": 1,
    }
    apply_overrides(values, changes)
    # A decoder is trained by decoded frames only.
    taught = chosen.decoder_rank if values["objective"].get("pixel") else 0
    values["objective"]["lora"].setdefault("decoder_rank", taught)
    return parse_recipe(values, "The adaptation")


def optim_of(steps: int, batch: int, rate: float) -> dict[str, Any]:
    """The `optim` of a recipe; the learning rate decays to a twentieth."""
    return {
        "lr": rate,
        "steps": steps,
        "batch_size": batch,
        "schedule": "cosine",
        "warmup_steps": min(20, steps // 10),
        "floor": 0.05,
        "mixed_precision": "bf16" if _has_fast_bf16() else "no",
    }


def crops_of(words: Any, chosen: Defaults, windows: int) -> tuple[dict[str, Any], bool]:
    """The `data` of a recipe from a command's options, and whether there are validation samples."""
    source = source_of(words.data, chosen.span)
    clips = source["kind"] == "clips"
    count = words.frames or (chosen.frames if clips else 3)
    share = held_out(words.data, clips, count) if words.data.is_dir() else 0.0
    source["held_out"] = share or 0.0
    size = list(default(words.size, chosen.size))
    data: dict[str, Any] = {"sources": [source], "size": size, "frames": [count]}
    model = words.model if isinstance(words, Words) else words.teacher
    if clips and windows and (read_index(model_folder(parse(model).base)).get("guide") or [None])[0]:
        data["windows"] = {"count": windows, "size": [max(pair) for pair in zip(WINDOW, size, strict=True)]}
    return data, share != 0


def _has_fast_bf16() -> bool:
    """On a CPU without tile instructions bfloat16 is slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_amx_tile_supported()


def source_of(path: Path, span: tuple[int, int]) -> dict[str, Any]:
    """A source of clips if there are videos or long sequences, otherwise of triplets; `span` as in `ClipsParams`."""
    if _has_triplets(path):
        return {"kind": "triplets", "path": str(path)}
    return {"kind": "clips", "path": str(path), "min_change": 1.0, "span": list(span)}


def held_out(path: Path, clips: bool, frames: int) -> float | None:
    """The share of the data that is held out for validation: about a tenth of its sources, and at least one.

    With fewer than four sources, the end of the longest clip, or one of the triplets (see `clips.in_split`). None if
    the data have a validation part; 0, with a warning, if there is too little data.
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
    """`wanted` samples as a share of `there`; 0 with a warning if fewer than `least` exist."""
    if 2 * wanted <= there:
        return wanted / there
    if there >= least:
        sentence = "There is too little data to hold any out: there is no validation, and best/ holds the last weights."
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
