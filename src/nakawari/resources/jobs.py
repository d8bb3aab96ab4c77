"""Clip size and steps of a model, with the defaults of its folder."""

from __future__ import annotations

import re
from typing import Any

from ..errors import UsageError
from ..files import read_json
from ..variants import model_folder, parse
from .need import Size

TRAINED = {"tooncrafter": (320, 512), "framer": (320, 512)}
"""Height and width of the published models, for folders that do not record theirs."""
SMALL = (160, 256)
"""Default for small models."""


def job_of(
    model: str, size: str | None, frames: int | None, steps: int | None, guidance: float | None = None
) -> tuple[Size, int]:
    """The size of one batch, and the number of steps. Raises `UsageError` for an invalid size."""
    folder = model_folder(parse(model).base)
    said = read_json(folder / "model_index.json")
    height, width = trained_size(said) if size is None else parse_size(size)
    longest = said.get("max_frames") or _denoiser_frames(folder)
    return Size(frames or longest, height, width, _branches(said, guidance)), steps or said.get("default_steps", 50)


def is_framer(model: str) -> bool:
    """Whether a variant is of the Framer family."""
    return "Framer" in read_json(model_folder(parse(model).base) / "model_index.json").get("_class_name", "")


def trained_size(said: dict[str, Any]) -> tuple[int, int]:
    """Height and width that a model was trained on, from its `model_index.json`."""
    if said.get("trained_size"):
        return (said["trained_size"][0], said["trained_size"][1])
    family = "framer" if "Framer" in said.get("_class_name", "") else "tooncrafter"
    towers = (said.get("image_encoder") or [None])[0] is not None
    return TRAINED[family] if towers else SMALL


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from WIDTHxHEIGHT."""
    match = re.fullmatch(r"([1-9]\d{1,4})x([1-9]\d{1,4})", text)
    if match is None:
        raise UsageError(f"{text!r} is not a size; write WIDTHxHEIGHT, such as 512x320.")
    return int(match[2]), int(match[1])


def _denoiser_frames(folder: Any) -> int:
    return int(read_json(folder / "unet" / "config.json").get("num_frames", 16))


def _branches(said: dict[str, Any], guidance: float | None) -> int:
    """Number of guidance branches, from the call's setting, else the model's: a Framer's guidance ramp rises above
    1."""
    scale = said.get("default_guidance") if guidance is None else guidance
    towers = (said.get("image_encoder") or [None])[0] is not None
    return 2 if towers and (scale is None or scale > 1) else 1
