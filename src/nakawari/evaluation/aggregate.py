"""From per-sample records to the table: means with intervals per level, paired differences, fidelity to the parent.

What is compared with what: every row with the first variant, and with its own parent where it has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.triplets import LEVELS
from ..errors import NakawariError
from ..files import read_json
from .groups import Group
from .metrics import METRICS, Metric, psnr, psnr_of
from .protocol import Protocol
from .records import Records
from .samples import folder_name, read_frames
from .statistics import mean_interval, paired

FORMAT = 1


def aggregate(
    output: Path,
    protocol: Protocol,
    groups: Sequence[Group],
    entries: Sequence[dict[str, Any]],
    names: Sequence[str],
    *,
    reference: str,
) -> dict[str, Any]:
    """The contents of `aggregates.json`; see `docs/evaluate.md` for the layout. Failed rows have no numbers.

    Args:
        output: the evaluation's folder.
        protocol, groups: how it was made.
        entries: rows as the runner describes them (name, role, parent, status, failures, files).
        names: samples in order.
        reference: the row that all others are compared with.
    """
    record = read_json(output / "record.json")
    films = dict(zip(names, record.get("films") or names, strict=True))
    tables = {entry["name"]: _table(output, groups, entry, names) for entry in entries if entry["status"] == "ok"}
    levels = _levels(output, groups, entries, names)
    shown = [{"name": m.name, "title": m.title, "higher_is_better": m.higher_is_better} for m in _columns(groups)]
    return {
        "format": FORMAT,
        "protocol": protocol.model_dump(mode="json"),
        "record": record,
        "levels": {level: len(members) for level, members in levels.items()},
        "metrics": shown,
        "reference": reference,
        "entries": [_entry(output, protocol, groups, entry, tables, levels, films) for entry in entries],
        "paired": _comparisons(entries, tables, levels, films, reference),
    }


Table = dict[tuple[str, str], dict[str, float]]
"""(protocol or row name, metric name) -> sample -> value averaged over seeds; samples without a value are absent."""


def _columns(groups: Sequence[Group]) -> list[Metric]:
    return list({metric.name: metric for group in groups for metrics in group.metrics for metric in metrics}.values())


def _files(output: Path, group: Group, entry: dict[str, Any]) -> list[dict[str, dict[str, float | None]]]:
    return [Records(output / file, group.columns).values() for file in entry["files"].get(group.name, [])]


def _table(output: Path, groups: Sequence[Group], entry: dict[str, Any], names: Sequence[str]) -> Table:
    table: Table = {}
    for group in groups:
        seeds = _files(output, group, entry)
        if not seeds:
            continue
        for index, metrics in enumerate(group.metrics):
            for metric in metrics:
                column = group.column(index, metric)
                values = {name: [seed[name][column] for seed in seeds] for name in names}
                table[group.protocols[index].name, metric.name] = {
                    name: float(np.mean(found)) for name, found in values.items() if None not in found
                }
    return table


def _levels(
    output: Path, groups: Sequence[Group], entries: Sequence[dict[str, Any]], names: Sequence[str]
) -> dict[str, list[str]]:
    """`all` and every annotated level -> its samples in order."""
    levels: dict[str, list[str]] = {"all": list(names)}
    for entry in entries:
        if entry["status"] != "ok":
            continue
        done = Records(output / entry["files"][groups[0].name][0], groups[0].columns).done()
        for name in names:
            if done[name][1]:
                levels.setdefault(done[name][1], []).append(name)
        break
    order = ("all", *LEVELS)
    return dict(sorted(levels.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def _entry(
    output: Path,
    protocol: Protocol,
    groups: Sequence[Group],
    entry: dict[str, Any],
    tables: dict[str, Table],
    levels: dict[str, list[str]],
    films: dict[str, str],
) -> dict[str, Any]:
    table = tables.get(entry["name"], {})
    rows = {p.name: p for group in groups for p in group.protocols}
    results: dict[str, dict[str, Any]] = {}
    for (row, metric), values in table.items():
        results.setdefault(row, {})[metric] = _means(rows[row], metric, values, table, levels, films)
    described = {**entry, "results": results}
    parent = entry["parent"]
    if parent in tables and table and protocol.keep_frames:
        described["fidelity"] = _fidelity(output, protocol, entry["name"], parent, films)
    return described


def _means(
    row: Protocol,
    metric: str,
    values: dict[str, float],
    table: Table,
    levels: dict[str, list[str]],
    films: dict[str, str],
) -> dict[str, Any]:
    means = {}
    for level, members in levels.items():
        kept = _kept(row, [name for name in members if name in values], table)
        if metric == "psnr" and row.pool > 1:
            errors = [table[row.name, "mse"][name] for name in kept]
            numbers = [psnr_of(float(np.mean(errors[i : i + row.pool]))) for i in range(0, len(errors), row.pool)]
            drawn = None  # a pool may hold several films
        else:
            numbers, drawn = [values[name] for name in kept], [films[name] for name in kept]
        if numbers:
            means[level] = mean_interval(numbers, films=drawn).to_dict()
    return means


def _kept(row: Protocol, members: list[str], table: Table) -> list[str]:
    """The samples that count, in order: all, or without the worst of a row that drops some."""
    drop = int(row.drop_worst * len(members))
    worst = set(sorted(members, key=lambda name: table[row.name, "psnr"][name])[:drop]) if drop else set()
    return [name for name in members if name not in worst]


def _fidelity(output: Path, protocol: Protocol, name: str, parent: str, films: dict[str, str]) -> dict[str, Any]:
    """PSNR (dB) of a row's scored frames against its parent's at the same seed, mean over samples with its interval."""
    folders = [output / "frames" / folder_name(row) for row in (name, parent)]
    values = []
    for sample in films:
        found = []
        for seed in protocol.seeds:
            ours, theirs = (read_frames(folder / f"seed-{seed}", sample) for folder in folders)
            if not ours or ours.keys() != theirs.keys():
                raise NakawariError(
                    f"Kept frames of sample {sample} of {name} or {parent} are missing; delete {output} and run again."
                )
            found += [psnr(ours[key], theirs[key]) for key in ours]
        values.append(float(np.mean(found)))
    found = mean_interval(values, films=list(films.values())).to_dict()
    return {"metric": "psnr", "title": "PSNR to the parent (dB)", "parent": parent, **found}


def _comparisons(
    entries: Sequence[dict[str, Any]],
    tables: dict[str, Table],
    levels: dict[str, list[str]],
    films: dict[str, str],
    reference: str,
) -> list[dict[str, Any]]:
    found = []
    for entry in entries:
        others = dict.fromkeys([reference, entry["parent"]])
        for other in others:
            if other not in tables or entry["name"] not in tables or other == entry["name"]:
                continue
            found += _compare(entry["name"], other, tables, levels, films)
    return found


def _compare(
    name: str, other: str, tables: dict[str, Table], levels: dict[str, list[str]], films: dict[str, str]
) -> list[dict[str, Any]]:
    ours, theirs = tables[name], tables[other]
    found = []
    for key in ours.keys() & theirs.keys():
        for level, members in levels.items():
            shared = [sample for sample in members if sample in ours[key] and sample in theirs[key]]
            if shared:
                better = METRICS[key[1]].higher_is_better
                pair = [[table[key][sample] for sample in shared] for table in (ours, theirs)]
                drawn = [films[sample] for sample in shared]
                result = paired(*pair, higher_is_better=better, films=drawn).to_dict()
                found.append(
                    {"entry": name, "against": other, "row": key[0], "metric": key[1], "level": level, **result}
                )
    return sorted(found, key=lambda item: (item["row"], item["metric"], list(levels).index(item["level"])))
