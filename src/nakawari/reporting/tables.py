"""One table, written as Markdown or CSV; LaTeX (`latex.py`) and the page use the same object."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

Raw = str | float | int | bool | None

MINUS = "−"
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """A column of cells.

    Args:
        key: in CSV files.
        title: in printed tables.
        better: `higher`, `lower`, or empty if neither is better.
        text: text instead of numbers; aligned left.
    """

    key: str
    title: str
    better: str = ""
    text: bool = False

    @property
    def arrow(self) -> str:
        """An arrow in the better direction."""
        return {"higher": "↑", "lower": "↓"}.get(self.better, "")


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Args:
        text: the printed value.
        range: the printed interval; empty if there is none.
        note: a third line, such as wins and losses.
        verdict: of a difference, from `nakawari.evaluation.verdicts`, otherwise empty.
        best: the best of its column.
        raw: CSV values by suffix of the column's key; the empty suffix is the value itself.
    """

    text: str
    range: str = ""
    note: str = ""
    verdict: str = ""
    best: bool = False
    raw: tuple[tuple[str, Raw], ...] = ()

    @property
    def mark(self) -> str:
        """The verdict as a sign."""
        return {"better": "▲", "worse": "▼", "undecided": "○", "equal": "="}.get(self.verdict, "")


EMPTY = Cell(NOTHING)


@dataclass(frozen=True)
class Line:
    """A row: its head, its group (groups are separated by a rule), and its cells."""

    head: str
    group: str
    cells: tuple[Cell, ...]
    name: str = ""

    @property
    def full_name(self) -> str:
        """The unabbreviated head."""
        return self.name or self.head


@dataclass(frozen=True)
class Table:
    """A table with its caption; `name` is its file name."""

    name: str
    title: str
    caption: str
    head: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def digits(values: Sequence[float]) -> int:
    """Number of decimals of a column: two from 10 up, three from 1 up, otherwise four."""
    largest = max((abs(value) for value in values), default=0.0)
    return 2 if largest >= 10 else 3 if largest >= 1 else 4


def number(value: float, decimals: int, *, sign: bool = False) -> str:
    """A formatted number with a true minus sign; `sign` also writes a plus."""
    text = f"{abs(value):.{decimals}f}"
    zero = not text.strip("0.")
    return ("" if zero else MINUS if value < 0 else "+" if sign else "") + text


def interval(low: float | None, high: float | None, decimals: int, *, sign: bool = False) -> str:
    """A formatted `[low, high]`; a dash for a single sample without interval."""
    if low is None or high is None:
        return NOTHING
    return f"[{number(low, decimals, sign=sign)}, {number(high, decimals, sign=sign)}]"


def markdown(table: Table) -> str:
    """A GitHub table; the best of a column is bold."""
    titles = [_pipe(" ".join(filter(None, (column.title, column.arrow)))) for column in table.columns]
    rows = [
        f"| {' | '.join([table.head, *titles])} |",
        f"| {' | '.join(['---', *('---' if column.text else '---:' for column in table.columns)])} |",
        *(f"| {' | '.join([_pipe(line.head), *map(_markdown_cell, line.cells)])} |" for line in table.lines),
    ]
    return "\n".join(rows) + "\n"


def _markdown_cell(cell: Cell) -> str:
    text = f"**{_pipe(cell.text)}**" if cell.best else _pipe(cell.text)
    return " ".join(filter(None, (cell.mark, text, cell.range, cell.note and f"({cell.note})")))


def _pipe(text: str) -> str:
    return re.sub(r"([\\|*_`<])", r"\\\1", text)


def comma_separated(table: Table) -> str:
    """CSV with full precision and full names: every column as `key`, then `key_low`, `key_high` and so on."""
    suffixes = [
        list(dict.fromkeys(suffix for line in table.lines for suffix, _ in line.cells[index].raw)) or [""]
        for index in range(len(table.columns))
    ]
    header = [
        "name",
        "group",
        *(column.key + suffix for column, own in zip(table.columns, suffixes, strict=True) for suffix in own),
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for line in table.lines:
        cells = [dict(cell.raw) for cell in line.cells]
        values = [cell.get(suffix) for cell, own in zip(cells, suffixes, strict=True) for suffix in own]
        writer.writerow([line.full_name, line.group, *map(_plain, values)])
    return buffer.getvalue()


def _plain(value: Raw) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)
