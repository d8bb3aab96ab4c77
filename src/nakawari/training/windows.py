"""Windows: whole frames with the model's guide at their in-betweens, computed once; training crops are cut from them.

Optical flow between crops differs from that between whole pictures, and costs far more than the training step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..data.arranged import Stream
from ..data.augmentation import NONE, Augmentation, Changes
from ..data.workers import made
from ..files import mapped_array, only_one, read_json, remove, write_json, write_text
from ..guide import Guide, GuideMaker
from ..guide.trial import trial_hash

_VERSION = 3
_NAMES = "names.json"
_SO_FAR = "names-so-far.jsonl"
Size = tuple[int, int]


class _Guided(Dataset[tuple[str, dict[str, Tensor]]]):
    """Samples of a stream as bytes, with the guide at their in-betweens."""

    def __init__(self, stream: Stream, count: int, guide: GuideMaker) -> None:
        self.stream, self.count, self.guide = stream, count, guide

    def __len__(self) -> int:
        return self.count

    @torch.no_grad()
    def __getitem__(self, index: int) -> tuple[str, dict[str, Tensor]]:
        sample = self.stream.sample(index)
        frames = sample["frames"]
        guide = self.guide(frames[:1], frames[-1:], torch.linspace(0, 1, len(frames))[1:-1])
        return sample["name"], {
            "frames": _picture_bytes(frames),
            "starts": _picture_bytes(guide.start[0]),
            "ends": _picture_bytes(guide.end[0]),
            "trusts": _bytes(guide.trust[0]),
            "motions": guide.motion[0].half(),  # does not fit a byte
        }


def prepare_windows(
    stream: Stream,
    count: int,
    guide: GuideMaker,
    key: str,
    cache: Path,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the first `count` samples of `stream`, with their guides, below `cache`; existing ones are kept, also
    those of a killed process.

    Args:
        key: identifies the samples; what the guide draws of a fixed gap is added to it.
        workers: processes that share the work.
        progress: called with windows done and total windows.

    Returns:
        The folder, for `Windows`.

    Raises:
        NakawariError: a sample cannot be made, or the disk has too little space.
    """
    about = [_VERSION, key, count, trial_hash(guide)]
    digest = hashlib.sha256(json.dumps(about, default=str, sort_keys=True).encode()).hexdigest()
    folder = cache.expanduser() / f"windows-{digest[:16]}"
    if (folder / _NAMES).is_file():
        return folder
    with only_one(folder):
        if not (folder / _NAMES).is_file():  # made by the process that held the lock
            _write(folder, _Guided(stream, count, guide), workers, progress)
    return folder


