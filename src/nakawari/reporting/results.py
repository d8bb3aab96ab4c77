"""What evaluations wrote, read back, checked and joined into one table."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from ..errors import NakawariError, UsageError
from ..evaluation.protocol import Protocol
from ..evaluation.statistics import paired
from ..files import read_json
from .samples import SampleTable, read_samples
from .tables import digits

ROLES = ("floor", "anchor", "peer", "model", "ceiling")
UNGUIDED = " (unguided)"
_DIFFICULTIES = ("easy", "medium", "middle", "hard")
_FREE = ("batch_size", "description")


class Interval(BaseModel):
    """A mean with its interval at `level`; `films`: how many films its samples came from."""

    mean: float
    low: float
    high: float
    count: int
    level: float
    films: int | None = None


class Fidelity(Interval):
    """How close a row stays to its parent at the same seed."""

    title: str
    parent: str


class Difference(BaseModel):
    """One row minus another on the same samples; `better` is None where the interval holds 0."""

    entry: str
    against: str
    row: str
    metric: str
    level: str
    difference: Interval
    wins: int
    losses: int
    ties: int
    better: bool | None


class MetricInfo(BaseModel):
    """A column of the table."""

    name: str
    title: str
    higher_is_better: bool

    @property
    def sense(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.higher_is_better else -1


class Entry(BaseModel):
    """A row as `aggregates.json` describes it; `costs` are those of protocol rows that draw or time otherwise."""

    name: str
    role: Literal["floor", "anchor", "peer", "model", "ceiling"]
    parent: str | None = None
    status: Literal["ok", "failed"]
    failures: dict[str, str] = Field(default_factory=dict)
    files: dict[str, list[str]]
    results: dict[str, dict[str, dict[str, Interval]]]
    cost: dict[str, Any] | None = None
    costs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    fidelity: Fidelity | None = None


class Record(BaseModel):
    """Where an evaluation was made, and of which samples; older records do not say what stands last."""

    packages: dict[str, str]
    git: str | None
    machine: dict[str, Any]
    samples: list[str]
    data: str | None = None
    bootstrap: dict[str, Any] | None = None
    films: list[str] | None = None


class Aggregates(BaseModel):
    """`aggregates.json`, format 1."""

    format: Literal[1]
    protocol: Protocol
    record: Record
    metrics: list[MetricInfo]
    reference: str
    entries: list[Entry]
    paired: list[Difference]


@dataclass(frozen=True)
class Row:
    """A finished row of the joined table: what the record says, its samples, and the folder that holds its frames."""

    entry: Entry
    label: str
    samples: SampleTable
    folder: Path

    @property
    def name(self) -> str:
        """The row's full name."""
        return self.entry.name

    def interval(self, protocol_row: str, metric: str, level: str = "all") -> Interval | None:
        """The mean of a metric under the protocol or one of its rows; None where it was not measured."""
        return self.entry.results.get(protocol_row, {}).get(metric, {}).get(level)


@dataclass(frozen=True)
class Source:
    """One result folder that went into the report."""

    name: str
    record: Record
    sha256: str


@dataclass(frozen=True)
class Evidence:
    """Everything a report says, from one or more results of one protocol.

    Args:
        protocol: the common protocol.
        metrics: columns, in order.
        rows: finished rows: floors, anchors, peers, models, ceilings.
        failed: rows without numbers.
        reference: full name of the row that all others are compared with.
        differences: paired differences from the reference and from parents.
        levels: `all` and every annotated level -> indices of its samples.
        sources: where the numbers come from.
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
        """Finished rows by full name."""
        return {row.name: row for row in self.rows}

    @property
    def models(self) -> list[Row]:
        """The rows that are models."""
        return [row for row in self.rows if row.entry.role == "model"]

    @property
    def sample_names(self) -> list[str]:
        """Samples in order."""
        return self.sources[0].record.samples

    @property
    def films(self) -> list[str] | None:
        """The film of each sample; None where the records do not say."""
        return self.sources[0].record.films

    @property
    def headline(self) -> list[MetricInfo]:
        """The protocol's first metric, and the first one that points the other way."""
        first = self.metrics[0]
        other = [metric for metric in self.metrics if metric.higher_is_better != first.higher_is_better]
        return [first, *other[:1]]

    def decimals(self, metric: str) -> int:
        """Decimals that a metric is printed with everywhere, differences too."""
        found = (row.interval(self.protocol.name, metric) for row in self.rows)
        return digits([item.mean for item in found if item])

    def differences_from(self, against: str, protocol_row: str | None = None) -> list[Difference]:
        """The paired differences from one row under the protocol itself or one of its rows."""
        wanted = protocol_row or self.protocol.name
        return [item for item in self.differences if item.against == against and item.row == wanted]


