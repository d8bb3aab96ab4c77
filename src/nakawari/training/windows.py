"""Windows: whole frames with the model's guide at their in-betweens, made once; training cuts its crops from them.

A flow between crops is not the flow between the pictures, and it costs far more than the training step that reads it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ..data.arranged import Stream
from ..data.training_data import fresh_processes
from ..files import atomic_path, read_json, write_json
from .batches import prepare_worker

_VERSION = 2
_PICTURES = 6  # the guide's first channels, both warped keys, in [-1, 1]; the others are in [0, 1]
_TIME = 8
_MOTION = 11  # where motion begins, which no byte can hold
Size = tuple[int, int]


class _Guided(Dataset[tuple[str, dict[str, Tensor]]]):
    """Samples of a stream, pictures as bytes, with the guide at their in-betweens."""

    def __init__(self, stream: Stream, count: int, guide: nn.Module) -> None:
        self.stream, self.count, self.guide = stream, count, guide

    def __len__(self) -> int:
        return self.count

    @torch.no_grad()
    def __getitem__(self, index: int) -> tuple[str, dict[str, Tensor]]:
        sample = self.stream.sample(index)
        frames = sample["frames"]
        times = torch.linspace(0, 1, len(frames))[1:-1]
        guide = self.guide(frames[:1], frames[-1:], times)[0]
        guides, motions = _bytes(_to_unit(guide[:, :_MOTION])), guide[:, _MOTION:].half()
        return sample["name"], {"frames": _bytes((frames + 1) / 2), "guides": guides, "motions": motions}


def prepare_windows(stream: Stream, count: int, guide: nn.Module, key: str, cache: Path, workers: int) -> Path:
    """Make the first `count` samples of `stream`, with their guides, below `cache`; nothing where they are there.

    Args:
        key: says what the samples are made of; the guide's own settings are added to it.
        workers: processes that share the work.

    Returns:
        The folder, for `Windows`.
    """
    about = [_VERSION, key, count, {k: v for k, v in dict(guide.config).items() if k[0] != "_"}]
    digest = hashlib.sha256(json.dumps(about, default=str, sort_keys=True).encode()).hexdigest()
    folder = cache.expanduser() / f"windows-{digest[:16]}"
    if (folder / "names.json").is_file():
        return folder
    stream.sample(0)  # what cannot be drawn is said here, in one sentence, and not by a worker
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        _write(temporary, _Guided(stream, count, guide), workers)
    return folder


def _write(folder: Path, made: _Guided, workers: int) -> None:
    loader = DataLoader(
        made,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=prepare_worker,
        multiprocessing_context=fresh_processes() if workers else None,
    )
    pools: dict[str, np.memmap] = {}
    names = []
    for index, (name, arrays) in enumerate(loader):
        for kind, tensor in arrays.items():
            array = tensor.numpy()
            if kind not in pools and array.size:
                shape = (made.count, *array.shape)
                pools[kind] = np.lib.format.open_memmap(folder / f"{kind}.npy", "w+", array.dtype, shape)
            if kind in pools:
                pools[kind][index] = array
        names.append(name)
    for pool in pools.values():
        pool.flush()
    write_json(folder / "names.json", names)


@dataclass(frozen=True)
class Windows:
    """Crops of prepared windows, an endless stream; sample `index` depends on (seed, index) alone.

    Args:
        folder: what `prepare_windows` made.
        size: height and width of a crop; never larger than the windows.
        augment: mirror, reverse in time, exchange and invert colours, frames and guide alike.
    """

    folder: Path
    size: Size
    seed: int
    augment: bool = True

    @cached_property
    def _pools(self) -> dict[str, NDArray[Any]]:
        return {path.stem: np.load(path, mmap_mode="r") for path in self.folder.glob("*.npy")}

    @cached_property
    def _names(self) -> list[str]:
        return read_json(self.folder / "names.json")

    def __reduce__(self) -> tuple[Any, ...]:
        return Windows, (self.folder, self.size, self.seed, self.augment)

    def sample(self, index: int) -> dict[str, Any]:
        """`frames` (F, 3, H, W) and `guide` (F, G, H, W), see `nakawari.guide`; `name`."""
        rng = np.random.default_rng([self.seed, *b"window", index])
        window = int(rng.integers(len(self._names)))
        whole = self._pools["frames"].shape[-2:]
        top, left = (int(rng.integers(have - want + 1)) for have, want in zip(whole, self.size, strict=True))
        place = window, ..., slice(top, top + self.size[0]), slice(left, left + self.size[1])
        cut = {kind: torch.from_numpy(pool[place].copy()).float() for kind, pool in self._pools.items()}
        clip = cut["frames"] / 127.5 - 1
        between = torch.cat([_from_unit(cut["guides"] / 255), *([cut["motions"]] if "motions" in cut else [])], dim=1)
        times = torch.linspace(0, 1, len(clip))
        between[:, _TIME] = times[1:-1, None, None]
        guide = torch.cat([_at_key(clip[0], 0.0, between), between, _at_key(clip[-1], 1.0, between)])
        if self.augment:
            clip, guide = augmented(clip, guide, rng)
        return {"frames": clip, "guide": guide, "name": self._names[window]}


def augmented(frames: Tensor, guide: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Frames (F, 3, H, W) and their guide, mirrored, reversed in time and with other colours, both alike."""
    if rng.random() < 0.5:
        frames, guide = frames.flip(-1), _mirrored(guide, -1, _MOTION)
    if rng.random() < 0.2:
        frames, guide = frames.flip(-2), _mirrored(guide, -2, _MOTION + 1)
    if rng.random() < 0.5:
        frames, guide = frames.flip(0), _reversed(guide)
    if rng.random() < 0.5:
        order = torch.from_numpy(rng.permutation(3))
        frames = frames[:, order]
        guide = torch.cat([guide[:, :3][:, order], guide[:, 3:6][:, order], guide[:, 6:]], dim=1)
    if rng.random() < 0.1:
        frames, guide = -frames, torch.cat([-guide[:, :_PICTURES], guide[:, _PICTURES:]], dim=1)
    return frames, guide


def _mirrored(guide: Tensor, axis: int, motion: int) -> Tensor:
    """Mirrored along `axis`; the channel `motion` of the guide, where it has that, points along it."""
    guide = guide.flip(axis)
    guide[:, motion : motion + 1] *= -1
    return guide


def _reversed(guide: Tensor) -> Tensor:
    """The guide of the same frames from last to first: the two keys change places."""
    guide = guide.flip(0)
    first, last, seen, time = guide[:, : _TIME + 1].split([3, 3, 2, 1], dim=1)
    trust, motion = guide[:, _TIME + 1 : _MOTION].flip(1), -guide[:, _MOTION:]
    return torch.cat([last, first, seen.flip(1), 1 - time, trust, motion], dim=1)


def _at_key(key: Tensor, time: float, like: Tensor) -> Tensor:
    """The guide (1, G, H, W) at a key, which is the key itself, seen, trusted and at rest."""
    found = torch.ones_like(like[:1])
    found[0, :3], found[0, 3:6], found[0, _TIME], found[0, _MOTION:] = key, key, time, 0
    return found


def _to_unit(guide: Tensor) -> Tensor:
    return torch.cat([(guide[:, :_PICTURES] + 1) / 2, guide[:, _PICTURES:]], dim=1)


def _from_unit(guide: Tensor) -> Tensor:
    return torch.cat([guide[:, :_PICTURES] * 2 - 1, guide[:, _PICTURES:]], dim=1)


def _bytes(values: Tensor) -> Tensor:
    return (values.clamp(0, 1) * 255).round().byte()
