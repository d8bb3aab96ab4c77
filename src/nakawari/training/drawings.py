"""A disk cache of a teacher's drawings: each is sampled once and shared by runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..files import atomic_path
from .objectives.base import Batch
from .objectives.conditions import keys_of, tracks_of
from .teacher import Teacher
from .tensors import save_tensors

_VERSION = 1
_NAME = "latents"


class Drawings:
    """A folder of safetensors files, one per drawing, keyed by keys, number of frames, guidance, prompt, frame rate,
    and the teacher with its weights and settings.

    Args:
        teacher: draws missing ones.
        folder: created if missing, shared by runs and processes; None = no cache.
    """

    def __init__(self, teacher: Teacher, folder: Path | None) -> None:
        self.teacher, self.folder = teacher, None if folder is None else folder.expanduser()
        self.hits = self.misses = 0

    @cached_property
    def _key(self) -> str:
        """The teacher's key, over its weights; takes seconds for a large teacher."""
        return self.teacher.key()

    def latents(self, batch: Batch, guided: Sequence[bool]) -> Tensor:
        """Clean latents (B, F, C, h, w) of the drawings between the keys of `batch`, sample i with motion guidance
        where `guided[i]`; float32."""
        found = [self._one(batch, row, flag) for row, flag in enumerate(guided)]
        return torch.cat(found).to(batch["frames"].device)

    def _one(self, batch: Batch, row: int, guided: bool) -> Tensor:
        if self.folder is None:
            return self.teacher.draw({name: values[row : row + 1] for name, values in batch.items()}, guided)
        path = self._path(self.folder, batch, row, guided)
        found = _read(path)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        one = {name: values[row : row + 1] for name, values in batch.items()}
        drawn = self.teacher.draw(one, guided).cpu().contiguous()
        with atomic_path(path) as temporary:
            save_tensors(temporary, {_NAME: drawn})
        return drawn

    def _path(self, folder: Path, batch: Batch, row: int, guided: bool) -> Path:
        frames = batch["frames"][row : row + 1]
        words = {name: batch[name][row] for name in ("prompt", "fps") if batch.get(name) is not None}
        about = [_VERSION, self._key, guided, list(frames.shape[1:]), words]
        digest = hashlib.sha256(json.dumps(about, default=str).encode())
        for key in keys_of(frames):
            digest.update(key.detach().cpu().contiguous().numpy().tobytes())
        if (tracks := tracks_of(self.teacher.pipeline, batch)) is not None:
            digest.update(np.asarray(tracks[row], np.float32).tobytes())
        if guided and batch.get("guide") is not None:
            digest.update(batch["guide"][row].detach().cpu().contiguous().numpy().tobytes())
        name = digest.hexdigest()
        return folder / name[:2] / f"{name}.safetensors"


def _read(path: Path) -> Tensor | None:
    """The latents in a file; None if it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        return load_file(path)[_NAME]
    except (OSError, KeyError, SafetensorError):
        return None
