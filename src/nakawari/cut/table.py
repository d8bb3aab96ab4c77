"""Time sheets as CSV tables in OpenToonz's form: a column per level, a row per frame."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..errors import NakawariError
from ..files import write_text
from .sheet import DEFAULT_RATE, SIGNS, Cell, Level, Mark, Sheet, written

_MARKS = {sign: mark for mark, sign in SIGNS.items()} | {mark.value: mark for mark in SIGNS}
_NUMBERING = ("", "frame", "frames", "#")
"""Headings of a first column of row numbers."""


def read_table(path: Path) -> Sheet:
    """Read a table: level names in the first row, then a row per frame.

    An empty cell shows nothing. A cell that repeats the drawing above it, and |, hold the drawing. ○ and ● begin an
    in-between and a repeated in-between, as in XDTS.

    Raises:
        NakawariError: the file is missing or is not such a table.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text.rstrip("\r\n"), newline=""), strict=True))
    except FileNotFoundError as error:
        raise NakawariError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise NakawariError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise NakawariError(f"{path} is not a table in UTF-8 ({error}); export it again as CSV in UTF-8.") from error
    if not rows:
        raise NakawariError(f"{path} is empty; write the level names in the first row, then a row for each frame.")
    names, *frames = rows
    if not frames:
        raise NakawariError(f"{path} has no frames below the level names; add a row for each frame.")
    for number, row in enumerate(frames, 2):
        if len(row) > len(names):
            raise NakawariError(
                f"{path} has {len(row)} cells in row {number} but {len(names)} level names; name every column."
            )
    first = int(names[0].strip().casefold() in _NUMBERING)
    columns = [[row[place].strip() if place < len(row) else "" for row in frames] for place in range(len(names))]
    levels = [
        Level(name.strip() or f"level{track + 1}", _cells(column), track)
        for track, (name, column) in enumerate(zip(names[first:], columns[first:], strict=True))
    ]
    return Sheet(path.stem, len(frames), DEFAULT_RATE, tuple(levels))


def _cells(column: list[str]) -> dict[int, Cell]:
    cells: dict[int, Cell] = {}
    above: Cell | None = None
    for row, text in enumerate(column):
        cell = _cell(text)
        if cell.mark is not Mark.GOES_ON and (cell != above or cell.mark in (Mark.BETWEEN, Mark.REVERSE)):
            cells[row] = above = cell
    return cells


def _cell(text: str) -> Cell:
    if text == "":
        return Cell(Mark.NOTHING)
    return Cell(_MARKS[text]) if text in _MARKS else Cell(Mark.DRAWING, text)


def write_table(path: Path, sheet: Sheet) -> None:
    """Write a sheet as a table, atomically. Roles, the rate and other fields are lost.

    Raises:
        NakawariError: a level repeats the held drawing in a new cell before an in-between: a table cannot
            distinguish this from holding, and the in-between would move.
    """
    columns = [_column(level, sheet.duration, path) for level in sheet.levels]
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow([level.name for level in sheet.levels])
    table.writerows(zip(*columns, strict=True))
    write_text(path, text.getvalue())


def _column(level: Level, duration: int, path: Path) -> list[str]:
    column, above = [""] * duration, Cell(Mark.NOTHING)
    cells = written(level, duration)
    for place, (row, cell) in enumerate(cells):
        again = cell.mark is Mark.DRAWING and (cell.mark, cell.name) == (above.mark, above.name)
        if again and any(later.mark is Mark.BETWEEN for _, later in cells[place + 1 :]):
            raise NakawariError(
                f"{path} cannot record that level {level.name} repeats {cell.name} on frame {row + 1} before an "
                "in-between; write the sheet as .xdts."
            )
        end = cells[place + 1][0] if place + 1 < len(cells) else duration
        shown = "" if cell.mark is Mark.NOTHING else cell.text
        held = SIGNS[Mark.GOES_ON] if cell.mark in (Mark.BETWEEN, Mark.REVERSE) else shown
        column[row:end] = [shown, *[held] * (end - row - 1)]
        above = cell
    return column
