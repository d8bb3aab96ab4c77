"""Description of a variant: parts, parameters, dtypes, adapters and the size of their changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ..families.base import InterpolationPipeline
from ..quantization.layers import packed_layers


@dataclass(frozen=True)
class PartReport:
    """One part of the pipeline, without adapters. `bytes` includes buffers, `parameters` does not;
    `dtypes`: dtype -> parameters in it; `modules`: quantized layer class -> count."""

    name: str
    kind: str
    parameters: int
    bytes: int
    dtypes: dict[str, int]
    quantized: dict[str, int]


@dataclass(frozen=True)
class AdapterReport:
    """One adapter. `scale`: the distinct factors on B A (alpha / rank x the variant's scale).

    `norm`: Frobenius norm of all weight changes together, scale included; `relative`: norm of each layer's change over
    that of the layer's weight, as mean and maximum, with the name of the layer with the maximum.
    """

    name: str
    active: bool
    layers: int
    parameters: int
    ranks: list[int]
    scale: list[float]
    norm: float
    relative_mean: float
    relative_max: float
    largest: str


@dataclass(frozen=True)
class VariantReport:
    """See `describe`."""

    name: str
    family: str
    parts: list[PartReport]
    adapters: list[AdapterReport]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        totals = {
            "parameters": sum(part.parameters for part in self.parts),
            "adapter_parameters": sum(adapter.parameters for adapter in self.adapters),
            "bytes": sum(part.bytes for part in self.parts),
        }
        return asdict(self) | totals


def describe(pipeline: InterpolationPipeline, name: str = "") -> VariantReport:
    """Describe a loaded variant."""
    parts = [
        _part(part, module) for part, module in sorted(pipeline.components.items()) if isinstance(module, nn.Module)
    ]
    return VariantReport(name, pipeline.family, parts, _adapters(pipeline.denoiser))


def _part(name: str, module: nn.Module) -> PartReport:
    own = [(key, value) for key, value in module.named_parameters() if "lora_" not in key]
    dtypes: Counter[str] = Counter()
    for _, parameter in own:
        dtypes[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    for layer in packed_layers(module).values():
        dtypes[layer.precision] += layer.shape.numel()
    tensors = [value for _, value in own] + list(module.buffers())
    # A quantized layer stores its weight in a custom class or an integer dtype.
    quantized = Counter(
        type(layer).__name__
        for layer in module.modules()
        if any(not value.is_floating_point() for value in _weights(layer))
    )
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return PartReport(name, type(module).__name__, sum(dtypes.values()), size, dict(dtypes), dict(quantized))


def _weights(layer: nn.Module) -> list[torch.Tensor]:
    """The layer's own tensors that hold a matrix or a kernel."""
    tensors = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
    return [tensor for tensor in tensors if tensor.ndim > 1]


@torch.no_grad()
def _adapters(denoiser: nn.Module) -> list[AdapterReport]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [(name, layer) for name, layer in denoiser.named_modules() if isinstance(layer, BaseTunerLayer)]
    names = sorted({adapter for _, layer in layers for adapter in getattr(layer, "lora_A", {})})
    return [_adapter(name, [(key, layer) for key, layer in layers if name in layer.lora_A]) for name in names]


def _adapter(name: str, layers: list[tuple[str, Any]]) -> AdapterReport:
    squares, relative = 0.0, []
    for key, layer in layers:
        change = layer.get_delta_weight(name).double()
        squares += change.square().sum().item()
        weight = layer.get_base_layer().weight
        relative.append((change.norm().item() / max(weight.double().norm().item(), 1e-30), key))
    largest = max(relative)
    return AdapterReport(
        name=name,
        active=any(name in layer.active_adapters and not layer.disable_adapters for _, layer in layers),
        layers=len(layers),
        parameters=sum(
            p.numel() for _, layer in layers for m in (layer.lora_A, layer.lora_B) for p in m[name].parameters()
        ),
        ranks=sorted({layer.r[name] for _, layer in layers}),
        scale=sorted({float(layer.scaling[name]) for _, layer in layers}),
        norm=squares**0.5,
        relative_mean=sum(value for value, _ in relative) / len(relative),
        relative_max=largest[0],
        largest=largest[1],
    )
