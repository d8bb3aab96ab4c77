"""Export a ToonCrafter pipeline to the upstream single-file layout, the inverse of `convert`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...errors import NakawariError, UsageError
from ...files import atomic_path
from .checkpoint_layout import (
    COMPONENTS,
    RESAMPLER_PREFIX,
    TEXT_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    VISUAL_PREFIX,
)
from .convert import EXTRA_FILE, plan
from .pipeline import ToonCrafterPipeline
from .towers import text_keys, text_names, tower_prefix, vision_keys, vision_names

_PLAIN = {"unet": UNET_PREFIX, "vae": VAE_PREFIX, "resampler": RESAMPLER_PREFIX}


def export_checkpoint(pipeline: ToonCrafterPipeline, folder: Path, path: Path, dtype: torch.dtype) -> int:
    """Write `{"state_dict": …}` under the upstream names, which `convert_checkpoint` reads back bit for bit.

    Args:
        pipeline: a converted model with merged adapters.
        folder: the model's folder, with the upstream tensors that no component uses; they keep their formats.
        path: the file to write, atomically.
        dtype: of all other floating tensors.

    Returns: the number of tensors.

    Raises:
        UsageError: a model that the layout cannot represent: without encoders, with packed layers.
        NakawariError: the folder lacks the unused tensors, or a component is not of the upstream shape.
    """
    state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in _named(pipeline)}
    state |= _unused(folder)
    plan({name: tuple(tensor.shape) for name, tensor in state.items()}, "What would be written")
    with atomic_path(path) as temporary:
        torch.save({"state_dict": {name: tensor.contiguous() for name, tensor in state.items()}}, temporary)
    return len(state)


def _named(pipeline: ToonCrafterPipeline) -> Iterable[tuple[str, Tensor]]:
    """Every tensor of the five components under its upstream name."""
    parts: dict[str, Any] = {name: getattr(pipeline, name) for name in COMPONENTS}
    lacking = [name for name, part in parts.items() if part is None]
    if lacking:
        raise UsageError(
            f"A model with no {lacking[0]} has no upstream layout; --export-checkpoint is for models that nakawari "
            "convert made."
        )
    for component, prefix in _PLAIN.items():
        for name, tensor in parts[component].state_dict().items():
            yield prefix + name.replace("temporal_conv", "temopral_conv"), tensor
    text, image = parts["text_encoder"], parts["image_encoder"]
    yield from _tower(text, TEXT_PREFIX, text_keys(text.config.num_hidden_layers), text_names)
    yield from _tower(image, VISUAL_PREFIX, vision_keys(image.config.num_hidden_layers), vision_names)


def _tower(tower: nn.Module, prefix: str, keys: Iterable[str], names: Any) -> Iterable[tuple[str, Tensor]]:
    found, inside = tower.state_dict(), tower_prefix(tower)  # type: ignore[arg-type]
    for key in keys:
        parts = [found[inside + name] for name in names(key)]
        yield prefix + key, parts[0] if len(parts) == 1 else torch.cat(parts)


def _unused(folder: Path) -> Mapping[str, Tensor]:
    path = folder / EXTRA_FILE
    if not path.is_file():
        raise NakawariError(
            f"{folder} holds no {EXTRA_FILE}, so the checkpoint would be incomplete; export from the folder that "
            "nakawari convert wrote."
        )
    return load_file(path)
