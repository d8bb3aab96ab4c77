"""Variants: a pipeline, adapters with scales and a precision, in one name for the command line.

`BASE[+ADAPTER@SCALE...][:PRECISION]`, such as `mini`, `runs/base/best`, `mini+runs/show/best@0.7:fp16`. The adapter
`turbo` is the base's few-step adapter, in its folder `turbo`; `mini/small` is mini's smaller student.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import NakawariError, NakawariWarning, UsageError
from .files import folder_fingerprint, read_json

if TYPE_CHECKING:
    import torch

    from .families.base import InterpolationPipeline

PACKED = ("int8", "int8-dynamic", "fp8", "fp8-dynamic", "int4")
"""Precisions to which only the denoiser is packed while it loads; adapters on it stay in full precision."""
PRECISIONS = ("fp32", "fp16", "bf16", *PACKED)
SMALLER = "append :bf16 or :int8 to the model's name, or close other programs"
"""Advice for a model that does not fit in memory."""
QUANTIZED = "quantization.json"
"""Record in the folder of a quantized model."""
_ASSETS = Path(__file__).parent / "assets"
MINI = _ASSETS / "mini"
SHIPPED = {"mini": MINI, "framer-tiny": _ASSETS / "framer-tiny"}
LARGEST_IN_FP32 = 250_000_000
"""Parameters (1 GB in fp32) up to which a model saved in fp16, such as the bundled ones, runs in fp32 on a CPU."""
LARGE = 1_000_000_000
"""Bytes of weights from which memory is planned automatically."""
LARGEST_SCALE = 4.0
"""Largest scale of an adapter. It was trained at 1; far above, the output is noise."""
TURBO = "turbo"
"""Name of a base's few-step adapter, and of its folder in the base's folder."""
SMALL = "small"
"""Folder of a base's smaller student, a complete model, in the base's folder."""


@dataclass(frozen=True)
class AdapterUse:
    """An adapter's folder and the scale on top of its alpha / rank."""

    folder: Path
    scale: float = 1.0


@dataclass(frozen=True)
class VariantSpec:
    """A parsed variant name; without a precision, each part has its saved dtype."""

    base: str
    adapters: tuple[AdapterUse, ...] = ()
    precision: str | None = None


@dataclass(frozen=True)
class Variant:
    """A loaded variant."""

    name: str
    spec: VariantSpec
    pipeline: InterpolationPipeline


def parse(name: str) -> VariantSpec:
    """Parse `BASE[+ADAPTER@SCALE...][:PRECISION]`.

    Raises:
        UsageError: an unknown precision, a scale that is not a number, an empty part.
    """
    words, precision = _split_precision(name)
    base, *adapters = words.split("+")
    if not base or not all(adapters):
        raise UsageError(f"{name!r} has an empty part; write BASE[+ADAPTER@SCALE][:PRECISION], such as mini:fp16.")
    return VariantSpec(base, tuple(_adapter(word, base) for word in adapters), precision)


def check_name(name: str) -> None:
    """Raise as `load` does, without loading, if `name` is not a variant or its base is not a model."""
    model_folder(parse(name).base)


def with_adapters(name: str, adapters: Sequence[str]) -> str:
    """The variant `name` with `ADAPTER[@SCALE]` terms added."""
    if not adapters:
        return name
    words, precision = _split_precision(name)
    return "+".join([words, *adapters]) + ("" if words == name else f":{precision}")


def with_precision(name: str, precision: str | None) -> str:
    """The variant `name` with its precision replaced by `precision`; None keeps it. Raises as `parse`."""
    changed = name if precision is None else f"{_split_precision(name)[0]}:{precision}"
    parse(changed)
    return changed


def _split_precision(name: str) -> tuple[str, str | None]:
    words, colon, precision = name.rpartition(":")
    # A colon before a slash belongs to a path (a drive letter), not to a precision.
    if not colon or "/" in precision or "\\" in precision:
        return name, None
    if precision not in PRECISIONS:
        raise UsageError(f"{precision!r} is not a precision; {name!r} may end in :{', :'.join(PRECISIONS)}.")
    return words, precision


