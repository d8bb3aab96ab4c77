"""Variants: a pipeline, adapters at a scale, a precision, all named by one word on the command line.

`BASE[+ADAPTER@SCALE...][:PRECISION]`, such as `mini`, `runs/base/best`, `mini+runs/show/best@0.7:fp16`. The adapter
`turbo` is the base's own for few steps, in its folder `turbo`; `mini/small` is mini's own smaller student.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import NakawariError, UsageError
from .files import read_json

if TYPE_CHECKING:
    import torch

    from .families.base import InterpolationPipeline

PACKED = ("int8", "int8-dynamic", "fp8", "fp8-dynamic", "int4")
"""Precisions that the denoiser alone is packed into while it loads; adapters stand on top in full precision."""
PRECISIONS = ("fp32", "fp16", "bf16", *PACKED)
QUANTIZED = "quantization.json"
"""The file that a quantized folder carries."""
_ASSETS = Path(__file__).parent / "assets"
MINI = _ASSETS / "mini"
SHIPPED = {"mini": MINI, "framer-tiny": _ASSETS / "framer-tiny"}
TURBO = "turbo"
"""The word for a base's own adapter for few steps, and the folder in the base's that holds it."""
SMALL = "small"
"""The folder in a base's that holds its own smaller student, a whole model."""


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
    return VariantSpec(base, tuple(_adapter(word, base) for word in adapters), precision)


def with_adapters(name: str, adapters: Sequence[str]) -> str:
    """The variant `name` with `ADAPTER[@SCALE]` words added to it."""
    if not adapters:
        return name
    words, precision = _split_precision(name)
    return "+".join([words, *adapters]) + ("" if words == name else f":{precision}")


def _split_precision(name: str) -> tuple[str, str]:
    words, colon, precision = name.rpartition(":")
    # A colon before a slash belongs to a path (a drive letter), not to a precision.
    if not colon or "/" in precision or "\\" in precision:
        return name, "fp32"
    if precision not in PRECISIONS:
        raise UsageError(f"{precision!r} is not a precision; {name!r} may end in :{', :'.join(PRECISIONS)}.")
    return words, precision


def faster(name: str) -> str:
    """The variant `name`, faster by what its base has of its own: an adapter for few steps, else a smaller student.

    Raises:
        NakawariError: the base has neither, or is no model; adapters in `name` do not fit a smaller student.
    """
    if not has_faster(name):
        raise NakawariError(
            f"{parse(name).base} has neither a turbo adapter nor a smaller student of its own; draw without --fast, or "
            "train one (recipes/distill) and name it."
        )
    if _has_turbo(name):
        return with_adapters(name, [TURBO])
    words, precision = _split_precision(name)
    base, _, adapters = words.partition("+")
    if adapters:
        raise NakawariError(f"The smaller student of {base} is no base for {adapters}; draw without --fast.")
    student = f"{base}/{SMALL}" if base in SHIPPED else str(model_folder(base) / SMALL)
    return student + ("" if words == name else f":{precision}")


def has_faster(name: str) -> bool:
    """Whether the base of the variant `name` has something of its own that `faster` takes."""
    return _has_turbo(name) or (model_folder(parse(name).base) / SMALL / "model_index.json").is_file()


def _has_turbo(name: str) -> bool:
    from .adapters import WEIGHTS

    return (_turbo_of(parse(name).base) / WEIGHTS).is_file()


def _adapter(word: str, base: str) -> AdapterUse:
    folder, at, scale = word.rpartition("@")
    if not at:
        folder, scale = word, "1"
    where = _turbo_of(base) if folder == TURBO else Path(folder)
    try:
        factor = float(scale)
    except ValueError:
        factor = math.nan
    if not folder or not math.isfinite(factor):
        raise UsageError(f"{scale!r} is not a scale for adapter {folder}; give a number, such as @0.7.")
    return AdapterUse(where, factor)


def load(name: str, device: str | torch.device = "cpu") -> Variant:
    """Load a variant in inference mode (`eval`, no gradients switched off), progress bars silent.

    Raises:
        NakawariError: the folder is missing or is not a model of ours.
    """
    import torch

    spec = parse(name)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(spec.precision, torch.float32)
    folder = model_folder(spec.base)
    pipeline = _load_base(folder, _how(folder, spec.precision, dtype))
    if spec.precision in PACKED:
        from .quantization.precisions import check_runs, quantize_layers, uniform

        check_runs(spec.precision, device)
        quantize_layers(pipeline.denoiser, uniform(pipeline.denoiser, spec.precision))
    if spec.adapters:
        from .adapters import attach

        attach(pipeline, [(use.folder, use.scale) for use in spec.adapters])
    with _quiet():  # it would remark that fp16 does not run on a CPU, where it is slow but does
        pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    return Variant(name, spec, pipeline)


def parent_of(base: str) -> str:
    """The full model that a base stands for: of a quantized folder the variant it was made of, else the base itself."""
    folder = _path_of(base)
    for record in (folder / QUANTIZED, folder / "best" / QUANTIZED):
        if record.is_file():
            return str(read_json(record).get("source", {}).get("variant", base))
    return base


def _how(folder: Path, precision: str, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments for `from_pretrained`; a quantized folder brings its own formats and denoiser."""
    if not (folder / QUANTIZED).is_file():
        return {"torch_dtype": dtype}
    if precision != "fp32":
        raise UsageError(f"{folder} is quantized already; name it without :{precision}.")
    from .quantization.folder import saved_parts

    with _quiet():
        return saved_parts(folder)


def _load_base(folder: Path, how: dict[str, Any]) -> InterpolationPipeline:
    from .families import pipeline_class

    index = read_json(folder / "model_index.json")
    try:
        with _quiet():
            cls = pipeline_class(index.get("_class_name", ""))
            pipeline = cls.from_pretrained(folder, local_files_only=True, **how)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NakawariError(f"{folder} could not be loaded ({reason}); save or convert the model again.") from error
    return pipeline


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading bars and remarks of the libraries would stand between a command's own lines."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    libraries = (of_diffusers, of_transformers)
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
            library.enable_progress_bar()


def _path_of(base: str) -> Path:
    shipped, _, inside = base.partition("/")
    folder = SHIPPED[shipped] / inside if shipped in SHIPPED else None
    return folder if folder is not None and folder.is_dir() else Path(base)


def _turbo_of(base: str) -> Path:
    """Where a base, or the best of a run, has its adapter for few steps, there or not."""
    folder = _path_of(base)
    return folder / "best" / TURBO if (folder / "best" / TURBO).is_dir() else folder / TURBO


def model_folder(base: str) -> Path:
    """The folder in diffusers layout behind a base's name: one of `SHIPPED`, a saved model, or a run (its best)."""
    folder = _path_of(base)
    for candidate in (folder, folder / "best"):
        if (candidate / "model_index.json").is_file():
            return candidate
    raise NakawariError(
        f"{base!r} is not a model: give mini, a folder with a model_index.json, or a run with a best/ folder."
    )
