"""The identity of a row: hashes of all weights, adapters with their scales, the plan of precisions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from ..files import file_digest
from ..quantization.folder import tensors_hash
from ..variants import QUANTIZED, model_folder, parse
from .schema import Adapter, Identity

_ADAPTER = re.compile(r"\.lora_[A-Za-z_]+\.([^.]+)\.|\.lora_[A-Za-z_]+\.([^.]+)$")


def identity_of(pipeline: Any, source: str | None = None) -> Identity:
    """The identity of a loaded pipeline, from the tensors that it computes with.

    Args:
        pipeline: the modules among its `components` are hashed.
        source: the variant in command-line notation, if it was loaded by name.
    """
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    adapters: dict[str, list[tuple[str, Tensor]]] = {}
    hashes = {}
    for part, module in sorted(parts.items()):
        own = []
        for name, tensor in _tensors(module):
            found = _ADAPTER.search(name)
            if found:
                adapters.setdefault(found[1] or found[2], []).append((f"{part}.{name}", tensor))
            else:
                own.append((name.replace(".base_layer.", "."), tensor))
        hashes[part] = tensors_hash(own)
    spec = parse(source) if source else None
    return Identity(
        parts=hashes,
        adapters={
            name: Adapter(sha256=tensors_hash(tensors), scale=_scales(parts.values(), name))
            for name, tensors in sorted(adapters.items())
        },
        precision=spec.precision if spec else None,
        plan=_plan(spec.base) if spec else None,
        settings=_settings(pipeline, parts),
    )


def _tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """The tensors of a component; offloaded ones are fetched from their hook."""
    modules = dict(module.named_modules())
    for name, tensor in module.state_dict().items():
        if not tensor.is_meta:
            yield name, tensor
            continue
        owner, _, leaf = name.rpartition(".")
        hook = getattr(modules[owner], "_hf_hook", None)
        yield name, hook.weights_map[leaf]


def _scales(parts: Iterable[nn.Module], adapter: str) -> list[float]:
    """The distinct scales of an adapter's layers; 0 if it is disabled."""
    found = set()
    for layer in (layer for part in parts for layer in part.modules()):
        scaling = getattr(layer, "scaling", None)
        if isinstance(scaling, dict) and adapter in scaling:
            on = adapter in getattr(layer, "active_adapters", [adapter]) and not getattr(
                layer, "disable_adapters", False
            )
            found.add(float(scaling[adapter]) if on else 0.0)
    return sorted(found)


def _plan(base: str) -> str | None:
    record = model_folder(base) / QUANTIZED
    return file_digest(record).hex() if record.is_file() else None


def _said(config: Any) -> dict[str, Any]:
    """A configuration without paths, versions and classes of components."""
    items = config.to_dict() if hasattr(config, "to_dict") else config if isinstance(config, dict) else vars(config)
    return {
        key: value
        for key, value in items.items()
        if not key.startswith("_") and key != "transformers_version" and not isinstance(value, tuple)
    }


def _settings(pipeline: Any, parts: dict[str, nn.Module]) -> str:
    """SHA-256 of the configurations, without the paths and versions that saving writes into them."""
    others = {name: part for name, part in getattr(pipeline, "components", {}).items() if name not in parts}
    found = {
        name: _said(part.config)
        for name, part in {"": pipeline, **parts, **others}.items()
        if getattr(part, "config", None) is not None
    }
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()
