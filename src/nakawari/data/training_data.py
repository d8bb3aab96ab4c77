"""The training stream: an endless sequence of samples, each a pure function of (seed, index).

No state is kept between samples, so resuming is exact, and any number of workers gives the same stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import NakawariError, UsageError
from .augmentation import NONE, Augmentation, changed
from .clips import Clip
from .synthetic import SyntheticScene
from .workers import made

Rng = np.random.Generator
Frames = NDArray[np.uint8]
_TRIES = 12


class Drawn(NamedTuple):
    """`frames` (F, H, W, 3), evenly spaced unless the source specifies otherwise; a name; `fps`, the average number of
    these frames per second, 0 = unknown."""

    frames: Frames
    name: str
    fps: float = 0.0


class SampleSource(Protocol):
    """A source of samples."""

    def draw(self, rng: Rng, num_frames: int, size: tuple[int, int], motion: float) -> Drawn:
        """`num_frames` frames of `size` (H, W). `motion` in (0, 1] limits the distance of the keys, as a share of
        the source's maximum."""
        ...


@dataclass(frozen=True)
class SyntheticSource:
    """A new scene for every sample. `reach`: smallest and largest displacement, in frame widths (log-uniform).
    `min_change`: as in `ClipSource`."""

    reach: tuple[float, float] = (0.015, 0.32)
    min_change: float = 0.2

    def draw(self, rng: Rng, num_frames: int, size: tuple[int, int], motion: float) -> Drawn:
        low, high = self.reach
        scene, keys = self._scene(rng, size, math.log(low), math.log(max(low, high * motion)))
        for _ in range(_TRIES):
            if change(keys) >= self.min_change:
                break
            scene, keys = self._scene(rng, size, math.log(low), math.log(max(low, high * motion)))
        between = scene.render(np.linspace(0, 1, num_frames).tolist()[1:-1])
        return Drawn(np.concatenate([keys[:1], between, keys[1:]]), f"synthetic-{scene.seed}")

    def _scene(self, rng: Rng, size: tuple[int, int], low: float, high: float) -> tuple[SyntheticScene, Frames]:
        scene = SyntheticScene(int(rng.integers(2**62)), size, math.exp(rng.uniform(low, high)))
        return scene, scene.render([0.0, 1.0])


@dataclass(frozen=True)
class ClipSource:
    """Windows of clips, cropped. `span`: fewest and most source frames from key to key (log-uniform, rounded to a whole
    stride). `min_change`: mean absolute change between the keys, of 255, below which a window counts as static and is
    resampled. `random_crop` False takes the largest centred crop. `uneven`: share of the windows whose inner frames
    are at random instead of even times."""

    clips: Sequence[Clip]
    span: tuple[int, int] = (2, 30)
    min_change: float = 0.4
    random_crop: bool = True
    uneven: float = 0.0

    def __post_init__(self) -> None:
        if not self.clips:
            raise NakawariError("No clips to train on; give a folder with clips or use synthetic scenes only.")
        if not 1 <= self.span[0] <= self.span[1]:
            raise UsageError(f"span is {self.span}; it needs two frame counts, 1 <= fewest <= most.")

    def draw(self, rng: Rng, num_frames: int, size: tuple[int, int], motion: float) -> Drawn:
        best: tuple[float, Drawn] | None = None
        for _ in range(_TRIES):
            clip = self.clips[int(rng.integers(len(self.clips)))]
            stride = self._stride(rng, num_frames, motion)
            # No random number is drawn if not needed, so that streams of earlier revisions are unchanged.
            even = not self.uneven or rng.random() >= self.uneven
            window = clip.sample_window(rng, num_frames, stride, even)
            if window is None:
                stride, window = 1, clip.sample_window(rng, num_frames, 1)
            if window is None:
                continue
            frames = crop(window, size, rng if self.random_crop else None)
            moved = change(frames)
            if best is None or moved > best[0]:
                best = moved, Drawn(frames, clip.name, clip.fps / stride)
            if moved >= self.min_change:
                break
        if best is None:
            raise NakawariError(
                f"No clip has {num_frames} frames (the longest has {max(len(c.frames) for c in self.clips)}); "
                "give longer clips or fewer frames."
            )
        return best[1]

    def _stride(self, rng: Rng, num_frames: int, motion: float) -> int:
        low, high = self.span
        span = math.exp(rng.uniform(math.log(low), math.log(max(low, high * motion))))
        return max(1, round(span / max(1, num_frames - 1)))


def change(frames: Frames) -> float:
    """Mean absolute difference between the first and the last frame, of 255."""
    return float(np.abs(frames[0].astype(np.int16) - frames[-1]).mean())


