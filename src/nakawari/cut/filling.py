"""Fill a sheet: a name in every cell that shows a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from .placing import Exposures
from .sheet import Cell, Level, Mark, Sheet, written


class Naming(StrEnum):
    """Names of the finished drawings: `beside` keeps names and adds letters for in-betweens ("1a"),
    `renumber` numbers every level 1, 2, 3 ... in order of first appearance."""

    beside = "beside"
    renumber = "renumber"


def names_of(exposures: Exposures, naming: Naming) -> list[str]:
    """Final names of a level's drawings."""
    drawings = exposures.drawings
    return [str(n + 1) if naming is Naming.renumber else drawing.name for n, drawing in enumerate(drawings)]


def filled(sheet: Sheet, exposures: Sequence[Exposures], naming: Naming) -> Sheet:
    """The sheet with names in place of ○ and ●, and with new names for `renumber`; its timing is unchanged."""
    levels = [
        _filled(level, own, names_of(own, naming), sheet.duration)
        for level, own in zip(sheet.levels, exposures, strict=True)
    ]
    return replace(sheet, levels=tuple(levels))


def _filled(level: Level, exposures: Exposures, names: Sequence[str], duration: int) -> Level:
    cells = dict(level.cells)
    counted = written(level, duration)
    at_start = max((row for row, cell in cells.items() if row <= 0 and cell.mark is not Mark.GOES_ON), default=0)
    for row, cell in counted:
        number = exposures.begins[row]
        if number is not None:
            cells[row if row else at_start] = Cell(Mark.DRAWING, names[number], cell.role)
    return replace(level, cells=cells)
