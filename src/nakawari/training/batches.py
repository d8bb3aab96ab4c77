"""The samples of a step: a pure function of the step, independent of micro-batches and processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch.utils.data import Dataset

from ..data.workers import made
from ..errors import UsageError
from .objectives.base import Batch, collate


class Samples(Protocol):
    """Training data: sample `index` of an endless order, a pure function of the data's seed and `index`.

    A sample is a mapping with at least `frames` (F, 3, H, W) in [-1, 1] and `name`.
    """

    def sample(self, index: int) -> dict[str, Any]:
        """Sample `index`."""
        ...


class Indexed(Dataset):
    """A dataset view of `Samples`; adds each sample's index."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.samples.sample(index), "index": index}


def check_divides(batch_size: int, accumulation: int, processes: int) -> None:
    """Raise `UsageError` if a global batch cannot be divided evenly."""
    if batch_size % (accumulation * processes):
        raise UsageError(
            f"optim.batch_size {batch_size} cannot be split evenly into optim.accumulation {accumulation} times "
            f"{processes} processes; change one of them."
        )


class StepIndices:
    """Index lists, one per micro-batch of this process, from optimizer step `first` to `last` (exclusive)."""

    def __init__(self, first: int, last: int, batch_size: int, accumulation: int, rank: int, processes: int) -> None:
        check_divides(batch_size, accumulation, processes)
        self.first, self.last = first, last
        self.batch_size, self.accumulation = batch_size, accumulation
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return (self.last - self.first) * self.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        size = self.batch_size // (self.accumulation * self.processes)
        for step in range(self.first, self.last):
            for micro in range(self.accumulation):
                start = step * self.batch_size + (micro * self.processes + self.rank) * size
                yield list(range(start, start + size))


def batches(samples: Samples, indices: StepIndices, workers: int) -> Iterator[Batch]:
    """Collated micro-batches in order, loaded by `workers` processes (0 = this one)."""
    return made(Indexed(samples), indices, workers, collate)
