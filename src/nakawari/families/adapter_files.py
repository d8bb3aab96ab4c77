"""Read adapter files of all common layouts into one: PEFT's names of our layers, and PEFT's configuration.

Layouts: diffusers (`pytorch_lora_weights.safetensors`), PEFT (`adapter_model.safetensors` or `.bin` with
`adapter_config.json`), and kohya's trainers (one file, layers named with underscores). Every tensor must match a layer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import NakawariError
from ..files import read_json

WEIGHTS = "pytorch_lora_weights.safetensors"
PEFT_WEIGHTS = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
_PEFT_PICKLE = "adapter_model.bin"
_INSIDE = ("", "best", "lora_best", "unet_lora", "final/unet_lora")
"""Subfolders that may hold an adapter: of our run folders, and of those of ToonCrafter-KDQ and FramerTurbo."""
_METADATA = "lora_adapter_metadata"
_PREFIX = re.compile(r"(base_model\.model\.)?(model\.diffusion_model\.|diffusion_model\.|unet\.|lora_unet_)?")
_SUFFIXES = {
    r"\.lora_A(\.default)?\.weight": "lora_A.weight",
    r"\.lora_B(\.default)?\.weight": "lora_B.weight",
    r"\.lora_B(\.default)?\.bias": "lora_B.bias",
    r"\.lora_magnitude_vector(\.default)?(\.weight)?": "lora_magnitude_vector",
    r"[._]lora[._]down\.weight": "lora_A.weight",
    r"[._]lora[._]up\.weight": "lora_B.weight",
    r"\.alpha": "alpha",
}
_TAIL = re.compile("|".join(f"(?P<s{number}>{suffix})" for number, suffix in enumerate(_SUFFIXES)) + "$")


@dataclass(frozen=True)
class AdapterFile:
    """One adapter.

    Args:
        path: the weights file.
        weights: PEFT's names, `LAYER.lora_A.weight` and the like.
        config: arguments of PEFT's `LoraConfig`.
    """

    path: Path
    weights: dict[str, Tensor]
    config: dict[str, Any]


def weights_file(source: Path) -> Path:
    """The weights file of an adapter: `source`, or the one in that folder, or in a training run's folder.

    Raises:
        NakawariError: there is none, or the choice is ambiguous.
    """
    if source.is_file():
        return source
    for folder in (source / inside for inside in _INSIDE):
        for name in (WEIGHTS, PEFT_WEIGHTS, _PEFT_PICKLE):
            if (folder / name).is_file():
                return folder / name
    files = sorted(source.glob("*.safetensors")) if source.is_dir() else []
    if len(files) > 1:
        names = ", ".join(path.name for path in files[:3])
        raise NakawariError(f"{source} holds several files that may be an adapter ({names}); name one of them.")
    if not files or (source / "model_index.json").is_file():
        raise NakawariError(
            f"{source} is not an adapter: it holds neither {WEIGHTS} nor {PEFT_WEIGHTS}; give the folder or the file "
            "that training saved."
        )
    return files[0]


def read_adapter(path: Path, network: nn.Module, family: str, renames: Mapping[str, str]) -> AdapterFile:
    """The adapter in a weights file, for `network`.

    Args:
        path: see `weights_file`.
        network: must have the adapter's layers at the same widths.
        family: of the network, for error messages.
        renames: parts of layer names in files of the family's original code -> ours.

    Raises:
        NakawariError: an unreadable file, an adapter of another model, or a missing matrix of a pair.
    """
    tensors, config = _read(path)
    layers = dict(network.named_modules())
    spelt = {name.replace(".", "_"): name for name in layers}
    weights: dict[str, Tensor] = {}
    alphas: dict[str, float] = {}
    for key, tensor in tensors.items():
        tail = _TAIL.search(key)
        stem = _PREFIX.sub("", key[: tail.start()] if tail else key, count=1)
        for old, new in renames.items():
            stem = stem.replace(old, new)
        layer = stem if stem in layers else spelt.get(stem, "")
        if tail is None or not layer or _weight(layers[layer]) is None:
            raise NakawariError(
                f"Adapter {path} is made for another model: it adapts {stem or key}, which this "
                f"{family} model lacks; use it with the model it was trained on."
            )
        part = list(_SUFFIXES.values())[int(tail.lastgroup[1:])]
        if part == "alpha":
            alphas[layer] = float(tensor)
        else:
            weights[f"{layer}.{part}"] = tensor
    ranks = _ranks(path, weights, layers, family)
    return AdapterFile(path, dict(sorted(weights.items())), _config(path, config, ranks, alphas))


def _weight(layer: nn.Module) -> Tensor | None:
    base = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
    found = getattr(base, "weight", None)
    return found if isinstance(found, Tensor) else None


def _ranks(path: Path, weights: Mapping[str, Tensor], layers: Mapping[str, nn.Module], family: str) -> dict[str, int]:
    """Layer -> rank, after checking that both matrices of each exist and fit."""
    ranks: dict[str, int] = {}
    for name in sorted({key.partition(".lora_")[0] for key in weights}):
        pair = [weights.get(f"{name}.lora_{side}.weight") for side in "AB"]
        if pair[0] is None or pair[1] is None or pair[0].shape[0] != pair[1].shape[1]:
            raise NakawariError(
                f"Adapter {path} is broken: the two matrices of {name} do not match; copy or train it again."
            )
        base = _weight(layers[name])
        assert base is not None
        for width, wanted in ((pair[0].shape[1], base.shape[1]), (pair[1].shape[0], base.shape[0])):
            if width != wanted:
                raise NakawariError(
                    f"Adapter {path} is made for another model: at {name} it is {width} wide, this model "
                    f"{wanted}; use it with the model it was trained on."
                )
        ranks[name] = pair[0].shape[0]
    return ranks


def _config(
    path: Path, said: Mapping[str, Any], ranks: Mapping[str, int], alphas: Mapping[str, float]
) -> dict[str, Any]:
    """PEFT's configuration: ranks of the matrices; alphas of the file, by default the rank."""
    rank = said.get("r")
    wrong = [name for name in ranks if rank not in (None, ranks[name])]
    if wrong and not said.get("rank_pattern"):
        raise NakawariError(
            f"Adapter {path} is broken: its header says rank {rank}, but {wrong[0]} has rank {ranks[wrong[0]]}; "
            "copy both from one training run."
        )
    each = {name: alphas.get(name, _pattern(said, name, float(said.get("lora_alpha", ranks[name])))) for name in ranks}
    common_rank, common_alpha = (Counter(values.values()).most_common(1)[0][0] for values in (ranks, each))
    return {
        "r": common_rank,
        "lora_alpha": common_alpha,
        "rank_pattern": {re.escape(name): value for name, value in ranks.items() if value != common_rank},
        "alpha_pattern": {re.escape(name): value for name, value in each.items() if value != common_alpha},
        "target_modules": "|".join(re.escape(name) for name in ranks),
        "lora_dropout": float(said.get("lora_dropout", 0.0)),
        "use_rslora": bool(said.get("use_rslora", False)),
        "use_dora": bool(said.get("use_dora", False)),
        "lora_bias": bool(said.get("lora_bias", False)),
    }


def _pattern(said: Mapping[str, Any], layer: str, default: float) -> float:
    """The alpha of a layer, as PEFT reads its patterns: the first that the layer's name ends in."""
    for pattern, alpha in (said.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern.removeprefix('^')})$", layer):
            return float(alpha)
    return default


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a weights file, and the metadata in it or in the file beside it ({} if there are none)."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".bin":
            tensors, said = torch.load(path, map_location="cpu", weights_only=True), {}
        else:
            with safe_open(path, "pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
                said = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NakawariError(f"{path} is not a readable adapter ({reason}); copy or train it again.") from error
    if not tensors:
        raise NakawariError(f"{path} holds no weights; train the adapter again.")
    if path.name != WEIGHTS and (path.parent / PEFT_CONFIG).is_file():
        said = read_json(path.parent / PEFT_CONFIG)
    if said.get("peft_type", "LORA") != "LORA":
        raise NakawariError(f"Adapter {path} is a {said['peft_type']} adapter; only LoRA adapters are read.")
    return tensors, {key.removeprefix("unet."): value for key, value in said.items()}
