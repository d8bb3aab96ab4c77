"""A quantized variant on disk: a folder in diffusers layout with `quantization.json`, how it was made.

A packed denoiser's own `config.json` says which layer is packed how (`quantization_config`), so the weights can be
rebuilt from its folder alone, and plain diffusers, which does not know the method, refuses it by name instead of
misreading it. A denoiser in fp16 or bf16 is plain: any diffusers loads it.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from .. import __version__
from ..errors import NakawariError
from ..families.base import InterpolationPipeline
from ..files import atomic_path, read_json, write_json
from .formats import PRECISIONS
from .layers import Packed, pack_layers, packed_layers
from .precisions import counts, weight_bytes

RECORD = "quantization.json"
METHOD = "nakawari"
_WEIGHTS = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class Origin:
    """What a quantized variant was made of: the variant's name, the SHA-256 of its denoiser's weights, their bytes."""

    variant: str
    sha256: str
    bytes: int


def origin(pipeline: InterpolationPipeline, variant: str) -> Origin:
    """Describe a model that is about to be quantized."""
    return Origin(variant, weights_hash(pipeline.denoiser), weight_bytes(pipeline.denoiser))


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over names, formats, shapes and bytes of all saved tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def save(
    pipeline: InterpolationPipeline, folder: Path, source: Origin, how: str, plan: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Write the quantized pipeline into `folder`, whole or not at all; `how`: a precision or `plan`.

    Returns: what `quantization.json` says.
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
        pipeline.save_pretrained(temporary)
        write_json(temporary / RECORD, record)
    return record


def saved_parts(folder: Path) -> dict[str, Any]:
    """What `from_pretrained` must be told to load this folder as it was saved: formats, and a packed denoiser."""
    record = read_json(folder / RECORD)
    index = read_json(folder / "model_index.json")
    try:
        dtypes = {part: getattr(torch, dtype) for part, dtype in record["dtypes"].items()}
        parts = {part: index[part] for part in dtypes}
    except (KeyError, TypeError, AttributeError) as error:
        raise NakawariError(
            f"{folder / RECORD} is not a record of ours ({error}); quantize the model again."
        ) from error
    packed = {part: _load_packed(folder / part, *parts[part]) for part in dtypes if _is_packed(folder / part)}
    return {"torch_dtype": dtypes | {"default": torch.float32}, **packed}


def _denoiser(pipeline: InterpolationPipeline) -> tuple[str, nn.Module]:
    denoiser = pipeline.denoiser
    return next(name for name, part in pipeline.components.items() if part is denoiser), denoiser


def _is_packed(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and (read_json(config).get("quantization_config") or {}).get("quant_method") == METHOD


def _load_packed(folder: Path, library: str, class_name: str) -> nn.Module:
    """The denoiser with empty packed layers, filled strictly: every tensor there, in its shape and format."""
    config = read_json(folder / "config.json")
    about = config["quantization_config"]
    try:
        if unknown := set(about["layers"].values()) - set(PRECISIONS):
            raise ValueError(f"unknown precision {sorted(unknown)[0]}")
        with torch.device("meta"):
            denoiser = getattr(import_module(library), class_name).from_config(config)
            denoiser.to(getattr(torch, about["dtype"]))
            pack_layers(denoiser, about["layers"])
        weights = load_file(folder / _WEIGHTS)
        for key, wanted in denoiser.state_dict().items():
            if key in weights and weights[key].dtype != wanted.dtype:
                raise ValueError(f"{key} is {weights[key].dtype}, not {wanted.dtype}")
        denoiser.load_state_dict(weights, strict=True, assign=True)
    except (OSError, KeyError, ValueError, AttributeError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise NakawariError(f"{folder} could not be loaded ({reason}); quantize the model again.") from error
    for layer in denoiser.modules():
        if isinstance(layer, Packed):
            layer.like = torch.empty(0, dtype=layer.like.dtype)
    return denoiser.eval()