def crop(frames: Frames, size: tuple[int, int], rng: Rng | None) -> Frames:
    """Crop one window (the same for all frames) of about the aspect ratio of `size` and resize it to `size` (height,
    width).

    With `rng`: at native resolution, or scaled by a random factor, with its aspect ratio changed by at most 3 %;
    upscaled by at most 4/3. Without: the largest centred window.
    """
    import cv2

    height, width = frames.shape[1:3]
    largest = min(height / size[0], width / size[1])
    if rng is None:
        tall, wide, top_share, left_share = largest * size[0], largest * size[1], 0.5, 0.5
    else:
        zoom = _zoom(rng, largest)
        squeeze = 1.0 if zoom == 1 else math.exp(rng.uniform(-0.015, 0.015))
        tall, wide = zoom * size[0] * squeeze, zoom * size[1] / squeeze
        top_share, left_share = rng.uniform(0, 1, 2)
    rows, columns = min(height, max(1, round(tall))), min(width, max(1, round(wide)))
    top, left = round(top_share * (height - rows)), round(left_share * (width - columns))
    cut = np.ascontiguousarray(frames[:, top : top + rows, left : left + columns])
    if (rows, columns) == size:
        return cut
    method = cv2.INTER_AREA if rows > size[0] else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (size[1], size[0]), interpolation=method) for frame in cut])


def _zoom(rng: Rng, largest: float) -> float:
    """Source pixels per target pixel."""
    kind = rng.random()
    if largest >= 1 and kind < 0.4:
        return 1.0
    return largest if kind > 0.8 else float(rng.uniform(min(0.75, largest), largest))


@dataclass(frozen=True)
class MixedSource:
    """Several sources, chosen with the given weights."""

    parts: Sequence[tuple[SampleSource, float]]

    def __post_init__(self) -> None:
        if not self.parts or any(weight < 0 for _, weight in self.parts) or sum(w for _, w in self.parts) <= 0:
            raise UsageError("The sources' weights must be zero or more, and one of them above zero.")

    def draw(self, rng: Rng, num_frames: int, size: tuple[int, int], motion: float) -> Drawn:
        weights = np.array([weight for _, weight in self.parts], float)
        source, _ = self.parts[int(rng.choice(len(weights), p=weights / weights.sum()))]
        return source.draw(rng, num_frames, size, motion)


@dataclass(frozen=True)
class Curriculum:
    """`motion` grows from `start` to 1 over the first `samples` samples; 0 samples: 1 from the beginning."""

    start: float = 0.3
    samples: int = 0

    def __call__(self, index: int) -> float:
        if index >= self.samples:
            return 1.0
        return self.start + (1 - self.start) * index / self.samples


@dataclass(frozen=True)
class TrainingSamples(Dataset[dict[str, Any]]):
    """The stream. `num_frames`: the counts to choose from, one for each batch. `size`: (height, width).

    `sample(i)` and `batch(i)` depend only on (seed, i); batch i holds samples i·batch_size to (i+1)·batch_size - 1.
    """

    source: SampleSource
    num_frames: Sequence[int]
    size: tuple[int, int]
    batch_size: int = 8
    seed: int = 0
    augmentation: Augmentation = NONE
    curriculum: Curriculum = Curriculum()

    def __post_init__(self) -> None:
        if not self.num_frames or min(self.num_frames) < 2:
            raise UsageError(f"num_frames is {list(self.num_frames)}; it needs one or more counts, each at least 2.")
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}; it must be at least 1.")

    def frames_of_batch(self, index: int) -> int:
        """Number of frames of the samples of batch `index`."""
        return int(_rng(self.seed, "batch", index).choice(list(self.num_frames)))

    def sample(self, index: int) -> dict[str, Any]:
        """`frames` (F, 3, H, W) float32 in [-1, 1], the first and the last being the keys; `name`; `fps` as `Drawn`."""
        rng = _rng(self.seed, "sample", index)
        count = self.frames_of_batch(index // self.batch_size)
        drawn = self.source.draw(rng, count, self.size, self.curriculum(index))
        frames = changed(drawn.frames, self.augmentation.draw(rng))
        tensor = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
        return {"frames": tensor.float() / 127.5 - 1, "name": drawn.name, "fps": drawn.fps}

    def batch(self, index: int) -> dict[str, Tensor | list[str]]:
        """`frames` (B, F, 3, H, W) float32 in [-1, 1]; `name`: B names."""
        samples = [self.sample(index * self.batch_size + k) for k in range(self.batch_size)]
        return {"frames": torch.stack([s["frames"] for s in samples]), "name": [s["name"] for s in samples]}

    def __getitem__(self, index: int) -> dict[str, Tensor | list[str]]:
        return self.batch(index)

    def batches(self, first: int, last: int, workers: int = 0) -> Iterator[dict[str, Any]]:
        """Batches `first` to `last` - 1 in order, loaded by `workers` processes (0: this one)."""
        return made(self, range(first, last), workers, pin_memory=torch.cuda.is_available())


def _rng(seed: int, purpose: str, index: int) -> Rng:
    return np.random.default_rng([seed, *purpose.encode(), index])
