"""Evaluation samples: two key frames and, if known, the true frames between them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariError
from ..media import read_rgb

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Region:
    """A rectangle; `x`, `y`: its top left corner.

    `of`: width and height of the frame in whose pixels it is given; None: those of the sample's own pictures.
    """

    x: int
    y: int
    width: int
    height: int
    of: tuple[int, int] | None = None

    def within(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """x, y, width, height in pixels of a picture of `size` (width, height), each rounded down, as AnimeInterp does
        with ATD-12K's boxes, which are given in pixels of the film."""
        wide, high = self.of or size
        x, width = (value * size[0] // wide for value in (self.x, self.width))
        y, height = (value * size[1] // high for value in (self.y, self.height))
        return x, y, width, height


@dataclass(frozen=True)
class Sample:
    """One sample, whose pictures are read on demand.

    `keys`: start and end. `truth`: the drawings between, in order, empty for a pair. `times`: the time of each true
    frame, strictly between 0 (start) and 1 (end). `level`: "easy", "medium", "hard" or "" (not annotated). `tags`:
    kinds of motion. `roi`: region of the motion. `caption`: a prompt, "" for none. `group`: the source film or
    clip; samples of one group are not independent.
    """

    name: str
    keys: tuple[Path, Path]
    truth: tuple[Path, ...] = ()
    times: tuple[float, ...] = ()
    level: str = ""
    tags: tuple[str, ...] = ()
    roi: Region | None = None
    caption: str = ""
    group: str = ""

    def read_keys(self) -> Frames:
        """(2, H, W, 3) uint8 RGB. Raises `NakawariError` for a broken file or two sizes."""
        return _read(self.keys)

    def read_truth(self) -> Frames:
        """(N, H, W, 3) uint8 RGB, one for each of `times`; N = 0 for a pair."""
        if not self.truth:
            return np.zeros((0, *self.read_keys().shape[1:]), np.uint8)
        return _read(self.truth)

    def read(self) -> Frames:
        """All frames in order: start, truth, end, (N + 2, H, W, 3)."""
        return _read((self.keys[0], *self.truth, self.keys[1]))


def spread(samples: Sequence[Sample], count: int | None, seed: int = 0) -> list[Sample]:
    """`count` samples spread over the films, in their original order; all of them for None.

    Films alternate in a seeded order, each with its samples in a seeded order, so a smaller count is a subset of a
    larger one, and the choice depends only on the names.
    """
    if count is None or count >= len(samples):
        return list(samples)

    def drawn(name: str) -> str:
        return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()

    turns: Counter[str] = Counter()
    order: list[tuple[int, str, str]] = []
    for sample in sorted(samples, key=lambda sample: drawn(sample.name)):
        film = sample.group or sample.name
        order.append((turns[film], drawn(film), sample.name))
        turns[film] += 1
    chosen = {name for *_, name in sorted(order)[:count]}
    return [sample for sample in samples if sample.name in chosen]


def even_times(count: int) -> tuple[float, ...]:
    """Times of `count` frames evenly spaced between two keys."""
    return tuple((k + 1) / (count + 1) for k in range(count))


def _read(paths: Sequence[Path]) -> Frames:
    frames = [read_rgb(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            height, width = frame.shape[:2]
            raise NakawariError(
                f"{path} is {width}x{height} but {paths[0].name} is {frames[0].shape[1]}x{frames[0].shape[0]}; "
                "export all frames of a sample at one size."
            )
    return np.stack(frames)


@dataclass(frozen=True)
class Dataset(Sequence[Sample]):
    """Samples sorted by name. `layout`: the recognised layout. `skipped`: one sentence for each skipped folder."""

    root: Path
    layout: str
    samples: tuple[Sample, ...]
    skipped: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def files(self) -> list[Path]:
        """Every picture of every sample, for a fingerprint."""
        return sorted({path for sample in self.samples for path in (*sample.keys, *sample.truth)})