def _write(folder: Path, guided: _Guided, workers: int, progress: Callable[[int, int], None] | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = _made_before(folder / _SO_FAR)
    pools = {path.stem: np.load(path, mmap_mode="r+") for path in folder.glob("*.npy")} if names else {}
    with (folder / _SO_FAR).open("a", encoding="utf-8") as log:
        try:
            for name, arrays in made(guided, range(len(names), guided.count), workers):
                pools = pools or _new_pools(folder, guided.count, arrays)
                for kind, pool in pools.items():
                    pool[len(names)] = arrays[kind].numpy()
                names.append(name)
                log.write(json.dumps(name) + "\n")
                log.flush()
                if progress is not None:
                    progress(len(names), guided.count)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(
                f"interrupted with {len(names)} of {guided.count} windows made; they are kept, and the same command "
                "resumes with them."
            ) from error
    for pool in pools.values():
        pool.flush()
    write_json(folder / _NAMES, names)
    remove(folder / _SO_FAR)


def _made_before(log: Path) -> list[str]:
    """The names of the windows already in the pools; a truncated line is ignored."""
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.is_file() else []
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        write_text(log, "".join(whole))
    return [json.loads(line) for line in whole]


def _new_pools(folder: Path, count: int, arrays: dict[str, Tensor]) -> dict[str, np.memmap]:
    pools = {}
    for kind, tensor in arrays.items():
        if tensor.numel():
            array = tensor.numpy()
            pools[kind] = mapped_array(folder / f"{kind}.npy", array.dtype, (count, *array.shape))
    return pools


@dataclass(frozen=True)
class Windows:
    """Crops of prepared windows, an endless stream; sample `index` depends only on (seed, index).

    Args:
        folder: the result of `prepare_windows`.
        size: height and width of a crop, at most those of the windows.
        augmentation: applied to frames and guide alike.
    """

    folder: Path
    size: Size
    seed: int
    augmentation: Augmentation = NONE

    @cached_property
    def _pools(self) -> dict[str, NDArray[Any]]:
        return {path.stem: np.load(path, mmap_mode="r") for path in self.folder.glob("*.npy")}

    @cached_property
    def _names(self) -> list[str]:
        return read_json(self.folder / _NAMES)

    def __reduce__(self) -> tuple[Any, ...]:
        return Windows, (self.folder, self.size, self.seed, self.augmentation)

    def sample(self, index: int) -> dict[str, Any]:
        """`frames` (F, 3, H, W), `guide` (F, 13, H, W), see `Guide.stacked`, and `name`."""
        rng = np.random.default_rng([self.seed, *b"window", index])
        window = int(rng.integers(len(self._names)))
        whole = self._pools["frames"].shape[-2:]
        top, left = (int(rng.integers(have - want + 1)) for have, want in zip(whole, self.size, strict=True))
        place = window, ..., slice(top, top + self.size[0]), slice(left, left + self.size[1])
        cut = {kind: torch.from_numpy(pool[place].copy()).float() for kind, pool in self._pools.items()}
        clip = cut["frames"] / 127.5 - 1
        between = Guide(
            start=_pictures(cut["starts"])[None],
            end=_pictures(cut["ends"])[None],
            time=torch.linspace(0, 1, len(clip))[None, 1:-1],
            trust=cut["trusts"][None] / 255,
            motion=cut["motions"][None],
            guided=torch.ones(1),
        )
        guide = _with_keys(between, clip)
        clip, guide = changed(clip, guide, self.augmentation.draw(rng))
        return {"frames": clip, "guide": guide.stacked()[0], "name": self._names[window]}


def changed(frames: Tensor, guide: Guide, changes: Changes) -> tuple[Tensor, Guide]:
    """Frames (F, 3, H, W) and their guide (of one clip) with the augmentation `changes`."""
    if changes.mirror:
        frames, guide = frames.flip(-1), _mirrored(guide, -1, torch.tensor([-1.0, 1.0]))
    if changes.flip:
        frames, guide = frames.flip(-2), _mirrored(guide, -2, torch.tensor([1.0, -1.0]))
    if changes.reverse:
        frames, guide = frames.flip(0), _reversed(guide)
    if changes.channels is not None:
        order = torch.tensor(changes.channels)
        frames, guide = frames[:, order], replace(guide, start=guide.start[:, :, order], end=guide.end[:, :, order])
    if changes.invert:
        frames, guide = -frames, replace(guide, start=-guide.start, end=-guide.end)
    return frames, guide


def _mirrored(guide: Guide, axis: int, direction: Tensor) -> Guide:
    """A guide flipped along `axis`; `direction`, x and y: factors of the motion's signs."""
    flipped = guide.map_pixels(lambda pixels: pixels.flip(axis))
    return replace(flipped, motion=flipped.motion * direction[:, None, None])


def _reversed(guide: Guide) -> Guide:
    """The guide of the same frames in reverse order, with the keys swapped."""
    back = guide.map_frames(lambda tensor: tensor.flip(1))
    return replace(
        back, start=back.end, end=back.start, time=1 - back.time, trust=back.trust.flip(2), motion=-back.motion
    )


def _with_keys(between: Guide, clip: Tensor) -> Guide:
    """The guide of all frames from that of the inner ones; at the keys of `clip` it is the key with full trust and no
    motion."""
    ends = []
    for key, time in ((clip[0], 0.0), (clip[-1], 1.0)):
        one = between.map_frames(lambda tensor: tensor[:, :1])
        picture = key[None, None]
        ends.append(
            replace(
                one,
                start=picture,
                end=picture,
                time=torch.full_like(one.time, time),
                trust=torch.ones_like(one.trust),
                motion=torch.zeros_like(one.motion),
            )
        )
    return Guide.cat([ends[0], between, ends[1]], dim=1)


def _bytes(values: Tensor) -> Tensor:
    return (values.clamp(0, 1) * 255).round().byte()


def _picture_bytes(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1] as bytes."""
    return _bytes((pictures + 1) / 2)


def _pictures(values: Tensor) -> Tensor:
    """The inverse of `_picture_bytes`."""
    return values / 255 * 2 - 1