def faster(name: str) -> str:
    """The variant `name` made faster with its base's few-step adapter, else its smaller student.

    Raises:
        NakawariError: the base has neither, or is not a model; or adapters in `name` do not fit the smaller student.
    """
    if not has_faster(name):
        raise NakawariError(
            f"{parse(name).base} has neither a turbo adapter nor a smaller student; draw without --fast, or "
            "train one (nakawari recipes list) and name it."
        )
    if _has_turbo(name):
        return with_adapters(name, [TURBO])
    words, precision = _split_precision(name)
    base, _, adapters = words.partition("+")
    if adapters:
        raise NakawariError(f"The smaller student of {base} does not fit {adapters}; draw without --fast.")
    student = f"{base}/{SMALL}" if base in SHIPPED else str(model_folder(base) / SMALL)
    return student + ("" if words == name else f":{precision}")


def has_faster(name: str) -> bool:
    """Whether the base of the variant `name` has a few-step adapter or smaller student for `faster`."""
    return _has_turbo(name) or (model_folder(parse(name).base) / SMALL / "model_index.json").is_file()


def _has_turbo(name: str) -> bool:
    from .families.adapter_files import WEIGHTS

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
    if not folder or not 0 <= factor <= LARGEST_SCALE:
        raise UsageError(
            f"{scale!r} is not a scale for adapter {folder}; give a number from 0 to {LARGEST_SCALE:g}, such as @0.7."
        )
    return AdapterUse(where, factor)


def load(
    name: str,
    device: str | torch.device = "cpu",
    *,
    formats: Mapping[str, torch.dtype] | None = None,
    runs: bool = True,
    place: bool = True,
) -> Variant:
    """Load a variant in `eval` mode (gradients stay enabled), with progress bars off.

    Args:
        device: target device.
        formats: part -> dtype, and `default` for the others, if `name` has no precision; None = each as it was
            saved.
        runs: whether it will compute on `device`: fp16 is then loaded as bf16 on a CPU, which has no fast fp16
            arithmetic. False if it is only read and written.
        place: False leaves it on the CPU for the caller to move.

    Raises:
        NakawariError: the folder is missing or is not a nakawari model, or memory ran out.
    """
    import torch

    from .memory import guarded

    spec = parse(name)
    folder = model_folder(spec.base)
    if spec.precision in PACKED:
        from .quantization.precisions import check_runs

        check_runs(spec.precision, device)
    on_cpu = runs and torch.device(device).type == "cpu"
    with guarded(f"loading {name}", SMALLER):
        pipeline = _load_base(folder, _how(folder, spec.precision, formats, on_cpu))
    if spec.adapters:
        from .adapters import attach

        attach(pipeline, [(use.folder, use.scale) for use in spec.adapters])
    if place:
        with guarded(f"moving {name} to {device}", SMALLER, device), _quiet():
            pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    return Variant(name, spec, pipeline)


def check_prompt(name: str) -> None:
    """Raise `UsageError` for a variant without text conditioning; nothing is loaded."""
    folder = model_folder(parse(name).base)
    index = read_json(folder / "model_index.json")
    if not (index.get("text_encoder") or [None])[0]:
        raise UsageError(f"{name} reads no text; leave out the prompt, or use a model with a text encoder.")
    if not (index.get("tokenizer") or [None])[0]:
        raise UsageError(
            f"{name} has no tokenizer, which a prompt needs and no checkpoint contains; convert it again with "
            "--tokenizer FOLDER, a folder with vocab.json and merges.txt of openai/clip-vit-large-patch14 "
            "(huggingface.co), or leave out the prompt."
        )


def weights_bytes(name: str) -> int:
    """Bytes of all saved weights of a variant's base; nothing is loaded."""
    from .weights import saved_parts

    parts = saved_parts(model_folder(parse(name).base)).values()
    return sum(tensor.bytes for part in parts for tensor in part.values())


def fingerprint(name: str) -> str:
    """SHA-256 over the files of a variant, its scales and its precision: equal for equal models, independent of their
    paths."""
    spec = parse(name)
    folder = model_folder(spec.base)
    parts = [part for part in read_json(folder / "model_index.json") if (folder / part).is_dir()]
    files = [file for part in parts for file in (folder / part).rglob("*") if file.is_file()]
    digest = hashlib.sha256(f"{spec.precision}".encode())
    digest.update(folder_fingerprint(folder, [*folder.glob("*.json"), *files]))
    for use in spec.adapters:
        digest.update(f"{use.scale}".encode())
        digest.update(folder_fingerprint(use.folder, [file for file in use.folder.rglob("*") if file.is_file()]))
    return digest.hexdigest()


