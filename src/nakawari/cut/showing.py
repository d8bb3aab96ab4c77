"""Print a sheet: a row per frame, a column per level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from unicodedata import east_asian_width

from .sheet import SIGNS, Cell, Mark, Role, Sheet, written

_HELD = SIGNS[Mark.GOES_ON]
_BRACKETS = {Role.KEY: "()", Role.REFERENCE: "[]"}


def lines_of(sheet: Sheet) -> Iterator[str]:
    """The sheet line by line: a heading, the names of the levels, and a line for each frame, counted from 1.

    (1) is a key and [2] a breakdown if the sheet marks them, ○ a missing in-between, ● a repeated one, × nothing
    from here on, | a held drawing.
    """
    seconds = sheet.duration / sheet.rate
    yield f"{sheet.name or 'sheet'}: {sheet.duration} frames at {sheet.rate:g} per second ({seconds:.2f} s)"
    columns = [_column(dict(written(level, sheet.duration)), sheet.duration) for level in sheet.levels]
    names = [level.name for level in sheet.levels]
    widths = [max(map(_width, [name, *column])) for name, column in zip(names, columns, strict=True)]
    yield _line("frame", names, widths)
    for row in range(sheet.duration):
        yield _line(str(row + 1), [column[row] for column in columns], widths)


def _column(cells: Mapping[int, Cell], duration: int) -> list[str]:
    column, held = [], ""
    for row in range(duration):
        if row in cells:
            held = "" if cells[row].mark is Mark.NOTHING else _HELD
        column.append(_text(cells[row]) if row in cells else held)
    return column


def _text(cell: Cell) -> str:
    left, right = _BRACKETS.get(cell.role, ("", "")) if cell.role else ("", "")
    return f"{left}{cell.text}{right}"


def _line(frame: str, cells: list[str], widths: list[int]) -> str:
    parts = [" " * (width - _width(cell)) + cell for cell, width in zip(cells, widths, strict=True)]
    return "  ".join([f"{frame:>5}", *parts]).rstrip()


def _width(text: str) -> int:
    """Width of `text` in terminal columns."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
