"""The tables of a report and their contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluation.aggregate import Finished, compare, with_verdicts
from ..evaluation.load import LOADED
from ..evaluation.metrics import METRICS
from ..evaluation.schema import Difference, MetricInfo
from ..evaluation.statistics import mean_interval
from ..evaluation.verdicts import fewest_films
from .cells import difference_columns, direction, mean_cell, metric_columns, percent, single, slug, table_of, with_best
from .cost_columns import BRIEF_COSTS, COSTS
from .cost_figures import under_load
from .results import UNGUIDED, Evidence, Row
from .tables import EMPTY, Cell, Column, Line, Table, digits, interval, number

GUIDE = ": guide alone"


def all_tables(evidence: Evidence) -> dict[str, list[Table]]:
    """The report's tables by section: quality, differences, levels, cost, departures; sections may be empty."""
    return {
        "quality": [quality(evidence)],
        "differences": [*gains(evidence), *differences(evidence)],
        "levels": [*wins(evidence), *levels(evidence)],
        "styles": styles(evidence),
        "cost": costs(evidence),
        "departures": departures(evidence),
    }


def quality(evidence: Evidence) -> Table:
    """Every row's means with intervals, fidelity to the parent, and the two main costs."""
    protocol = evidence.protocol
    columns, cells = metric_columns(evidence, evidence.rows, [(protocol.name, "all")] * len(evidence.rows))
    faithful = [row.entry.fidelity for row in evidence.rows]
    if any(faithful):
        title = next(item.title for item in faithful if item)
        shown = digits([item.mean for item in faithful if item])
        columns.append(Column("fidelity", title, "higher"))
        cells.append([mean_cell(item, shown) for item in faithful])
    for key, title, read, decimals in BRIEF_COSTS:
        found = [read(row.entry.cost) for row in evidence.rows]
        if any(value is not None for value in found):
            columns.append(Column(key, title, "lower"))
            cells.append(
                [
                    single(value, number(value, decimals) + _mark(row, key) if value is not None else "")
                    for row, value in zip(evidence.rows, found, strict=True)
                ]
            )
    count = len(evidence.sample_names)
    caption = (
        f"Means over {count:,} samples under protocol {protocol.name}, with {percent(evidence)} intervals in "
        f"brackets. Bold: the best model.{reservations(evidence)}"
    )
    return table_of("quality", "Quality", caption, columns, evidence.rows, cells)


BUSY = "†"


def _mark(row: Row, key: str) -> str:
    """The mark of a time measured under load."""
    return BUSY if key.startswith(("ms_per_frame", "load_seconds")) and under_load(row) else ""


def reservations(evidence: Evidence) -> str:
    """Notes for the caption: omitted metrics and samples, and differing origins of the rows."""
    said = [f"{METRICS[name].title} is left out: {why}." for name, why in evidence.record.left_out.items()]
    unreadable = evidence.record.unreadable
    if unreadable:
        said.append(f"Not counted: {len(unreadable)} unreadable samples ({', '.join(list(unreadable)[:3])}).")
    regions = METRICS["roi-psnr"]
    if regions.name in evidence.protocol.metrics and not any(
        metric.name == regions.name for metric in evidence.metrics
    ):
        said.append(f"{regions.title} is left out: no sample has a region of interest.")
    said += [
        f"{row.label} was trained on {len(row.entry.seen_in_training)} of these samples."
        for row in evidence.rows
        if row.entry.seen_in_training
    ]
    if any(under_load(row) for row in evidence.rows):
        said.append(f"{BUSY} Timed while other processes were running.")
    for what, values in _unlike(evidence).items():
        said.append(f"The rows were made by different {what}: {'; '.join(values)}.")
    return "".join(f" {sentence}" for sentence in said)


