"""Read the results of evaluations, check them, and join them into one table."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from ..errors import NakawariError, UsageError
from ..evaluation.aggregate import (
    Finished,
    aggregate,
    comparisons,
    entry_folder,
    level_indices,
    metric_columns,
)
from ..evaluation.checking import check
from ..evaluation.protocol import Protocol
from ..evaluation.reading import SampleTable, read_table
from ..evaluation.schema import Aggregates, Difference, Entry, Made, MetricInfo, Record
from ..evaluation.statistics import Interval
from ..files import read_json
from .tables import digits

ROLES = ("floor", "anchor", "peer", "model", "ceiling")
UNGUIDED = " (unguided)"
COMPANION = ": "
"""Separator between a model's name and the part that a row evaluates: `guide alone`, `autoencoder`."""
_FREE = ("batch_size", "description")


@dataclass(frozen=True)
class Row:
    """A finished row of the joined table: its record, its samples, and the folder of its frames.

    `also`: full names of identical rows, such as the autoencoder of several variants.
    """

    entry: Entry
    label: str
    samples: SampleTable
    folder: Path
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The row's full name."""
        return self.entry.name

    def interval(self, protocol_row: str, metric: str, level: str = "all") -> Interval | None:
        """The mean of a metric under the protocol or a departure; None if it was not measured."""
        return self.entry.results.get(protocol_row, {}).get(metric, {}).get(level)

    @property
    def frames(self) -> Path:
        """The folder of its saved frames, with one subfolder per seed."""
        return self.folder / "frames" / entry_folder(self.entry)


@dataclass(frozen=True)
class Source:
    """One result folder of the report."""

    name: str
    record: Record
    sha256: str


@dataclass(frozen=True)
class Evidence:
    """The joined data of a report, from one or more results of one protocol.

    Args:
        protocol: the common protocol.
        metrics: columns, in order.
        rows: finished rows: floors, anchors, peers, models, ceilings.
        failed: rows without numbers.
        reference: full name of the reference row.
        differences: paired differences from the reference and from parents.
        levels: `all` and every annotated level -> indices of its samples.
        sources: the result folders.
    """

    protocol: Protocol
    metrics: tuple[MetricInfo, ...]
    rows: tuple[Row, ...]
    failed: tuple[Entry, ...]
    reference: str
    differences: tuple[Difference, ...]
    levels: dict[str, np.ndarray]
    sources: tuple[Source, ...]

    @cached_property
    def by_name(self) -> dict[str, Row]:
        """Finished rows by full name; a shared row by each of its names."""
        return {name: row for row in self.rows for name in (row.name, *row.also)}

    @property
    def models(self) -> list[Row]:
        """The rows that are models."""
        return [row for row in self.rows if row.entry.role == "model"]

    @property
    def record(self) -> Record:
        """The record of the samples."""
        return self.sources[0].record

    @property
    def sample_names(self) -> list[str]:
        """The counted samples, in order."""
        return self.record.scored

    @property
    def films(self) -> int:
        """Number of films of the samples."""
        return len({self.record.film_of[name] for name in self.sample_names})

    @property
    def made(self) -> list[Made]:
        """All distinct versions, commits and machines."""
        found: list[Made] = []
        for made in [made for row in self.rows for made in row.entry.made] or [s.record for s in self.sources]:
            plain = Made(packages=made.packages, git=made.git, machine=made.machine)
            if plain not in found:
                found.append(plain)
        return found

    @property
    def headline(self) -> list[MetricInfo]:
        """The protocol's first metric, and the first one with the opposite direction."""
        first = self.metrics[0]
        other = [metric for metric in self.metrics if metric.higher_is_better != first.higher_is_better]
        return [first, *other[:1]]

    def decimals(self, metric: str) -> int:
        """Number of decimals of a metric and its differences."""
        found = (row.interval(self.protocol.name, metric) for row in self.rows)
        return digits([item.mean for item in found if item])

    def differences_from(self, against: str, protocol_row: str | None = None) -> list[Difference]:
        """The paired differences from one row under the protocol itself or one of its rows."""
        wanted = protocol_row or self.protocol.name
        return [item for item in self.differences if item.against == against and item.row == wanted]


def load_evidence(folders: Sequence[Path]) -> Evidence:
    """Read result folders of one protocol and the same samples, and join their rows.

    Raises:
        UsageError: no folder, a folder without results, different protocols or samples, one row with two sets of
        numbers. NakawariError: a record is broken or misses files.
    """
    if not folders:
        raise UsageError("A report needs at least one result; give folders that nakawari evaluate wrote.")
    loaded = [_load(folder) for folder in dict.fromkeys(folders)]
    for result in loaded[1:]:
        _check_same(loaded[0], result)
    found: dict[str, Row] = {}
    failed: dict[str, Entry] = {}
    for result in loaded:
        for entry in result.aggregates.entries:
            if entry.status == "failed":
                failed.setdefault(entry.name, entry)
            else:
                _add(found, Row(entry, entry.name, result.tables[entry.name], result.folder))
    if not found:
        raise NakawariError(f"{folders[0]} has no finished row; run nakawari evaluate again to see the failures.")
    return _join(loaded, found, [entry for name, entry in failed.items() if name not in found])


@dataclass(frozen=True)
class _Loaded:
    """One result folder, checked against its samples."""

    folder: Path
    aggregates: Aggregates
    tables: dict[str, SampleTable]


