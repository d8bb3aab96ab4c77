"""Columns and cells of tables: means and differences."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation.schema import Difference, MetricInfo
from ..evaluation.statistics import Interval
from .results import Evidence, Row
from .tables import EMPTY, Cell, Column, Line, Raw, Table, interval, number

GROUPS = {"floor": "floors", "anchor": "anchors", "peer": "peers", "model": "models", "ceiling": "ceilings"}


def table_of(
    name: str, title: str, caption: str, columns: Sequence[Column], rows: Sequence[Row], cells: Sequence[Sequence[Cell]]
) -> Table:
    """A table with one line per row of the results."""
    lines = tuple(
        Line(row.label, GROUPS[row.entry.role], tuple(column[index] for column in cells), row.name)
        for index, row in enumerate(rows)
    )
    return Table(name, title, caption, "Row", tuple(columns), lines)


def metric_columns(
    evidence: Evidence, rows: Sequence[Row], places: Sequence[tuple[str, str]], *, best: bool = True
) -> tuple[list[Column], list[list[Cell]]]:
    """The metrics' columns, each row at its (protocol row, level), without metrics that no row has."""
    columns, cells = [], []
    for metric in evidence.metrics:
        found = [row.interval(name, metric.name, level) for row, (name, level) in zip(rows, places, strict=True)]
        if not any(found):
            continue
        shown = evidence.decimals(metric.name)
        column = [mean_cell(item, shown) for item in found]
        columns.append(Column(metric.name, metric.title, direction(metric)))
        cells.append(with_best(column, rows, metric.sense) if best else column)
    return columns, cells


def difference_columns(
    evidence: Evidence, rows: Sequence[tuple[str, Sequence[Difference]]]
) -> tuple[list[Column], list[list[Cell]]]:
    """The metrics' columns of paired differences over all samples."""
    columns, cells = [], []
    for metric in evidence.metrics:
        found = [
            next((i for i in items if (i.entry, i.metric, i.level) == (name, metric.name, "all")), None)
            for name, items in rows
        ]
        if any(found):
            shown = evidence.decimals(metric.name)
            columns.append(Column(metric.name, metric.title, direction(metric)))
            cells.append([_difference(item, shown) for item in found])
    return columns, cells


def _difference(item: Difference | None, decimals: int) -> Cell:
    if item is None:
        return EMPTY
    gap = item.difference
    return Cell(
        number(gap.mean, decimals, sign=True),
        interval(gap.low, gap.high, decimals, sign=True),
        f"{item.wins:,} : {item.losses:,}",
        item.verdict or "",
        raw=(
            *(("", gap.mean), ("_low", gap.low), ("_high", gap.high)),
            *(("_wins", item.wins), ("_losses", item.losses), ("_ties", item.ties)),
        ),
    )


def mean_cell(item: Interval | None, decimals: int) -> Cell:
    """A mean with its interval; empty if there is none."""
    if item is None:
        return EMPTY
    raw = (("", item.mean), ("_low", item.low), ("_high", item.high), ("_count", item.count))
    return Cell(number(item.mean, decimals), interval(item.low, item.high, decimals), raw=raw)


def with_best(cells: Sequence[Cell], rows: Sequence[Row], sense: int) -> list[Cell]:
    """Mark the best model, if there are several."""
    values = {
        index: sense * float(dict(cell.raw)[""] or 0)
        for index, (cell, row) in enumerate(zip(cells, rows, strict=True))
        if row.entry.role == "model" and cell is not EMPTY
    }
    best = max(values, key=values.__getitem__) if len(values) > 1 else None
    return [
        Cell(cell.text, cell.range, cell.note, cell.verdict, index == best, cell.raw)
        for index, cell in enumerate(cells)
    ]


def single(value: Raw, text: str) -> Cell:
    """A cell with a single value; empty if there is none."""
    return EMPTY if value is None else Cell(text, raw=(("", value),))


def direction(metric: MetricInfo) -> str:
    """The better direction of a metric."""
    return "higher" if metric.higher_is_better else "lower"


def percent(evidence: Evidence) -> str:
    """The confidence level of the intervals as text."""
    found = next(row.interval(evidence.protocol.name, evidence.metrics[0].name) for row in evidence.rows)
    return f"{100 * found.level:g}\u00a0%" if found else "bootstrap"


def slug(name: str) -> str:
    """A name for use in a file name."""
    return "".join(character if character.isalnum() else "-" for character in name).strip("-").lower()
