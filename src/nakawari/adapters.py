"""Adapters on a denoiser: loaded strictly, mixed, merged into the weights and taken out again exactly.

An adapter is a folder as diffusers writes it (`save_lora_adapter`): `pytorch_lora_weights.safetensors` with PEFT's
configuration in its header. Where the autoencoder's decoder was adapted, too, `decoder/` beside it holds the same of
the autoencoder; where an image tower needed a linear layer of its own, `image_adapter/` lies there.
A turbo adapter, which makes its base draw in few steps, has `sampling.json` beside it: the words of a call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .errors import NakawariError
from .files import read_json, write_json

if TYPE_CHECKING:
    from peft.tuners.tuners_utils import BaseTunerLayer

    from .families.base import InterpolationPipeline

WEIGHTS = "pytorch_lora_weights.safetensors"
IMAGE_ADAPTER = "image_adapter"
DECODER = "decoder"
SAMPLING = "sampling.json"
_METADATA = "lora_adapter_metadata"


def adapter_folder(folder: Path) -> Path:
    """The folder that holds the adapter: `folder`, or its `best` where it is a run. Raises `NakawariError`."""
    for candidate in (folder, folder / "best"):
        if (candidate / WEIGHTS).is_file():
            return candidate
    raise NakawariError(f"{folder} is not an adapter: it holds no {WEIGHTS}; give the folder that training saved.")


def attach(pipeline: InterpolationPipeline, adapters: Sequence[tuple[Path, float]]) -> None:
    """Load adapters onto the denoiser, each at a scale that multiplies its own alpha / rank; they add up.

    Raises:
        NakawariError: a folder without an adapter, or an adapter made for other layers, widths or ranks.
    """
    for index, (folder, scale) in enumerate(adapters):
        folder = adapter_folder(folder)
        _load(folder, pipeline.denoiser, pipeline, f"adapter{index}")
        if (folder / DECODER).is_dir():
            _load(folder / DECODER, autoencoder(pipeline), pipeline, f"adapter{index}")
        if (folder / IMAGE_ADAPTER).is_dir():
            pipeline.load_image_adapter(folder / IMAGE_ADAPTER)
        if scale and (folder / SAMPLING).is_file():
            pipeline.sample_in_few_steps(_few_steps(folder / SAMPLING))
    scales = {f"adapter{index}": scale for index, (_, scale) in enumerate(adapters)}
    for network in adapted_networks(pipeline):
        network.train(network.training)  # a new layer's dropout would be on
        names = [name for name in network.peft_config if name in scales]
        network.set_adapters(names, [scales[name] for name in names])


def autoencoder(pipeline: InterpolationPipeline) -> nn.Module:
    """The autoencoder, whose decoder may be adapted beside the denoiser. Raises `NakawariError` where it may not."""
    found = pipeline.components.get("vae")
    if not hasattr(found, "add_adapter"):
        raise NakawariError(
            f"The decoder of a {pipeline.family} model takes no adapter; set objective.lora.decoder_rank to 0, or use "
            "an adapter without one."
        )
    return found


def adapted_networks(pipeline: InterpolationPipeline) -> list[nn.Module]:
    """The networks of a pipeline that carry adapters."""
    return [part for part in pipeline.components.values() if isinstance(part, nn.Module) and adapted_layers(part)]


def _load(folder: Path, network: nn.Module, pipeline: InterpolationPipeline, name: str) -> None:
    _check_fits(folder, network, pipeline.family)
    try:
        network.load_lora_adapter(
            folder, weight_name=WEIGHTS, adapter_name=name, prefix=None, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NakawariError(f"Adapter {folder} could not be loaded ({reason}); train it again.") from error


def save(denoiser: nn.Module, folder: Path, name: str) -> None:
    """Write the adapter `name` of a network into `folder` in diffusers' layout."""
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # it would remark on modules kept in float32, of which there are none
    try:
        denoiser.save_lora_adapter(folder, adapter_name=name)
    finally:
        logging.set_verbosity(level)


def save_turbo(denoiser: nn.Module, folder: Path, name: str, steps: int) -> None:
    """As `save`, for an adapter that draws in `steps` steps of the consistency sampler, with guidance folded in."""
    save(denoiser, folder, name)
    write_json(folder / SAMPLING, {"sampler": "consistency", "num_inference_steps": steps, "guidance_scale": 1.0})


