"""Names, shapes and dtypes of a saved model's tensors, from the headers of its files; no weights are read."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import NakawariError
from .files import read_json

if TYPE_CHECKING:
    import torch

VARIANT = "fp16"
"""File variant used by diffusers and publishers of 16-bit models."""
_STEMS = ("diffusion_pytorch_model", "model")
_MOST_HEADER = 100_000_000
"""Maximum header size in bytes, the limit of safetensors."""
_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4}
_FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Stored:
    """One tensor of a weights file.

    Args:
        format: safetensors' name, such as F16.
        shape: its shape.
    """

    format: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.count * _BYTES.get(self.format, 8)


def part_files(folder: Path) -> list[Path]:
    """The weights files of one part, in order: one, or the shards; [] if it has no weights. Files of the variant
    `fp16` are used if there are no others."""
    for variant in ("", f".{VARIANT}"):
        for stem in _STEMS:
            index = folder / f"{stem}.safetensors.index{variant}.json"
            if index.is_file():
                return [folder / name for name in sorted(set(read_json(index)["weight_map"].values()))]
            if (folder / f"{stem}{variant}.safetensors").is_file():
                return [folder / f"{stem}{variant}.safetensors"]
    return []


def file_variant(folder: Path) -> str | None:
    """`fp16` if a saved model has only files of that variant (`save_pretrained(variant="fp16")`), else None."""
    files = [path for name in read_json(folder / "model_index.json") for path in part_files(folder / name)]
    return VARIANT if files and all(f".{VARIANT}" in path.name for path in files) else None


def part_tensors(folder: Path) -> dict[str, Stored]:
    """Name -> tensor for one part of a model."""
    return {name: tensor for path in part_files(folder) for name, tensor in header(path).items()}


def saved_parts(folder: Path) -> dict[str, dict[str, Stored]]:
    """Part -> its tensors, for every part of a saved model with weights."""
    index = read_json(folder / "model_index.json")
    found = {name: part_tensors(folder / name) for name in index if (folder / name).is_dir()}
    return {name: tensors for name, tensors in found.items() if tensors}


def header(path: Path) -> dict[str, Stored]:
    """Name -> tensor of a safetensors file. Raises `NakawariError` for other files."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            words = json.loads(file.read(length)) if length <= _MOST_HEADER else None
        tensors = {
            name: Stored(about["dtype"], tuple(about["shape"])) for name, about in words.items() if name[:2] != "__"
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NakawariError(
            f"{path} is not a complete safetensors file; copy, convert or save the model again."
        ) from error
    return tensors


def main_format(tensors: Mapping[str, Stored]) -> torch.dtype | None:
    """The floating-point dtype of most elements; None if there is none."""
    import torch

    counts: Counter[str] = Counter()
    for tensor in tensors.values():
        if tensor.format in _FLOATS:
            counts[tensor.format] += tensor.count
    return getattr(torch, _FLOATS[counts.most_common(1)[0][0]]) if counts else None


def saved_formats(folder: Path) -> dict[str, torch.dtype]:
    """Part -> dtype of its saved weights."""
    formats = {name: main_format(tensors) for name, tensors in saved_parts(folder).items()}
    return {name: dtype for name, dtype in formats.items() if dtype is not None}
