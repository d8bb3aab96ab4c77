"""Convert upstream ToonCrafter checkpoints to a folder in diffusers layout.

The pickle is read with `weights_only` and memory-mapped, one component at a time, so that only one
component is in memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ...diffusion import VelocityProcess
from ...errors import NakawariError
from ...files import atomic_path, check_new
from ..conversion import ConversionReport, no_progress_bar
from .checkpoint_configs import Shapes, build_empty
from .checkpoint_layout import COMPONENTS, EXTRA, Place, classify, last_text_block
from .pipeline import ToonCrafterPipeline
from .scheduler import ToonCrafterScheduler
from .towers import named_parts, tower_prefix

TRAINED_SIZE = (320, 512)
"""Training size of the published ToonCrafter, height and width."""
EXTRA_FILE = "upstream_extra.safetensors"
_DEEPSPEED_PREFIX = "_forward_module."
_BATCH = 400
"""Number of tensors read through one memory mapping of the file."""


@dataclass(frozen=True)
class Plan:
    """The places of all tensors of one checkpoint, checked for completeness.

    Args:
        sources: component -> upstream name -> names in that component's state dict.
        empty: component -> its module on the meta device.
    """

    sources: Mapping[str, Mapping[str, tuple[str, ...]]]
    empty: Mapping[str, nn.Module]


@dataclass
class _Faults:
    """Mismatches between a checkpoint and the modules."""

    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    wrong_shape: list[str] = field(default_factory=list)

    def raise_any(self, source: str) -> None:
        kinds = {"missing": self.missing, "not known": self.left_over, "of wrong shape": self.wrong_shape}
        found = [f"{len(names)} {kind} ({_some(names)})" for kind, names in kinds.items() if names]
        if found:
            raise NakawariError(
                f"{source} is not a complete ToonCrafter checkpoint, tensors are {', '.join(found)}; "
                "give the complete original file."
            )


def _some(names: list[str], limit: int = 3) -> str:
    shown = ", ".join(sorted(names)[:limit])
    return shown + (", ..." if len(names) > limit else "")


def plan(shapes: Shapes, source: str = "The state dict") -> Plan:
    """Assign a place to every tensor of an upstream state dict.

    Args:
        shapes: tensor name -> shape, as in the state dict.
        source: its name in error messages.

    Raises:
        NakawariError: tensors are missing, unexpected or of the wrong shape.
    """
    faults = _Faults()
    sources: dict[str, dict[str, tuple[str, ...]]] = {component: {} for component in (*COMPONENTS, EXTRA)}
    unused = last_text_block(shapes)
    for key in shapes:
        place: Place | None = classify(key, unused)
        if place is None:
            faults.left_over.append(key)
        else:
            sources[place.component][key] = place.names
    empty: dict[str, nn.Module] = {}
    for component in COMPONENTS:
        try:
            empty[component] = build_empty(component, shapes)
        except KeyError as error:
            faults.missing.append(error.args[0])
        except (ValueError, ZeroDivisionError) as error:
            faults.wrong_shape.append(f"{component}: {error}")
        else:
            sources[component] = _with_prefix(sources[component], empty[component])
            _compare(component, sources[component], shapes, empty[component], faults)
    faults.raise_any(source)
    return Plan(sources, empty)


def _with_prefix(names: Mapping[str, tuple[str, ...]], module: nn.Module) -> dict[str, tuple[str, ...]]:
    prefix = tower_prefix(module)
    return {key: tuple(prefix + part for part in parts) for key, parts in names.items()}


def _compare(
    component: str, sources: Mapping[str, tuple[str, ...]], shapes: Shapes, module: nn.Module, faults: _Faults
) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for key, parts in sources.items():
        rows, *rest = shapes[key] or (1,)
        given = (rows // len(parts), *rest) if shapes[key] else ()
        for part in parts:
            expected = wanted.pop(part, None)
            if expected is None:
                faults.left_over.append(key)
            elif expected != given or rows % len(parts):
                faults.wrong_shape.append(f"{key}: {list(shapes[key])}")
    faults.missing += [f"{component}: {name}" for name in wanted]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert errors of reading a broken file to one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise NakawariError(f"{path} does not exist; check the path.") from error
    except IsADirectoryError as error:
        raise NakawariError(f"{path} is a folder; give the checkpoint file in it, usually model.ckpt.") from error
    except pickle.UnpicklingError as error:
        raise NakawariError(
            f"{path} is not a plain torch checkpoint, or holds Python objects besides tensors, which are not loaded "
            "for safety; give the original model.ckpt."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise NakawariError(
            f"{path} cannot be read as a torch checkpoint: it is another kind of file or truncated; "
            "download model.ckpt again."
        ) from error


def read_state(path: Path | str) -> dict[str, Tensor]:
    """The state dict of an upstream checkpoint, memory-mapped: values are read from disk on use.

    Takes `{"state_dict": ...}`, DeepSpeed's `{"module": ...}` with its name prefix, or the bare dict of tensors.

    Raises:
        NakawariError: the file is missing, broken or of another kind.
    """
    path = Path(path)
    with _readable(path):
        if path.is_dir():
            raise IsADirectoryError(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    elif isinstance(content, Mapping) and isinstance(content.get("module"), Mapping):
        content = {key.removeprefix(_DEEPSPEED_PREFIX): value for key, value in content["module"].items()}
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise NakawariError(f"{path} holds no dictionary of tensors; give the original model.ckpt.")
    return dict(content)


def component_state(
    state: Mapping[str, Tensor], sources: Mapping[str, tuple[str, ...]], dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Extract the state dict of one component from the upstream one.

    Args:
        state: upstream tensors.
        sources: upstream name -> names in the component, from `Plan.sources`.
        dtype: target type of floating tensors; None = unchanged.
    """
    converted: dict[str, Tensor] = {}
    for key, names in sources.items():
        for name, part in named_parts(state[key], names).items():
            cast = part.to(dtype) if dtype is not None and part.is_floating_point() else part
            # Parts of a tensor share memory, which safetensors does not write.
            converted[name] = cast.clone() if len(names) > 1 and cast is part else cast
    return converted


