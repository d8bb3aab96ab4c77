"""A quantized variant on disk: a folder in diffusers layout with its record `quantization.json`.

The `config.json` of a packed denoiser lists the precision of each layer (`quantization_config`), so the weights can be
rebuilt from its folder alone, and plain diffusers, which does not know the method, reports an error instead of
misreading it. A denoiser in fp16 or bf16 is plain: diffusers loads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from .. import __version__
from ..errors import NakawariError
from ..families import read_index
from ..families.base import InterpolationPipeline
from ..families.cards import add_section
from ..files import atomic_path, read_json, write_json
from ..memory import ran_out
from ..weights import part_files
from .formats import PRECISIONS, encode
from .layers import Packed, pack_layers, packed_layers
from .precisions import counts, uniform, weight_bytes

RECORD = "quantization.json"
METHOD = "nakawari"
_WEIGHTS = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class Origin:
    """Source of a quantized variant: its name, the SHA-256 of its denoiser's weights, and their bytes."""

    variant: str
    sha256: str
    bytes: int


def origin(pipeline: InterpolationPipeline, variant: str) -> Origin:
    """The `Origin` of a model before it is quantized."""
    return Origin(variant, weights_hash(pipeline.denoiser), weight_bytes(pipeline.denoiser))


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over all saved tensors of a network."""
    return tensors_hash(module.state_dict().items())


def tensors_hash(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of named tensors, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def save(
    pipeline: InterpolationPipeline, folder: Path, source: Origin, how: str, plan: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Write the quantized pipeline into `folder` atomically; `how`: a precision or `plan`.

    Returns: the content of `quantization.json`.
    """
    name, denoiser = _denoiser(pipeline)
    dtypes = {
        part: str(module.dtype).removeprefix("torch.")
        for part, module in pipeline.components.items()
        if isinstance(module, nn.Module) and next(module.parameters(), None) is not None
    }
    layers = {name: layer.precision for name, layer in packed_layers(denoiser).items()}
    if layers:
        about = {"quant_method": METHOD, "dtype": dtypes[name], "layers": layers}
        denoiser.register_to_config(quantization_config=about)
    record = {
        "precision": how,
        "layers": counts(denoiser),
        "dtypes": dtypes,
        "bytes": weight_bytes(denoiser),
        "source": asdict(source),
        "plan": plan,
        "nakawari": __version__,
        "torch": torch.__version__,
    }
    with atomic_path(folder) as temporary:
        try:
            pipeline.save_pretrained(temporary)
        except SafetensorError as error:  # not an OSError, even for disk errors
            reason = " ".join(str(error).split())[:150].rstrip(".")
            raise NakawariError(
                f"Could not write {folder} ({reason}); no partial files were left; free some space and run again."
            ) from error
        write_json(temporary / RECORD, record)
        add_section(temporary, "Made from", f"`{source.variant}`, quantized: {how}. `{RECORD}` lists the layers.")
    return record


def saved_parts(folder: Path) -> dict[str, Any]:
    """Arguments of `from_pretrained` to load this folder as saved: dtypes, and a packed denoiser."""
    record = read_json(folder / RECORD)
    index = read_index(folder)
    try:
        dtypes = {part: getattr(torch, dtype) for part, dtype in record["dtypes"].items()}
        parts = {part: index[part] for part in dtypes}
    except (KeyError, TypeError, AttributeError) as error:
        raise NakawariError(
            f"{folder / RECORD} is not a record of nakawari ({error}); quantize the model again."
        ) from error
    packed = {part: _load_packed(folder / part, *parts[part]) for part in dtypes if _is_packed(folder / part)}
    return {"dtype": dtypes | {"default": torch.float32}, **packed}


def packing(folder: Path, precision: str, dtypes: Mapping[str, torch.dtype]) -> dict[str, Any]:
    """For `from_pretrained`: the denoiser of a plain folder, every layer packed while it is read, so that the full
    weights are never in memory. Layers that are not packed have their dtype of `dtypes`."""
    name = InterpolationPipeline.denoiser_name
    part, index = folder / name, read_index(folder)
    dtype = dtypes.get(name, dtypes.get("default", torch.float32))
    with _one_sentence(part, "save or convert the model again"):
        denoiser = _empty(part, *index[name], dtype)
        layers = uniform(denoiser, precision)
        pack_layers(denoiser, layers)
        weights: dict[str, Tensor] = {}
        for path in part_files(part):
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - not a mapping
                    weights |= _packed(key, file.get_tensor(key), layers, dtype)
        return {name: _filled(denoiser, weights)}


def _packed(key: str, tensor: Tensor, layers: Mapping[str, str], dtype: torch.dtype) -> dict[str, Tensor]:
    """A saved tensor in the packed denoiser's form."""
    tensor = tensor.to(dtype) if tensor.is_floating_point() else tensor
    layer, _, kind = key.rpartition(".")
    if kind != "weight" or layer not in layers:
        # A copy, if it is not one yet: the file's pages are freed with the mapping.
        return {key: tensor.clone()}
    return {f"{layer}.{name}": value for name, value in encode(tensor, layers[layer]).items()}


def _denoiser(pipeline: InterpolationPipeline) -> tuple[str, nn.Module]:
    denoiser = pipeline.denoiser
    return next(name for name, part in pipeline.components.items() if part is denoiser), denoiser


def _is_packed(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and (read_json(config).get("quantization_config") or {}).get("quant_method") == METHOD


def _load_packed(folder: Path, library: str, class_name: str) -> nn.Module:
    """The denoiser with empty packed layers, loaded strictly: every tensor present, with its shape and dtype."""
    about = read_json(folder / "config.json")["quantization_config"]
    with _one_sentence(folder, "quantize the model again"):
        if unknown := set(about["layers"].values()) - set(PRECISIONS):
            raise ValueError(f"unknown precision {sorted(unknown)[0]}")
        denoiser = _empty(folder, library, class_name, getattr(torch, about["dtype"]))
        pack_layers(denoiser, about["layers"])
        weights = load_file(folder / _WEIGHTS)
        for key, wanted in denoiser.state_dict().items():
            if key in weights and weights[key].dtype != wanted.dtype:
                raise ValueError(f"{key} is {weights[key].dtype}, not {wanted.dtype}")
        return _filled(denoiser, weights)


def _empty(folder: Path, library: str, class_name: str, dtype: torch.dtype) -> nn.Module:
    """The network of a folder, without memory for its weights."""
    with torch.device("meta"):
        denoiser = getattr(import_module(library), class_name).from_config(read_json(folder / "config.json"))
    return nn.Module.to(denoiser, dtype)


def _filled(denoiser: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    denoiser.load_state_dict(weights, strict=True, assign=True)
    for layer in denoiser.modules():
        if isinstance(layer, Packed):
            layer.like = torch.empty(0, dtype=layer.like.dtype)
    return denoiser.eval()


@contextmanager
def _one_sentence(folder: Path, mend: str) -> Iterator[None]:
    """Turn any error from an incomplete folder into one sentence; out-of-memory errors pass unchanged."""
    try:
        yield
    except (OSError, KeyError, ValueError, AttributeError, TypeError, RuntimeError, SafetensorError) as error:
        if ran_out(error):
            raise
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise NakawariError(f"{folder} could not be loaded ({reason}); {mend}.") from error
