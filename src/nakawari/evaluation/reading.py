"""The reader of per-sample CSV files, for resuming and for computing tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import NakawariError

FIXED = ("name", "level")


def read_lines(path: Path, *, cut: bool = False) -> list[list[str]]:
    """Header and lines of a CSV file, as text.

    Args:
        path: the file.
        cut: ignore an incomplete last line, left by a killed process.

    Raises:
        NakawariError: it is missing, not CSV, or its lines have different lengths.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NakawariError(f"{path} is missing; run the same nakawari evaluate again to create it.") from error
    except UnicodeDecodeError as error:
        raise NakawariError(f"{path} is not a readable CSV file; delete it and evaluate again.") from error
    if cut:
        text = text[: text.rfind("\n") + 1]
    lines = list(csv.reader(io.StringIO(text)))
    if cut:
        lines = [line for line in lines if len(line) == len(lines[0])]
    elif not lines or tuple(lines[0][: len(FIXED)]) != FIXED or any(len(line) != len(lines[0]) for line in lines):
        raise NakawariError(f"{path} is not a complete record of samples; delete it and evaluate again.")
    return lines


@dataclass(frozen=True, eq=False)
class SampleTable:
    """One row's samples in the order of the data set; NaN if a sample has no value.

    Args:
        levels: difficulty of each sample, empty if not annotated.
        mean: metric -> (N,) values under the protocol itself, averaged over seeds.
        first: the same for the first seed, whose frames are shown.
        departures: (protocol row, metric) -> (N,) values averaged over seeds.
    """

    levels: tuple[str, ...]
    mean: dict[str, np.ndarray]
    first: dict[str, np.ndarray]
    departures: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SampleTable) or self.levels != other.levels:
            return False
        pairs = ((self.mean, other.mean), (self.departures, other.departures))
        return all(
            ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key], equal_nan=True) for key in ours)
            for ours, theirs in pairs
        )

    __hash__ = None  # type: ignore[assignment]

    def values(self, main: str) -> dict[tuple[str, str], np.ndarray]:
        """(protocol row, metric) -> (N,), the protocol `main` itself first."""
        return {(main, metric): values for metric, values in self.mean.items()} | self.departures


def read_table(folder: Path, files: Mapping[str, Sequence[str]], names: Sequence[str], main: str) -> SampleTable:
    """Read a row's CSV files.

    Args:
        folder: the result.
        files: generation -> paths of its CSV files inside the folder, one a seed.
        names: samples in order, as the record lists them.
        main: the name of the protocol itself, whose generation must exist.

    Raises:
        NakawariError: a file is missing or truncated, or does not hold these samples with finite values.
    """
    if not files.get(main):
        raise NakawariError(f"{folder / 'aggregates.json'} names no CSV files for a finished row; evaluate again.")
    found: dict[tuple[str, str], np.ndarray] = {}
    levels: tuple[str, ...] = ()
    first: dict[str, np.ndarray] = {}
    for generation, paths in files.items():
        seeds = [_read(folder / path, names) for path in paths]
        columns = seeds[0][1]
        if any(other.keys() != columns.keys() for _, other in seeds):
            raise NakawariError(
                f"{folder / paths[0]} and the files of other seeds have different columns; evaluate again."
            )
        for column in columns:
            row, slash, metric = column.partition("/")
            key = (row, metric) if slash else (generation, column)
            found[key] = np.mean([other[column] for _, other in seeds], axis=0)
        if generation == main:
            levels, first = seeds[0][0], {name: values for name, values in columns.items() if "/" not in name}
    return SampleTable(
        levels,
        {metric: values for (row, metric), values in found.items() if row == main},
        first,
        {key: values for key, values in found.items() if key[0] != main},
    )


def _read(path: Path, names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    header, *lines = read_lines(path)
    if [line[0] for line in lines] != list(names):
        raise NakawariError(
            f"{path} does not hold the {len(names)} samples of the record; delete it and evaluate again."
        )
    values = {
        column: _numbers(path, column, [line[index] for line in lines])
        for index, column in enumerate(header)
        if index >= len(FIXED)
    }
    return tuple(line[1] for line in lines), values


def _numbers(path: Path, column: str, texts: Sequence[str]) -> np.ndarray:
    try:
        values = np.array([float(text) if text else np.nan for text in texts])
    except ValueError as error:
        raise NakawariError(
            f"{path}: column {column} holds a value that is not a number; delete the file and evaluate again."
        ) from error
    if any(text and not np.isfinite(value) for text, value in zip(texts, values, strict=True)):
        raise NakawariError(
            f"{path}: column {column} holds a value that is not finite; delete the file and evaluate again."
        )
    return values
