"""Variants: a pipeline, adapters at a scale, a precision, all named by one word on the command line.

`BASE[+ADAPTER@SCALE...][:PRECISION]`, such as `mini`, `runs/base/best`, `mini+runs/show/best@0.7:fp16`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import NakawariError, UsageError
from .files import read_json

if TYPE_CHECKING:
    import torch

    from .families.base import InterpolationPipeline

PRECISIONS = ("fp32", "fp16", "bf16")
MINI = Path(__file__).parent / "assets" / "mini"


@dataclass(frozen=True)
class AdapterUse:
    """An adapter's folder and the factor on its alpha / rank."""

    folder: Path
    scale: float = 1.0


@dataclass(frozen=True)
class VariantSpec:
    """A variant's name, taken apart."""

    base: str
    adapters: tuple[AdapterUse, ...] = ()
    precision: str = "fp32"


@dataclass(frozen=True)
class Variant:
    """A loaded variant: what is evaluated, compared, shipped."""

    name: str
    spec: VariantSpec
    pipeline: InterpolationPipeline


def parse(name: str) -> VariantSpec:
    """Take `BASE[+ADAPTER@SCALE...][:PRECISION]` apart.

    Raises:
        UsageError: an unknown precision, a scale that is not a number, an empty part.
    """
    words, precision = _split_precision(name)
    base, *adapters = words.split("+")
    if not base or not all(adapters):
        raise UsageError(f"{name!r} has an empty part; write BASE[+ADAPTER@SCALE][:PRECISION], such as mini:fp16.")
    return VariantSpec(base, tuple(_adapter(word) for word in adapters), precision)


def _split_precision(name: str) -> tuple[str, str]:
    words, colon, precision = name.rpartition(":")
    # A colon before a slash belongs to a path (a drive letter), not to a precision.
    if not colon or "/" in precision or "\\" in precision:
        return name, "fp32"
    if precision not in PRECISIONS:
        raise UsageError(f"{precision!r} is not a precision; {name!r} may end in :{', :'.join(PRECISIONS)}.")
    return words, precision


def _adapter(word: str) -> AdapterUse:
    folder, at, scale = word.rpartition("@")
    try:
        return AdapterUse(Path(folder), float(scale)) if at else AdapterUse(Path(word))
    except ValueError:
        raise UsageError(f"{scale!r} is not a scale for adapter {folder}; give a number, such as @0.7.") from None


def load(name: str, device: str | torch.device = "cpu") -> Variant:
    """Load a variant in inference mode (`eval`, no gradients switched off), progress bars silent.

    Raises:
        NakawariError: the folder is missing or is not a model of ours.
    """
    import torch

    spec = parse(name)
    pipeline = _load_base(spec.base)
    for index, use in enumerate(spec.adapters):
        _add_adapter(pipeline, use, f"adapter{index}")
    if len(spec.adapters) > 1:
        names = [f"adapter{index}" for index in range(len(spec.adapters))]
        pipeline.denoiser.set_adapters(names, [use.scale for use in spec.adapters])
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[spec.precision]
    pipeline.to(device=device, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return Variant(name, spec, pipeline)


def _load_base(base: str) -> InterpolationPipeline:
    folder = model_folder(base)
    from .families import pipeline_class

    index = read_json(folder / "model_index.json")
    try:
        pipeline = pipeline_class(index.get("_class_name", "")).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NakawariError(f"{folder} could not be loaded ({reason}); save or convert the model again.") from error
    return pipeline


def model_folder(base: str) -> Path:
    """The folder in diffusers layout that a base's name stands for: `mini`, a saved model, or a run (its best)."""
    folder = MINI if base == "mini" else Path(base)
    for candidate in (folder, folder / "best"):
        if (candidate / "model_index.json").is_file():
            return candidate
    raise NakawariError(
        f"{base!r} is not a model: give mini, a folder with a model_index.json, or a run with a best/ folder."
    )


def _add_adapter(pipeline: InterpolationPipeline, use: AdapterUse, name: str) -> None:
    if not use.folder.is_dir():
        raise NakawariError(f"Adapter {use.folder} is not a folder; give the one that training saved.")
    try:
        pipeline.denoiser.load_lora_adapter(use.folder, adapter_name=name, prefix=None)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NakawariError(f"Adapter {use.folder} does not fit this model ({reason}).") from error
    pipeline.denoiser.set_adapters([name], [use.scale])