def load_evidence(folders: Sequence[Path]) -> Evidence:
    """Read result folders of one protocol and the same samples, and join their rows.

    Raises:
        UsageError: no folder, one that is not a result, other protocols or samples, one row with two sets of numbers.
        NakawariError: a record is broken or misses files.
    """
    if not folders:
        raise UsageError("A report needs at least one result; give folders that nakawari evaluate wrote.")
    loaded = [(folder, _aggregates(folder)) for folder in dict.fromkeys(folders)]
    for folder, aggregates in loaded[1:]:
        _check_same(loaded[0], (folder, aggregates))
    rows: dict[str, tuple[Entry, SampleTable, Path]] = {}
    failed: dict[str, Entry] = {}
    for folder, aggregates in loaded:
        for entry in aggregates.entries:
            if entry.status == "failed":
                failed.setdefault(entry.name, entry)
                continue
            samples = read_samples(folder, entry.files.get(aggregates.protocol.name, []), aggregates.record.samples)
            _check_means(folder, aggregates.protocol, entry, samples)
            _add(rows, entry, samples, folder)
    if not rows:
        raise NakawariError(f"{folders[0]} has no finished row; run nakawari evaluate again and see what fails.")
    return _join(loaded, rows, [entry for name, entry in failed.items() if name not in rows])


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


def _check_same(first: tuple[Path, Aggregates], other: tuple[Path, Aggregates]) -> None:
    """Numbers made in different ways never stand in one table."""
    ours, theirs = (aggregates.protocol.model_dump(mode="json") for _, aggregates in (first, other))
    unlike = [key for key in ours if key not in _FREE and ours[key] != theirs[key]]
    if unlike:
        key = "name" if "name" in unlike else unlike[0]
        raise UsageError(
            f"{first[0]} and {other[0]} were made by different protocols ({key}: {ours[key]} and {theirs[key]}); "
            "write a report for each."
        )
    if first[1].record.samples != other[1].record.samples:
        raise UsageError(f"{first[0]} and {other[0]} are of different samples; write a report for each.")
    pictures = {aggregates.record.data for _, aggregates in (first, other) if aggregates.record.data}
    if len(pictures) > 1:
        raise UsageError(f"{first[0]} and {other[0]} are of different pictures of one name; write a report for each.")


def _check_means(folder: Path, protocol: Protocol, entry: Entry, samples: SampleTable) -> None:
    """A mean that its own samples do not give was not written by the evaluation."""
    for metric, levels in entry.results.get(protocol.name, {}).items():
        pooled = protocol.drop_worst > 0 or (metric == "psnr" and protocol.pool > 1)
        if pooled or "all" not in levels:
            continue
        values = samples.mean.get(metric, np.empty(0))
        values = values[~np.isnan(values)]
        if len(values) != levels["all"].count or abs(float(values.mean()) - levels["all"].mean) > 1e-6:
            raise NakawariError(
                f"{folder}: the mean {metric} of {entry.name} is not that of its samples; evaluate again."
            )


def _add(rows: dict[str, tuple[Entry, SampleTable, Path]], entry: Entry, samples: SampleTable, folder: Path) -> None:
    if entry.name not in rows:
        rows[entry.name] = (entry, samples, folder)
    elif rows[entry.name][1] != samples:
        raise UsageError(
            f"{rows[entry.name][2]} and {folder} have different numbers for {entry.name}; "
            "evaluate both variants under names of their own, or write a report for each."
        )


