"""A disk cache of latents and conditions, keyed by their inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..families.base import Condition, InterpolationPipeline
from ..files import atomic_path
from ..guide import Guide
from ..guide.trial import trial_hash
from .objectives.base import Batch
from .objectives.conditions import CONTROL
from .tensors import hash_states, save_tensors

_VERSION = 2
_TUPLE, _MAPPING, _GUIDE = "references", "extra", "guide"
Encode = Callable[[Batch, Sequence[bool]], tuple[Condition, Tensor]]


class ConditionCache:
    """A folder of safetensors files, one per clip, guide on or off, prompt, frame rate, and model.

    Args:
        folder: created if missing, shared by runs and processes.
        pipeline: the model that computes the conditions; all weights except those of denoiser and ControlNet are
            part of the key.
        references: keep the decoder's reference features, which are large and only needed by a pixel term.
    """

    def __init__(self, folder: Path, pipeline: InterpolationPipeline, references: bool) -> None:
        self.folder = folder.expanduser()
        self.references = references
        self.model = model_key(pipeline)
        self.hits = self.misses = 0

    def encoded(self, batch: Batch, guided: Sequence[bool], encode: Encode) -> tuple[Condition, Tensor]:
        """As `encode`, reading cached samples and writing the others, one by one."""
        found = [self._one(batch, row, flag, encode) for row, flag in enumerate(guided)]
        conditions, latents = zip(*found, strict=True)
        device = batch["frames"].device
        return Condition.cat(conditions).map(lambda tensor: tensor.to(device)), torch.cat(latents).to(device)

    def _one(self, batch: Batch, row: int, guided: bool, encode: Encode) -> tuple[Condition, Tensor]:
        path = self._path(batch, row, guided)
        found = _read(path)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        one = {name: values[row : row + 1] for name, values in batch.items()}
        condition, latents = encode(one, [guided])
        if not self.references:
            condition = condition.replace(references=())
        _write(path, condition, latents)
        return condition, latents

    def _path(self, batch: Batch, row: int, guided: bool) -> Path:
        digest = hashlib.sha256(self.model.encode())
        words = {name: batch[name][row] for name in ("prompt", "fps") if batch.get(name) is not None}
        if batch.get("tracks") is not None and batch["tracks"][row] is not None:
            words["tracks"] = batch["tracks"][row].tolist()
        shape = list(batch["frames"].shape[1:])
        digest.update(json.dumps([_VERSION, guided, self.references, shape, words], default=str).encode())
        seen = [batch["frames"][row]] + ([batch["guide"][row]] if guided and batch.get("guide") is not None else [])
        for tensor in seen:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"


def model_key(pipeline: InterpolationPipeline) -> str:
    """SHA-256 over the pipeline's settings, the weights of all its networks except denoiser and ControlNet, and what
    its motion guide draws of a fixed gap."""
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    digest = hash_states({k: v for k, v in networks.items() if v is not pipeline.denoiser and k != CONTROL})
    digest.update(json.dumps(dict(pipeline.config), default=str, sort_keys=True).encode())
    guide = pipeline.components.get("guide")
    if guide is not None:
        digest.update(trial_hash(guide).encode())
    return digest.hexdigest()


def _write(path: Path, condition: Condition, latents: Tensor) -> None:
    tensors = {"latents of the clip": latents}
    for name, value in condition._tensors().items():
        if isinstance(value, Tensor):
            tensors[name] = value
        elif name == _TUPLE:
            tensors |= {f"{name}.{index}": part for index, part in enumerate(value)}
        elif name == _MAPPING:
            tensors |= {f"{name}.{key}": part for key, part in value.items()}
        elif name == _GUIDE and value is not None:
            tensors |= {f"{name}.{key}": part for key, part in value.tensors().items()}
    about = {"num_frames": str(condition.num_frames), "size": json.dumps(condition.size)}
    with atomic_path(path) as temporary:
        save_tensors(temporary, tensors, about)


def _read(path: Path) -> tuple[Condition, Tensor] | None:
    """The contents of a file of `_write`; None if it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError):
        return None
    latents = tensors.pop("latents of the clip")
    fields: dict[str, Any] = {name: value for name, value in tensors.items() if "." not in name}
    levels = sorted((name for name in tensors if name.startswith(f"{_TUPLE}.")), key=lambda n: int(n.split(".")[1]))
    fields[_TUPLE] = tuple(tensors[name] for name in levels)
    fields[_MAPPING] = _below(tensors, _MAPPING)
    if guide := _below(tensors, _GUIDE):
        fields[_GUIDE] = Guide(**guide)
    size = tuple(json.loads(about["size"]))
    return Condition(num_frames=int(about["num_frames"]), size=size, **fields), latents


def _below(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors named `name.KEY`, by KEY."""
    return {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
