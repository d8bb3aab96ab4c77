"""Named tensors on disk, safetensors only, read strictly."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import NakawariError
from ..files import atomic_path


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that is moved to `path` if the block succeeds."""
    with atomic_path(path) as folder:
        folder.mkdir()
        try:
            yield folder
        except SafetensorError as error:  # safetensors' error for a full disk
            raise OSError(str(error)) from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: dict[str, str] | None = None) -> None:
    """Write `tensors`, each as a contiguous copy, with `about` in the header. Raises `OSError` on a full disk."""
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        save_file(copies, path, metadata=about)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def load_tensors(path: Path, names: Collection[str]) -> dict[str, Tensor]:
    """Read tensors onto the CPU; a missing or unexpected name raises `NakawariError`."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise NakawariError(f"{path} cannot be read ({error}); resume from another checkpoint.") from error
    differing = sorted(set(names) ^ set(tensors))
    if differing:
        raise NakawariError(
            f"{path} does not fit this model: {len(differing)} tensors are missing or unexpected, the first is "
            f"{differing[0]}; resume with the recipe that the run was started with."
        )
    return tensors


def hash_states(networks: Mapping[str, nn.Module]) -> hashlib._Hash:
    """A running SHA-256 over all parameters and buffers that the networks save, under their names."""
    digest = hashlib.sha256()
    for name, network in sorted(networks.items()):
        for key, value in network.state_dict().items():
            digest.update(f"{name}.{key}:{value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest
