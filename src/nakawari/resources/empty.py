"""A saved model on the meta device: every component with its shapes and dtypes, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import NakawariError
from ..families import pipeline_class
from ..families.base import InterpolationPipeline
from ..families.former_names import present
from ..files import read_json
from ..quantization.layers import pack_layers
from ..quantization.precisions import uniform
from ..variants import PACKED, QUANTIZED, half_on_cpu, model_folder, parse
from ..weights import part_files, saved_formats

_PLAIN = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def empty_pipeline(name: str, device: str, formats: Mapping[str, torch.dtype] | None = None) -> InterpolationPipeline:
    """The variant `name` as `variants.load` would return it on `device` (cpu or cuda), without adapters.

    Args:
        formats: as for `variants.load`.

    Raises:
        NakawariError: not a model folder of nakawari.
    """
    spec = parse(name)
    folder = model_folder(spec.base)
    index = present(read_json(folder / "model_index.json"))
    formats = _formats(folder, spec.precision, device, formats)
    try:
        parts = {
            key: _part(folder / key, *value) for key, value in index.items() if _is_part(value) and value[0] is not None
        }
    except (OSError, KeyError, ValueError, TypeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NakawariError(f"{folder} could not be read ({reason}); save or convert the model again.") from error
    for key, part in parts.items():
        if isinstance(part, nn.Module):
            # Also tensors made from numbers by the constructor, which torch.device does not move.
            nn.Module.to(part, "meta", formats.get(key, formats.get("default", torch.float32))).eval()
    settings = {key: value for key, value in index.items() if not (_is_part(value) or key.startswith("_"))}
    pipeline = pipeline_class(index.get("_class_name", ""))(**parts, **settings)
    packed = _packed_layers(folder, spec.precision, pipeline.denoiser)
    pack_layers(pipeline.denoiser, packed)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _is_part(value: Any) -> bool:
    """Whether an entry of `model_index.json` is a component: library and class, both None if it is left out. A setting
    may also be a list."""
    return isinstance(value, list) and len(value) == 2 and all(word is None or isinstance(word, str) for word in value)


def _part(folder: Path, library: str, class_name: str) -> Any:
    """One component: a network on the meta device, a scheduler unchanged; None for a tokenizer."""
    kind = getattr(import_module(library), class_name)
    if not issubclass(kind, nn.Module):
        return kind.from_pretrained(folder) if hasattr(kind, "set_timesteps") else None
    if not part_files(folder):  # a guide: it has no weights
        return kind.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        if hasattr(kind, "config_class") and kind.config_class is not None:  # transformers
            return kind(kind.config_class.from_pretrained(folder))
        return kind.from_config(kind.load_config(folder, local_files_only=True))


def _formats(
    folder: Path, precision: str | None, device: str, told: Mapping[str, torch.dtype] | None
) -> dict[str, torch.dtype]:
    if (folder / QUANTIZED).is_file():
        dtypes = read_json(folder / QUANTIZED)["dtypes"]
        formats = {part: getattr(torch, dtype) for part, dtype in dtypes.items()}
    else:
        formats = saved_formats(folder) if told is None else dict(told)
    if precision in _PLAIN:
        return dict.fromkeys(formats, _PLAIN[precision])
    half = half_on_cpu(folder) if device == "cpu" else torch.float16
    return {part: half if dtype == torch.float16 else dtype for part, dtype in formats.items()}


def _packed_layers(folder: Path, precision: str | None, denoiser: nn.Module) -> dict[str, str]:
    if precision in PACKED:
        return uniform(denoiser, precision)
    about = read_json(folder / InterpolationPipeline.denoiser_name / "config.json").get("quantization_config") or {}
    return about.get("layers", {})
