"""Combinators of sample streams: triplets as a source, sizes by batch, repetition, captions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from ..errors import NakawariError
from .samples import Sample
from .training_data import Drawn, Frames, Rng, crop

Times = Sequence[float]


class Stream(Protocol):
    """Samples by index, endless; each a pure function of the index."""

    def sample(self, index: int) -> dict[str, Any]:
        """Sample `index`."""
        ...


@dataclass(frozen=True)
class TripletSource:
    """Complete samples of a data set, from key to key, cropped. `random_crop` as in `ClipSource`."""

    samples: Sequence[Sample]
    random_crop: bool = True

    def draw(self, rng: Rng, num_frames: int, size: tuple[int, int], motion: float) -> Drawn:
        sample = self.samples[int(rng.integers(len(self.samples)))]
        if num_frames < len(sample.times) + 2:
            raise NakawariError(
                f"{sample.name} has {len(sample.times) + 2} frames but data.frames is {num_frames}; "
                "give at least as many as a sample has."
            )
        frames = crop(sample.read(), size, rng if self.random_crop else None)
        return Drawn(spread(frames, sample.times, num_frames), sample.name)


def places(times: Times, num_frames: int) -> list[tuple[int, int]]:
    """The two frames next to each time, of `num_frames` evenly from 0 to 1; equal if a frame has that time."""
    exact = [round(time * (num_frames - 1), 6) for time in times]
    return [(math.floor(place), math.ceil(place)) for place in exact]


def spread(frames: Frames, times: Times, num_frames: int) -> Frames:
    """Frames (N, H, W, 3) at 0, `times` and 1, as `num_frames` frames: each at its places, with cross-fades between."""
    put: dict[int, Frames] = {0: frames[0], num_frames - 1: frames[-1]}
    for frame, (low, high) in zip(frames[1:-1], places(times, num_frames), strict=True):
        put |= {low: frame, high: frame}
    known = sorted(put)
    out = np.empty((num_frames, *frames.shape[1:]), np.uint8)
    for index in range(num_frames):
        after = next(place for place in known if place >= index)
        before = max(place for place in known if place <= index)
        share = 0.0 if after == before else (index - before) / (after - before)
        out[index] = np.round((1 - share) * put[before].astype(np.float32) + share * put[after])
    return out


@dataclass(frozen=True)
class Described:
    """Samples with a `prompt` from `captions` by name, and with `known` (F,) from `times`:
    False for frames that are cross-fades."""

    stream: Stream
    captions: Mapping[str, str] | None = None
    times: Mapping[str, Times] | None = None

    def sample(self, index: int) -> dict[str, Any]:
        """Sample `index`."""
        found = self.stream.sample(index)
        if self.captions is not None:
            found["prompt"] = self.captions.get(found["name"], "")
        if self.times is not None:
            found["known"] = _known(self.times.get(found["name"]), len(found["frames"]))
        return found


def _known(times: Times | None, num_frames: int) -> torch.Tensor:
    if times is None:
        return torch.ones(num_frames, dtype=torch.bool)
    known = torch.zeros(num_frames, dtype=torch.bool)
    known[[0, num_frames - 1, *(place for pair in places(times, num_frames) for place in pair)]] = True
    return known


@dataclass(frozen=True)
class Bucketed:
    """Streams of different frame sizes, one for each batch, chosen by weight."""

    streams: Sequence[Stream]
    weights: Sequence[float]
    batch_size: int
    seed: int

    def sample(self, index: int) -> dict[str, Any]:
        """Sample `index`; those of one batch have one size."""
        shares = np.array(self.weights, float)
        rng = np.random.default_rng([self.seed, *b"bucket", index // self.batch_size])
        return self.streams[int(rng.choice(len(shares), p=shares / shares.sum()))].sample(index)


@dataclass(frozen=True)
class Repeated:
    """The first `distinct` samples of a stream, repeated with their batches in a new order each time."""

    stream: Stream
    distinct: int
    batch_size: int
    seed: int
    _orders: dict[int, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def sample(self, index: int) -> dict[str, Any]:
        """Sample `index`."""
        batch, place = divmod(index, self.batch_size)
        turn, position = divmod(batch, self.distinct // self.batch_size)
        if turn not in self._orders:
            self._orders.clear()
            count = self.distinct // self.batch_size
            self._orders[turn] = np.random.default_rng([self.seed, *b"order", turn]).permutation(count)
        return self.stream.sample(int(self._orders[turn][position]) * self.batch_size + place)


def nearest_size(frames: Frames, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The size (height, width) whose aspect is nearest that of frames (N, H, W, 3)."""
    aspect = math.log(frames.shape[2] / frames.shape[1])
    return min(sizes, key=lambda size: abs(math.log(size[1] / size[0]) - aspect))
