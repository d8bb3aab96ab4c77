"""Variants passed between nodes, and their memory management by ComfyUI."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

try:
    import comfy.model_management as management
    from comfy.model_patcher import ModelPatcher
except ImportError:  # run without ComfyUI, as in tests
    management = ModelPatcher = None

_loaded: dict[str, Loaded] = {}


@dataclass(frozen=True)
class VariantName:
    """A variant by its name on the command line; loaded when something is drawn."""

    name: str


@dataclass
class Loaded:
    """A pipeline, and its handle for ComfyUI's model management (None without ComfyUI)."""

    pipeline: Any
    patcher: Any


def pipeline_of(variant: VariantName) -> Any:
    """The pipeline of a variant, on ComfyUI's device; one is cached.

    Raises:
        NakawariError: as `nakawari.variants.load`.
    """
    if variant.name not in _loaded:
        _loaded.clear()
        gc.collect()
        _loaded[variant.name] = _load(variant.name)
    found = _loaded[variant.name]
    if found.patcher is not None:
        management.load_models_gpu([found.patcher])
    return found.pipeline


def _load(name: str) -> Loaded:
    from nakawari.variants import load

    if management is None:
        return Loaded(load(name).pipeline, None)
    import torch

    # Loaded on the CPU: ComfyUI decides on its device and when it is offloaded.
    device = management.get_torch_device()
    pipeline = load(name, device, place=False).pipeline
    parts = {key: part for key, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    whole = torch.nn.ModuleDict(parts)
    return Loaded(pipeline, ModelPatcher(whole, load_device=device, offload_device=management.unet_offload_device()))
