"""The per-sample values of one row, read back from its CSV files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import NakawariError
from ..evaluation.records import FIXED


@dataclass(frozen=True, eq=False)
class SampleTable:
    """One row's samples in the order of the data set.

    Args:
        levels: difficulty of each sample, empty where not annotated.
        mean: metric -> (N,) values averaged over seeds, NaN where a sample has none.
        first: the same for the first seed alone, whose frames filmstrips show.
    """

    levels: tuple[str, ...]
    mean: dict[str, np.ndarray]
    first: dict[str, np.ndarray]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SampleTable) or self.levels != other.levels or self.mean.keys() != other.mean.keys():
            return False
        return all(np.array_equal(self.mean[name], other.mean[name], equal_nan=True) for name in self.mean)

    __hash__ = None  # type: ignore[assignment]


def read_samples(folder: Path, files: Sequence[str], names: Sequence[str]) -> SampleTable:
    """Read a row's CSV files, one per seed; columns of the protocol's further rows (`row/metric`) are left out.

    Args:
        folder: the result.
        files: paths of the CSV files inside it.
        names: samples in order, as the record lists them.

    Raises:
        NakawariError: a file is missing, cut short, or does not hold these samples with finite values.
    """
    if not files:
        raise NakawariError(f"{folder / 'aggregates.json'} names no CSV files for a finished row; evaluate again.")
    seeds = [_read(folder / file, names) for file in files]
    levels, first = seeds[0]
    if any(columns.keys() != first.keys() for _, columns in seeds):
        raise NakawariError(f"{folder / files[0]} and the files of other seeds have different columns; evaluate again.")
    mean = {metric: np.mean([columns[metric] for _, columns in seeds], axis=0) for metric in first}
    return SampleTable(levels, mean, first)


def _read(path: Path, names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except FileNotFoundError as error:
        raise NakawariError(f"{path} is missing; run the same nakawari evaluate again to make it.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise NakawariError(f"{path} is not a readable CSV file; delete it and evaluate again.") from error
    if tuple(header[: len(FIXED)]) != FIXED or any(len(line) != len(header) for line in lines):
        raise NakawariError(f"{path} is not a whole record of samples; delete it and evaluate again.")
    if [line[0] for line in lines] != list(names):
        raise NakawariError(
            f"{path} does not hold the {len(names)} samples of the record; delete it and evaluate again."
        )
    values = {
        column: _numbers(path, column, [line[index] for line in lines])
        for index, column in enumerate(header)
        if index >= len(FIXED) and "/" not in column
    }
    return tuple(line[1] for line in lines), values


def _numbers(path: Path, column: str, texts: list[str]) -> np.ndarray:
    try:
        values = np.array([float(text) if text else np.nan for text in texts])
    except ValueError as error:
        raise NakawariError(
            f"{path}: column {column} holds what is not a number; delete the file and evaluate again."
        ) from error
    if any(text and not np.isfinite(value) for text, value in zip(texts, values, strict=True)):
        raise NakawariError(
            f"{path}: column {column} holds a value that is not finite; delete the file and evaluate again."
        )
    return values