def _unlike(evidence: Evidence) -> dict[str, list[str]]:
    """Versions, commits and machines with more than one value."""
    found: dict[str, list[str]] = {"versions": [], "commits": [], "machines": []}
    packages = [made.packages for made in evidence.made]
    names = {name for one in packages for name in one if len({other.get(name) for other in packages}) > 1}
    for name in sorted(names):
        found["versions"].append(f"{name} {', '.join(dict.fromkeys(str(one.get(name)) for one in packages))}")
    commits = list(dict.fromkeys((made.git or "unknown")[:10] for made in evidence.made))
    machines = list(dict.fromkeys(describe_machine(made.machine) for made in evidence.made))
    found["commits"] = commits if len(commits) > 1 else []
    found["machines"] = machines if len(machines) > 1 else []
    return {what: values for what, values in found.items() if values}


def describe_machine(machine: Mapping[str, Any]) -> str:
    """A machine's record in one line."""
    parts = [
        machine.get("accelerator") or "no accelerator",
        f"{machine.get('cores', '?')} cores",
        str(machine.get("system", "unknown system")),
        f"Python {machine.get('python', '?')}",
    ]
    return ", ".join(parts)


def differences(evidence: Evidence) -> list[Table]:
    """Paired differences from the reference, and from every other row that is a parent."""
    tables = []
    for against in dict.fromkeys([evidence.reference, *(row.entry.parent for row in evidence.rows)]):
        found = evidence.differences_from(against) if against in evidence.by_name and against else []
        if found:
            tables.append(_difference_table(evidence, against or "", found))
    return tables


def _difference_table(evidence: Evidence, against: str, found: Sequence[Difference]) -> Table:
    label = evidence.by_name[against].label
    role = "the reference" if against == evidence.reference else "a parent"
    caption = (
        f"Row minus {label} ({role}) on the same samples: mean paired difference, its {percent(evidence)} interval, "
        f"samples won : lost. {signs(found)}"
    )
    rows = [row for row in evidence.rows if any(item.entry == row.name for item in found)]
    name = "differences" if against == evidence.reference else f"differences-{slug(against)}"
    columns, cells = difference_columns(evidence, [(row.name, found) for row in rows])
    return table_of(name, f"Paired differences from {label}", caption, columns, rows, cells)


_SIGNS = {
    "better": "▲ better",
    "worse": "▼ worse",
    "equal": "= within the equivalence margin",
    "undecided": "○ undecided",
}


def signs(found: Sequence[Difference]) -> str:
    """The legend of the signs in a table of differences, and the reason for missing ones."""
    there = {item.verdict for item in found}
    said = ", ".join(text for verdict, text in _SIGNS.items() if verdict in there)
    needs = f"one comparison needs {fewest_films()}, 24 together need {fewest_films(24)}"
    few = f"No verdict if there are too few films: {needs}." if "too few films" in there else ""
    return " ".join(filter(None, (f"{said}." if said else "", few)))


def gains(evidence: Evidence) -> list[Table]:
    """The gain of each model over its own motion guide; empty if no row is a guide."""
    pairs = [(row, guide) for row in evidence.models if (guide := _guide_of(row, evidence))]
    if not pairs:
        return []
    found = [(row.name, gain_over(evidence, row, guide)) for row, guide in pairs]
    judged = iter(with_verdicts([item for _, items in found for item in items]))
    found = [(name, [next(judged) for _ in items]) for name, items in found]
    caption = (
        "Gain of a model over its guide: model minus guide alone on the same samples, with the "
        f"{percent(evidence)} interval and samples won : lost. {signs([item for _, items in found for item in items])}"
    )
    columns, cells = difference_columns(evidence, found)
    return [table_of("gain", "Gain over the guide", caption, columns, [row for row, _ in pairs], cells)]


def gain_over(evidence: Evidence, row: Row, guide: Row) -> list[Difference]:
    """A model minus its guide over all samples, without verdicts."""
    ours, theirs = (Finished(one.entry, one.samples) for one in (row, guide))
    every = {"all": evidence.levels["all"]}
    return compare(ours, theirs, every, evidence.record, evidence.protocol, main_only=True)


def _guide_of(row: Row, evidence: Evidence) -> Row | None:
    names = [name.removesuffix(UNGUIDED) for name in (row.name, row.entry.parent) if name]
    return next((evidence.by_name[name + GUIDE] for name in names if name + GUIDE in evidence.by_name), None)


