"""From per-sample records to the table: means with intervals per level, paired differences with verdicts, fidelity.

Every row is compared with the reference, and with its own parent if it has one. The report calls the
same functions on the same files, so every number that it prints is recomputed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.triplets import LEVELS
from ..errors import NakawariError
from ..files import read_json, write_text
from .metrics import METRICS, bounded_psnr, psnr
from .protocol import Protocol
from .reading import FIXED, SampleTable, read_lines, read_table
from .records import lines
from .samples import read_frames, sample_folder
from .schema import FORMAT, Aggregates, Difference, Entry, Fidelity, MetricInfo, Record, Results, RowRecord
from .statistics import mean_interval, paired
from .verdicts import RULE, verdicts

Levels = dict[str, np.ndarray]
"""`all` and every annotated level -> indices of its samples, in order."""


@dataclass(frozen=True)
class Finished:
    """A row with all its samples."""

    entry: Entry
    samples: SampleTable


def aggregate(output: Path, protocol: Protocol, record: Record, entries: Sequence[Entry]) -> Aggregates:
    """The contents of `aggregates.json`, from the files of a result folder; failed rows have no numbers.

    Args:
        output: the folder.
        protocol, record: of the evaluation.
        entries: rows with their status (`described`); other fields are recomputed.

    Raises:
        NakawariError: a file of a finished row is broken.
    """
    finished = {
        entry.name: Finished(entry, read_table(output, entry.files, record.scored, protocol.name))
        for entry in entries
        if entry.status == "ok"
    }
    levels = level_indices([one.samples for one in finished.values()], len(record.scored))
    models = [entry.name for entry in entries if entry.role == "model"]
    reference = models[0] if models else entries[0].name
    return Aggregates(
        format=FORMAT,
        rule=RULE,
        protocol=protocol,
        record=record,
        levels={level: len(members) for level, members in levels.items()},
        metrics=metric_columns(protocol, [one.samples for one in finished.values()]),
        reference=reference,
        entries=[
            _measured(output, protocol, record, finished[entry.name], finished, levels)
            if entry.name in finished
            else entry.model_copy(update={"results": {}})
            for entry in entries
        ],
        paired=comparisons(finished, levels, record, protocol, reference),
    )


def described(output: Path, row: RowRecord, names: Sequence[str]) -> Entry:
    """A row with its status from its files: finished, or with its missing samples."""
    failures = missing_samples(output, row, names)
    return Entry(**dict(row), status="failed" if failures else "ok", failures=failures)


def missing_samples(output: Path, row: RowRecord, names: Sequence[str]) -> dict[str, str]:
    """Missing samples of a row -> reason; empty if it is finished."""
    missing: dict[str, str] = {}
    for file in (output / path for paths in row.files.values() for path in paths):
        parts = [part for part in [file, *file.parent.glob(f"{file.stem}.part-*.csv")] if part.is_file()]
        done = {line[0] for part in parts for line in read_lines(part, cut=True)[1:]}
        absent = set(names) - done if file.is_file() or set(names) - done else set(names)
        why = file.with_suffix(".failed.json")
        reasons = read_json(why) if absent and why.is_file() else {}
        missing |= {name: reasons.get(name, "not run") for name in names if name in absent}
    return missing


def metric_columns(protocol: Protocol, tables: Sequence[SampleTable]) -> list[MetricInfo]:
    """The protocol's metrics that any row has, then those of its departures only."""
    there = {metric for table in tables for _, metric in table.values(protocol.name)}
    wanted = [*protocol.metrics, *(metric for metric in METRICS if metric not in protocol.metrics)]
    return [
        MetricInfo(name=m.name, title=m.title, higher_is_better=m.higher_is_better, matters=m.matters)
        for m in (METRICS[name] for name in wanted if name in there)
    ]


def level_indices(tables: Sequence[SampleTable], count: int) -> Levels:
    """`all` and every annotated level -> its samples."""
    assigned = np.array(tables[0].levels if tables else [""] * count)
    order = ("all", *LEVELS)
    names = sorted(
        {str(name) for name in assigned if name}, key=lambda name: order.index(name) if name in order else len(order)
    )
    return {"all": np.arange(count), **{name: np.flatnonzero(assigned == name) for name in names}}


def _measured(
    output: Path,
    protocol: Protocol,
    record: Record,
    row: Finished,
    finished: Mapping[str, Finished],
    levels: Levels,
) -> Entry:
    read = read_costs(output, row.entry)
    costs = {name: read[name] for name in ("", *(one.name for one in protocol.rows)) if name in read}
    found = {
        "results": means(protocol, row.samples, levels, [record.film_of[name] for name in record.scored]),
        "cost": costs.pop("", None),
        "costs": costs,
    }
    if row.entry.parent in finished and protocol.keep_frames:
        found["fidelity"] = _fidelity(output, protocol, record, row.entry, finished[row.entry.parent].entry)
    return row.entry.model_copy(update=found)


def read_costs(output: Path, entry: RowRecord) -> dict[str, dict]:
    """Protocol row -> contents of its cost file; the protocol itself under the empty name."""
    folder = output / entry_folder(entry)
    return {
        file.name.removeprefix("cost").removesuffix(".json").lstrip("."): read_json(file)
        for file in sorted(folder.glob("cost*.json"))
    }