def _join(
    loaded: list[tuple[Path, Aggregates]], found: dict[str, tuple[Entry, SampleTable, Path]], failed: list[Entry]
) -> Evidence:
    first = loaded[0][1]
    ordered = sorted(found.values(), key=lambda item: ROLES.index(item[0].role))
    labels = short_names([entry.name for entry, _, _ in ordered])
    rows = tuple(Row(entry, labels[entry.name], samples, folder) for entry, samples, folder in ordered)
    models = [row.name for row in rows if row.entry.role == "model"] or [rows[0].name]
    reference = first.reference if first.reference in found else models[0]
    levels = _levels(rows[0].samples)
    metrics = {metric.name: metric for _, aggregates in loaded for metric in aggregates.metrics}
    shown = tuple(
        metric
        for metric in metrics.values()
        if metric.name in first.protocol.metrics and any(row.interval(first.protocol.name, metric.name) for row in rows)
    )
    if not shown:
        raise NakawariError(f"{loaded[0][0]} has no metric that its protocol names; evaluate again.")
    recorded = {
        (item.entry, item.against, item.row, item.metric, item.level): item
        for _, aggregates in loaded
        for item in aggregates.paired
        if item.entry in found and item.against in (reference, found[item.entry][0].parent)
    }
    differences = [*recorded.values()]
    for row in rows:
        key = (row.name, reference, first.protocol.name, shown[0].name, "all")
        if row.name != reference and key not in recorded:
            other = next(candidate for candidate in rows if candidate.name == reference)
            differences += compare(row, other, shown, levels, first.protocol.name, first.record.films)
    return Evidence(
        protocol=first.protocol,
        metrics=shown,
        rows=rows,
        failed=tuple(failed),
        reference=reference,
        differences=tuple(differences),
        levels=levels,
        sources=tuple(_source(folder, aggregates) for folder, aggregates in loaded),
    )


def compare(
    row: Row,
    other: Row,
    metrics: Sequence[MetricInfo],
    levels: dict[str, np.ndarray],
    protocol_row: str,
    films: Sequence[str] | None,
) -> list[Difference]:
    """Paired differences of two rows from their samples, for every metric and level that both have."""
    found = []
    for metric in metrics:
        ours, theirs = (table.mean.get(metric.name) for table in (row.samples, other.samples))
        if ours is None or theirs is None:
            continue
        for level, members in levels.items():
            both = members[~np.isnan(ours[members]) & ~np.isnan(theirs[members])]
            if len(both):
                drawn = None if films is None else [films[index] for index in both]
                better = metric.higher_is_better
                result = paired(ours[both], theirs[both], higher_is_better=better, films=drawn).to_dict()
                place = {"entry": row.name, "against": other.name, "row": protocol_row}
                found.append(Difference(**place, metric=metric.name, level=level, **result))
    return found


def _levels(samples: SampleTable) -> dict[str, np.ndarray]:
    names = [level for level in dict.fromkeys(samples.levels) if level]
    if all(name.lower() in _DIFFICULTIES for name in names):
        names.sort(key=lambda name: _DIFFICULTIES.index(name.lower()))
    assigned = np.array(samples.levels)
    return {"all": np.arange(len(assigned)), **{name: np.flatnonzero(assigned == name) for name in names}}


def _source(folder: Path, aggregates: Aggregates) -> Source:
    digest = hashlib.sha256((folder / "aggregates.json").read_bytes()).hexdigest()
    return Source(folder.resolve().name, aggregates.record, digest)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names with as few leading folders as tell them apart, two parts of a path at least."""
    for kept in range(2, 12):
        short = {
            name: re.sub(r"[^+@: ]*/[^+@: ]*", lambda path, kept=kept: _tail(path[0], kept), name) for name in names
        }
        if max(Counter(short.values()).values(), default=1) == 1:
            return short
    return {name: name for name in names}


def _tail(path: str, parts: int) -> str:
    return "/".join(path.split("/")[-parts:])