def levels(evidence: Evidence) -> list[Table]:
    """One table per metric: rows by difficulty; empty if no sample is annotated."""
    if len(evidence.levels) < 2:
        return []
    tables = []
    for metric in evidence.metrics:
        rows = [row for row in evidence.rows if row.interval(evidence.protocol.name, metric.name)]
        found = {
            level: [row.interval(evidence.protocol.name, metric.name, level) for row in rows]
            for level in evidence.levels
        }
        shown = evidence.decimals(metric.name)
        columns = [
            Column(level, f"{level} ({len(members):,})", direction(metric))
            for level, members in evidence.levels.items()
        ]
        cells = [with_best([mean_cell(item, shown) for item in items], rows, metric.sense) for items in found.values()]
        caption = f"{metric.title} by difficulty; samples of each level in brackets in the head."
        tables.append(table_of(f"levels-{slug(metric.name)}", metric.title, caption, columns, rows, cells))
    return tables


MOST_STYLES = 8


def styles(evidence: Evidence) -> list[Table]:
    """One table per metric: rows by other annotations of the samples (style, kind of motion, east
    or west); empty if there are none."""
    members: dict[str, list[int]] = {}
    for index, name in enumerate(evidence.sample_names):
        for tag in evidence.record.tags.get(name, []):
            members.setdefault(tag, []).append(index)
    parts = {tag: found for tag, found in members.items() if 1 < len(found) < len(evidence.sample_names)}
    chosen = sorted(parts, key=lambda tag: (-len(parts[tag]), tag))[:MOST_STYLES]
    if not chosen:
        return []
    films = np.array([evidence.record.film_of[name] for name in evidence.sample_names])
    return [_style_table(evidence, metric, {tag: parts[tag] for tag in chosen}, films) for metric in evidence.metrics]


def _style_table(evidence: Evidence, metric: MetricInfo, parts: Mapping[str, list[int]], films: np.ndarray) -> Table:
    rows = [row for row in evidence.rows if metric.name in row.samples.mean]
    shown = evidence.decimals(metric.name)
    columns = [Column(tag, f"{tag} ({len(found):,})", direction(metric)) for tag, found in parts.items()]
    cells = []
    for found in parts.values():
        column = []
        for row in rows:
            values = row.samples.mean[metric.name][found]
            there = ~np.isnan(values)
            own = mean_interval(values[there], films=films[found][there].tolist()) if there.any() else None
            column.append(mean_cell(own, shown))
        cells.append(with_best(column, rows, metric.sense))
    caption = (
        f"{metric.title} by style, kind of motion and origin; samples in brackets in the head. A sample may count in "
        "several columns."
    )
    return table_of(f"styles-{slug(metric.name)}", metric.title, caption, columns, rows, cells)


def wins(evidence: Evidence) -> list[Table]:
    """How often a model beats each baseline and peer, by difficulty; empty if no sample is annotated."""
    if len(evidence.levels) < 2:
        return []
    others = [row for row in evidence.rows if row.entry.role in ("floor", "anchor", "peer")]
    tables = []
    for metric in evidence.headline:
        known = [row for row in (*evidence.models, *others) if metric.name in row.samples.mean]
        pairs = [(row, other) for row in evidence.models for other in others if row in known and other in known]
        if not pairs:
            continue
        columns = tuple(
            Column(level, f"{level} ({len(members):,})", "higher") for level, members in evidence.levels.items()
        )
        lines = tuple(
            Line(
                f"{row.label} over {other.label}",
                row.label,
                tuple(_wins(row, other, metric, members) for members in evidence.levels.values()),
                f"{row.name} over {other.name}",
            )
            for row, other in pairs
        )
        caption = (
            f"Share of samples on which a model is better than a baseline or peer in {metric.title}, by "
            "difficulty; samples won : lost beneath."
        )
        title = f"Samples won by {metric.title}"
        tables.append(Table(f"wins-{slug(metric.name)}", title, caption, "Model over", columns, lines))
    return tables


def _wins(row: Row, other: Row, metric: MetricInfo, members: np.ndarray) -> Cell:
    gain = metric.sense * (row.samples.mean[metric.name] - other.samples.mean[metric.name])[members]
    gain = gain[~np.isnan(gain)]
    if not len(gain):
        return EMPTY
    won, lost = int((gain > 0).sum()), int((gain < 0).sum())
    share = won / len(gain)
    raw = (("", share), ("_wins", won), ("_losses", lost), ("_ties", len(gain) - won - lost))
    return Cell(f"{100 * share:.0f}\u00a0%", note=f"{won:,} : {lost:,}", raw=raw)