def entry_folder(entry: RowRecord) -> str:
    """The row's folder below the results."""
    if entry.folder is not None:
        return entry.folder
    first = next(iter(entry.files.values()), [""])[0]
    return str(Path(first).parent)


def means(protocol: Protocol, table: SampleTable, levels: Levels, films: Sequence[str]) -> Results:
    """The means of every metric under the protocol and its rows, by level."""
    rows = {row.name: row for row in protocol.variants()}
    values = table.values(protocol.name)
    results: Results = {}
    for (name, metric), column in values.items():
        row, psnrs, errors = rows[name], values.get((name, "psnr")), values.get((name, "mse"))
        for level, members in levels.items():
            kept = _kept(row, members[~np.isnan(column[members])], psnrs)
            if metric == "psnr" and row.pool > 1 and errors is not None:
                pools = [kept[i : i + row.pool] for i in range(0, len(kept), row.pool)]
                numbers = [bounded_psnr(float(errors[pool].mean())) for pool in pools]
                drawn = None  # a pool may contain several films
            else:
                numbers, drawn = column[kept], [films[index] for index in kept]
            if len(numbers):
                results.setdefault(name, {}).setdefault(metric, {})[level] = mean_interval(numbers, films=drawn)
    return results


def _kept(row: Protocol, members: np.ndarray, psnrs: np.ndarray | None) -> np.ndarray:
    """The counted samples, in order: all, or without the worst for a row that drops some."""
    drop = int(row.drop_worst * len(members))
    if not drop or psnrs is None:
        return members
    worst = members[np.argsort(psnrs[members], kind="stable")[:drop]]
    return members[~np.isin(members, worst)]


def _fidelity(output: Path, protocol: Protocol, record: Record, entry: Entry, parent: Entry) -> Fidelity | None:
    """PSNR of a row's scored frames against its parent's at the same seed, saved per sample in `fidelity.csv`."""
    path = output / entry_folder(entry) / "fidelity.csv"
    header = (*FIXED, "psnr")
    known = {line[0]: line for line in read_lines(path)[1:]} if path.is_file() else {}
    if list(known) != record.scored:
        found = {name: _to_parent(output, protocol, name, entry, parent) for name in record.scored}
        if None in found.values():
            return None  # an older result whose frames were removed
        known = {name: [name, "", f"{value:.6f}"] for name, value in found.items()}
        write_text(path, lines([header, *known.values()]))
    values = [float(line[2]) for line in known.values()]
    films = [record.film_of[name] for name in record.scored]
    found = mean_interval(values, films=films).to_dict()
    return Fidelity(title="PSNR to the parent (dB)", parent=parent.name, **found)


def _to_parent(output: Path, protocol: Protocol, sample: str, entry: Entry, parent: Entry) -> float | None:
    values = []
    for seed in protocol.seeds:
        folders = (output / "frames" / entry_folder(row) / f"seed-{seed}" for row in (entry, parent))
        ours, theirs = (read_frames(sample_folder(folder, sample)) for folder in folders)
        if not ours or ours.keys() != theirs.keys():
            if entry.folder is None:
                return None
            raise NakawariError(
                f"Saved frames of sample {sample} of {entry.name} or {parent.name} are missing; "
                f"delete {output} and run again."
            )
        values += [psnr(ours[key], theirs[key]) for key in ours]
    return float(np.mean(values))


def comparisons(
    finished: Mapping[str, Finished], levels: Levels, record: Record, protocol: Protocol, reference: str
) -> list[Difference]:
    """Every row against the reference and against its parent, with verdicts."""
    found = []
    for name, row in finished.items():
        for other in dict.fromkeys([reference, row.entry.parent]):
            if other in finished and other != name:
                found += compare(row, finished[other], levels, record, protocol)
    return with_verdicts(found)


def compare(
    row: Finished, other: Finished, levels: Levels, record: Record, protocol: Protocol, *, main_only: bool = False
) -> list[Difference]:
    """Paired differences of two rows for every metric, protocol row and level that both have; no verdicts yet."""
    films = [record.film_of[name] for name in record.scored]
    ours, theirs = (one.samples.values(protocol.name) for one in (row, other))
    found = []
    for key in sorted(ours.keys() & theirs.keys()):
        if main_only and key[0] != protocol.name:
            continue
        for level, members in levels.items():
            both = members[~np.isnan(ours[key][members]) & ~np.isnan(theirs[key][members])]
            if not len(both):
                continue
            metric, drawn = METRICS[key[1]], [films[index] for index in both]
            judged = {"higher_is_better": metric.higher_is_better, "matters": metric.matters}
            result = paired(ours[key][both], theirs[key][both], films=drawn, **judged)
            place = {"entry": row.entry.name, "against": other.entry.name, "row": key[0], "metric": key[1]}
            found.append(Difference(**place, level=level, **result.to_dict()))
    return found


def with_verdicts(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences with verdicts; those of one protocol row are corrected together.

    Metrics without verdicts have none.
    """
    found = list(differences)
    for row in dict.fromkeys(item.row for item in differences):
        places = [index for index, item in enumerate(differences) if item.row == row and METRICS[item.metric].judged]
        metrics = [METRICS[differences[index].metric] for index in places]
        given = verdicts(
            [differences[index].pair for index in places],
            [metric.higher_is_better for metric in metrics],
            [metric.matters for metric in metrics],
        )
        for index, verdict in zip(places, given, strict=True):
            found[index] = found[index].model_copy(update={"verdict": verdict})
    return found