def _load(folder: Path) -> _Loaded:
    written = _aggregates(folder)
    names, main = written.record.scored, written.protocol.name
    finished = [entry for entry in written.entries if entry.status == "ok"]
    tables = {entry.name: read_table(folder, entry.files, names, main) for entry in finished}
    if not tables:
        return _Loaded(folder, written, tables)
    again = aggregate(folder, written.protocol, written.record, written.entries)
    check(folder / "aggregates.json", written, again)
    return _Loaded(folder, again, tables)


def _aggregates(folder: Path) -> Aggregates:
    path = folder / "aggregates.json"
    if not path.is_file():
        if (folder / "record.json").is_file():
            raise UsageError(
                f"{folder} is an unfinished evaluation; run the same nakawari evaluate again to finish it."
            )
        raise UsageError(f"{folder} is not a result of nakawari evaluate: it has no aggregates.json.")
    content = read_json(path)
    try:
        found = Aggregates.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise NakawariError(
            f"{path} is not a record that this version reads ({where}: {first['msg']}); evaluate again."
        ) from error
    if not found.entries or not found.metrics or not found.record.samples:
        raise NakawariError(f"{path} holds no rows, metrics or samples; evaluate again.")
    return found


def _check_same(first: _Loaded, other: _Loaded) -> None:
    """Check that two results may be joined: same protocol, samples and pictures."""
    ours, theirs = (loaded.aggregates.protocol.model_dump(mode="json") for loaded in (first, other))
    unlike = [key for key in ours if key not in _FREE and ours[key] != theirs[key]]
    if unlike:
        key = "name" if "name" in unlike else unlike[0]
        raise UsageError(
            f"{first.folder} and {other.folder} have different protocols ({key}: {ours[key]} and "
            f"{theirs[key]}); write a report for each."
        )
    records = [loaded.aggregates.record for loaded in (first, other)]
    if records[0].scored != records[1].scored:
        raise UsageError(f"{first.folder} and {other.folder} have different samples; write a report for each.")
    if len({record.data for record in records if record.data}) > 1:
        raise UsageError(
            f"{first.folder} and {other.folder} have different pictures under one name; write a report for each."
        )


def _add(rows: dict[str, Row], row: Row) -> None:
    other = rows.get(row.name)
    if other is None:
        rows[row.name] = row
        return
    changed = other.entry.identity and row.entry.identity and other.entry.identity.unlike(row.entry.identity)
    if changed or other.samples != row.samples:
        what = f"were made by different models ({changed})" if changed else "have different numbers"
        raise UsageError(
            f"{other.folder} and {row.folder} {what} for {row.name}; "
            "evaluate both variants under different names, or write a report for each."
        )


def _join(loaded: list[_Loaded], found: dict[str, Row], failed: list[Entry]) -> Evidence:
    first = loaded[0].aggregates
    ordered = sorted(found.values(), key=lambda row: ROLES.index(row.entry.role))
    labels = short_names([row.name for row in ordered])
    rows = _shared([replace(row, label=labels[row.name]) for row in ordered])
    models = [row.name for row in rows if row.entry.role == "model"] or [rows[0].name]
    reference = first.reference if first.reference in found else models[0]
    tables = [row.samples for row in rows]
    levels = level_indices(tables, len(first.record.scored))
    shown = tuple(metric for metric in metric_columns(first.protocol, tables) if metric.name in first.protocol.metrics)
    if not shown:
        raise NakawariError(f"{loaded[0].folder} has no metric that its protocol names; evaluate again.")
    differences = first.paired
    if len(loaded) > 1 or reference != first.reference:
        finished = {row.name: Finished(row.entry, row.samples) for row in rows}
        differences = comparisons(finished, levels, first.record, first.protocol, reference)
    return Evidence(
        protocol=first.protocol,
        metrics=shown,
        rows=rows,
        failed=tuple(failed),
        reference=reference,
        differences=tuple(differences),
        levels=levels,
        sources=tuple(_source(result.folder, result.aggregates) for result in loaded),
    )


def _shared(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, with rows of a part that variants share merged: equal pictures of the same
    kind (`MODEL: guide alone`)."""
    found: list[Row] = []
    for row in rows:
        kind = row.name.partition(COMPANION)[2]
        twin = next((index for index, other in enumerate(found) if kind and _same_part(row, other, kind)), None)
        if twin is None:
            found.append(row)
            continue
        other = found[twin]
        both = f"{other.label.removesuffix(COMPANION + kind)}, {row.label}"
        found[twin] = replace(other, label=both, also=(*other.also, row.name))
    return tuple(found)


def _same_part(row: Row, other: Row, kind: str) -> bool:
    alike = other.name.endswith(COMPANION + kind) and row.entry.role == other.entry.role != "model"
    return alike and row.samples == other.samples


def _source(folder: Path, aggregates: Aggregates) -> Source:
    digest = hashlib.sha256((folder / "aggregates.json").read_bytes()).hexdigest()
    return Source(folder.resolve().name, aggregates.record, digest)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names with the fewest leading folders that distinguish them, at least two parts of a path."""
    for kept in range(2, 12):
        short = {
            name: re.sub(r"[^+@: ]*/[^+@: ]*", lambda path, kept=kept: _tail(path[0], kept), name) for name in names
        }
        if max(Counter(short.values()).values(), default=1) == 1:
            return short
    return {name: name for name in names}


def _tail(path: str, parts: int) -> str:
    return "/".join(path.split("/")[-parts:])