def _few_steps(path: Path) -> int:
    words = read_json(path)
    steps = words.get("num_inference_steps") if isinstance(words, dict) else None
    if not isinstance(steps, int) or steps < 1 or words.get("sampler") != "consistency":
        raise NakawariError(
            f"{path} must name the sampler consistency and num_inference_steps of 1 or more; "
            "copy it from the training run."
        )
    return steps


def _check_fits(folder: Path, network: nn.Module, family: str) -> None:
    """Every tensor of the adapter must find its layer, at the layer's widths and at the rank that its header says."""
    shapes, config = _header(folder / WEIGHTS)
    modules = dict(network.named_modules())
    for key, shape in shapes.items():
        name, _, part = key.partition(".lora_")
        layer = modules.get(name)
        weight = getattr(layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer, "weight", None)
        if not part or weight is None:
            raise NakawariError(
                f"Adapter {folder} is made for another model: it adapts {name or key}, which this "
                f"{family} model lacks; use it with the model it was trained on."
            )
        if part in ("A.weight", "B.weight"):
            _check_shape(folder, name, part, shape, weight, config)


def _check_shape(
    folder: Path, name: str, part: str, shape: Sequence[int], weight: Tensor, config: Mapping[str, Any]
) -> None:
    inside = part == "A.weight"
    rank, width = (shape[0], shape[1]) if inside else (shape[1], shape[0])
    if width != weight.shape[1 if inside else 0]:
        raise NakawariError(
            f"Adapter {folder} is made for another model: at {name} it is {width} wide, this model "
            f"{weight.shape[1 if inside else 0]}; use it with the model it was trained on."
        )
    said = config.get("r")
    if said is not None and not config.get("rank_pattern") and rank != said:
        raise NakawariError(
            f"Adapter {folder} is broken: its header says rank {said}, but {name} has rank {rank}; "
            "copy both from one training run."
        )


def _header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """Names and shapes of a safetensors file, and PEFT's configuration from its metadata ({} without)."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - no mapping
            config = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
    except (OSError, ValueError, SafetensorError) as error:
        raise NakawariError(f"{path} is not a readable adapter ({error}); copy or train it again.") from error
    if not shapes:
        raise NakawariError(f"{path} holds no weights; train the adapter again.")
    return shapes, config


def adapted_layers(denoiser: nn.Module) -> dict[str, BaseTunerLayer]:
    """Name -> layer of all layers that carry an adapter."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name: module for name, module in denoiser.named_modules() if isinstance(module, BaseTunerLayer)}


@contextmanager
def disabled(*networks: nn.Module) -> Iterator[None]:
    """Inside the block the networks are their bases."""
    layers = [layer for network in networks for layer in adapted_layers(network).values()]
    held = [(parameter, parameter.requires_grad) for layer in layers for parameter in layer.parameters()]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for parameter, learns in held:  # switching also switches what learns
            parameter.requires_grad_(learns)


@torch.no_grad()
def merge(denoiser: nn.Module) -> dict[str, Tensor]:
    """Put the active adapters into the weights, each at its scale; no time is lost to them any more.

    Returns: the weights as they were, by layer name, for `unmerge`; {} where everything was merged already.

    Raises:
        NakawariError: the denoiser is quantized.
    """
    kept = {}
    for name, layer in adapted_layers(denoiser).items():
        if "weight" not in layer.get_base_layer()._parameters:
            raise NakawariError(
                f"Adapters cannot be merged into {name}, which is quantized; merge into the full model, then quantize."
            )
        if not layer.merged:
            kept[name] = layer.get_base_layer().weight.clone()
            layer.merge(safe_merge=True)
    return kept


@torch.no_grad()
def unmerge(denoiser: nn.Module, kept: Mapping[str, Tensor]) -> None:
    """Undo `merge` bit for bit: the weights it returned come back, the adapters stand beside them again."""
    for name, layer in adapted_layers(denoiser).items():
        if name in kept:
            layer.get_base_layer().weight.copy_(kept[name])
            layer.merged_adapters.clear()


def bake(denoiser: nn.Module) -> None:
    """Merge for good: the denoiser is a plain model afterwards, to be saved and loaded without adapters."""
    merge(denoiser)
    for name, layer in adapted_layers(denoiser).items():
        parent, _, child = name.rpartition(".")
        setattr(denoiser.get_submodule(parent), child, layer.get_base_layer())
    denoiser._hf_peft_config_loaded = False
    if hasattr(denoiser, "peft_config"):
        del denoiser.peft_config


def bake_all(pipeline: InterpolationPipeline) -> None:
    """`bake` for every network that carries adapters."""
    for network in adapted_networks(pipeline):
        bake(network)