def parent_of(base: str) -> str:
    """The full model of a base: for a quantized folder its source variant, else the base itself."""
    folder = _path_of(base)
    for record in (folder / QUANTIZED, folder / "best" / QUANTIZED):
        if record.is_file():
            return str(read_json(record).get("source", {}).get("variant", base))
    return base


def _how(folder: Path, precision: str | None, told: Mapping[str, torch.dtype] | None, on_cpu: bool) -> dict[str, Any]:
    """Arguments of `from_pretrained`; a packed denoiser is loaded here."""
    import torch

    if (folder / QUANTIZED).is_file():
        return _quantized(folder, precision, on_cpu)
    from .weights import saved_formats

    plain = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if precision in plain:
        told = {"default": plain[precision]}
    formats = saved_formats(folder) | {"default": torch.float32} if told is None else dict(told)
    if on_cpu and torch.float16 in formats.values():
        if precision == "fp16":
            _warn_of_half(folder, "write :bf16 or :fp32")
        else:
            instead = _instead_of_half(folder)
            formats = {part: _on_cpu(dtype, instead) for part, dtype in formats.items()}
    how: dict[str, Any] = {"dtype": formats}
    if precision in PACKED:
        from .quantization.folder import packing

        with _quiet():
            how |= packing(folder, precision, how["dtype"])
    return how


def _quantized(folder: Path, precision: str | None, on_cpu: bool) -> dict[str, Any]:
    if precision is not None:
        raise UsageError(f"{folder} is quantized already; name it without :{precision}.")
    import torch

    from .quantization.folder import saved_parts

    with _quiet():
        how = saved_parts(folder)
    if on_cpu and torch.float16 in how["dtype"].values():
        instead = _instead_of_half(folder)
        how["dtype"] = {part: _on_cpu(dtype, instead) for part, dtype in how["dtype"].items()}
        for part in how.values():
            if isinstance(part, torch.nn.Module):
                part._apply(lambda tensor: tensor.to(_on_cpu(tensor.dtype, instead)))
    return how


def _on_cpu(dtype: torch.dtype, instead: torch.dtype) -> torch.dtype:
    """`instead` for fp16, in which convolutions on a CPU are hundreds of times slower; else `dtype`."""
    import torch

    return instead if dtype == torch.float16 else dtype


def _instead_of_half(folder: Path) -> torch.dtype:
    """Computing dtype on a CPU of a model saved in fp16: fp32, which is exact, if it needs little memory; else bf16,
    with a warning."""
    import torch

    instead = half_on_cpu(folder)
    if instead == torch.bfloat16:
        _warn_of_half(folder, "it computes in bf16 here, which has three bits less precision")
    return instead


def half_on_cpu(folder: Path) -> torch.dtype:
    """As `_instead_of_half`, without the warning."""
    import torch

    from .weights import saved_parts

    numbers = sum(tensor.count for tensors in saved_parts(folder).values() for tensor in tensors.values())
    return torch.float32 if numbers <= LARGEST_IN_FP32 else torch.bfloat16


def _warn_of_half(folder: Path, advice: str) -> None:
    warnings.warn(f"{folder} is in fp16, which is very slow on a CPU: {advice}.", NakawariWarning, stacklevel=2)


def _load_base(folder: Path, how: dict[str, Any]) -> InterpolationPipeline:
    from .families import pipeline_class, read_index
    from .memory import ran_out
    from .weights import file_variant

    index = read_index(folder)
    try:
        with _quiet():
            cls = pipeline_class(index.get("_class_name", ""))
            pipeline = cls.from_pretrained(folder, local_files_only=True, variant=file_variant(folder), **how)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if ran_out(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise NakawariError(f"{folder} could not be loaded ({reason}); save or convert the model again.") from error
    return pipeline


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the libraries' progress bars and messages, which would mix with a command's output."""
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
    """Path of the few-step adapter of a base or of a run's best; it may not exist."""
    folder = _path_of(base)
    return folder / "best" / TURBO if (folder / "best" / TURBO).is_dir() else folder / TURBO


def model_folder(base: str) -> Path:
    """The folder in diffusers layout behind a base's name: one of `SHIPPED`, a saved model, or a run (its best)."""
    folder = _path_of(base)
    for candidate in (folder, folder / "best"):
        if (candidate / "model_index.json").is_file():
            return candidate
    raise NakawariError(
        f"{base!r} is not a model; give mini, a folder with a model_index.json, or a run with a best/ folder."
    )