def costs(evidence: Evidence) -> list[Table]:
    """Time, memory and size of every measured row; empty if none was measured."""
    rows = [row for row in evidence.rows if row.entry.cost]
    if not rows:
        return []
    columns, cells, common = [], [], []
    for key, title, better, read in COSTS:
        found = [read(row.entry.cost or {}) for row in rows]
        if isinstance(found[0][1], str) and len(set(found)) == 1:  # a value common to all rows needs no column
            common.append(f"{title.lower()} {found[0][0]}")
        elif any(raw is not None for _, raw in found):
            columns.append(Column(key, title, better, text=isinstance(found[0][1], str)))
            cells.append([single(raw, text + _mark(row, key)) for row, (text, raw) in zip(rows, found, strict=True)])
    caption = (
        "Cost of one clip at a time with the settings of the quality run. Time is per in-between drawn; network "
        "evaluations count a batch of two for guidance as two; memory is the allocator's peak on a GPU and the peak "
        "resident size of a fresh process on a CPU."
    )
    if any(under_load(row) for row in rows):
        caption += f" {BUSY} Other processes used more than {100 * LOADED:.0f} % of the processor meanwhile."
    if common:
        caption += f" All rows: {', '.join(common)}."
    return [table_of("cost", "Cost", caption, columns, rows, cells)]


def departures(evidence: Evidence) -> list[Table]:
    """For every model: its numbers under each departure from the protocol; empty if there are none."""
    rows = evidence.protocol.rows
    if not rows:
        return []
    names = [evidence.protocol.name, *(row.name for row in rows)]
    tables = []
    for row in evidence.models:
        measured = [name for name in names if name in row.entry.results]
        columns, cells = metric_columns(
            evidence, [row] * len(measured), [(name, "all") for name in measured], best=False
        )
        for key, title, read, decimals in BRIEF_COSTS:
            found = [read(row.entry.costs.get(name, row.entry.cost)) for name in measured]
            if any(value is not None for value in found):
                columns.append(Column(key, title, "lower"))
                cells.append([single(value, number(value, decimals) if value is not None else "") for value in found])
        lines = tuple(
            Line(name, "protocol" if name == names[0] else "departures", tuple(column[index] for column in cells))
            for index, name in enumerate(measured)
        )
        caption = (
            f"{row.label}: the same model under the protocol and under each departure from it; cost is measured again "
            "if a departure draws or times differently."
        )
        tables.append(Table(f"departures-{slug(row.name)}", row.label, caption, "Protocol row", tuple(columns), lines))
    return tables


def findings(evidence: Evidence) -> list[str]:
    """One sentence per model about its difference from the reference in the first metric."""
    metric = evidence.metrics[0]
    reference = evidence.by_name[evidence.reference]
    sentences = []
    for row in evidence.models:
        item = next(
            (
                item
                for item in evidence.differences_from(evidence.reference)
                if (item.entry, item.metric, item.level) == (row.name, metric.name, "all")
            ),
            None,
        )
        if item:
            sentences.append(_sentence(row.label, reference.label, metric, item, evidence.decimals(metric.name)))
    return sentences


def _sentence(label: str, reference: str, metric: MetricInfo, item: Difference, shown: int) -> str:
    gap = item.difference
    change = f"{number(gap.mean, shown, sign=True)} {interval(gap.low, gap.high, shown, sign=True)}"
    verdict = {
        "better": f"is better than {reference}",
        "worse": f"is worse than {reference}",
        "equal": f"equals {reference}",
        "undecided": f"is not distinguishable from {reference}",
        "too few films": f"is not judged against {reference} (too few films)",
    }[item.verdict or "undecided"]
    ties = f", {item.ties:,} equal" if item.ties else ""
    return f"{label} {verdict} in {metric.title}: {change}; {item.wins:,} samples won, {item.losses:,} lost{ties}."