def write_components(
    path: Path | str, folder: Path, dtype: torch.dtype | None = None, tokenizer: Path | None = None
) -> ConversionReport:
    """Write every component of the checkpoint at `path` into `folder`, which exists; see `convert_checkpoint`."""
    path = Path(path)
    words = None if tokenizer is None else read_tokenizer(tokenizer)
    state = read_state(path)
    layout = plan({key: tuple(value.shape) for key, value in state.items()}, str(path))
    matches = schedule_matches(state)
    del state
    parameters = {
        component: _write_component(path, folder / component, module, layout.sources[component], dtype)
        for component, module in layout.empty.items()
    }
    _write_index(folder, layout.empty, words)
    extra = {key: value.contiguous() for key, value in read_state(path).items() if key in layout.sources[EXTRA]}
    save_file(extra, folder / EXTRA_FILE, metadata={"format": "pt"})
    return ConversionReport(
        output_dir=folder,
        keys={component: len(names) for component, names in layout.sources.items()},
        parameters=parameters,
        schedule_matches=matches,
    )


def _write_component(
    path: Path, folder: Path, module: Any, sources: Mapping[str, tuple[str, ...]], dtype: torch.dtype | None
) -> int:
    """Fill one empty module, save it and empty it again; returns the number of parameters."""
    # The file is mapped again for every batch, which releases the pages of the tensors already cast.
    filled: dict[str, Tensor] = {}
    for batch in _batches(sources):
        filled |= component_state(read_state(path), batch, dtype)
    module.load_state_dict(filled, strict=True, assign=True)
    del filled
    with no_progress_bar():
        module.save_pretrained(folder)
    count = sum(parameter.numel() for parameter in module.parameters())
    module.to_empty(device="meta")
    return count


def _batches(sources: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, tuple[str, ...]]]:
    items = list(sources.items())
    for start in range(0, len(items), _BATCH):
        yield dict(items[start : start + _BATCH])


def read_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer from a folder with vocab.json and merges.txt, or with a tokenizer.json."""
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise NakawariError(
            f"{folder} holds no CLIP tokenizer; give a folder with vocab.json and merges.txt."
        ) from error


def _write_index(folder: Path, components: Mapping[str, nn.Module], tokenizer: CLIPTokenizer | None) -> None:
    """The scheduler, the tokenizer, and `model_index.json`, which make the folder a pipeline."""
    scheduler = ToonCrafterScheduler()
    pipeline = ToonCrafterPipeline(**components, scheduler=scheduler, tokenizer=tokenizer, trained_size=TRAINED_SIZE)
    pipeline.scheduler.save_pretrained(folder / "scheduler")
    if tokenizer is not None:
        tokenizer.save_pretrained(folder / "tokenizer")
    pipeline.save_config(folder)


def schedule_matches(state: Mapping[str, Tensor]) -> bool | None:
    """Whether an upstream state dict's noise schedule is that of `VelocityProcess`; None if it has none."""
    process = VelocityProcess()
    wanted = {"alphas_cumprod": process.alphas_cumprod, "scale_arr": process.scales}
    found = {name: state[name].float()[: process.steps] for name in wanted if name in state}
    if not found:
        return None
    return all(
        len(values) == process.steps and torch.allclose(values, wanted[name].float(), rtol=0, atol=1e-6)
        for name, values in found.items()
    )


def convert_checkpoint(
    path: Path | str, output_dir: Path | str, dtype: torch.dtype | None = None, tokenizer: Path | None = None
) -> ConversionReport:
    """Write an upstream checkpoint as a pipeline's folder in diffusers layout, one subfolder per component.


    Tensors that no component uses go into `upstream_extra.safetensors` under their own names. The folder is written
    atomically.

    Args:
        path: upstream `model.ckpt`.
        output_dir: folder to create; it must not exist, or be empty.
        dtype: target type of the components' tensors; None = unchanged.
        tokenizer: folder of CLIP's tokenizer, which checkpoints do not contain; without it prompts must be empty.

    Raises:
        NakawariError: the checkpoint is broken or incomplete, or the folder is not empty or cannot be written.
    """
    output = Path(output_dir)
    check_new(output)
    with atomic_path(output) as temporary:
        temporary.mkdir()
        try:
            report = write_components(path, temporary, dtype, tokenizer)
        except SafetensorError as error:
            raise NakawariError(f"Could not write {output}: {error}; no partial files were left.") from error
    return ConversionReport(output, report.keys, report.parameters, report.schedule_matches)
