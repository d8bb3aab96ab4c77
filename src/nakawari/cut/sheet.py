"""Time sheets: levels, and the drawing that each shows on every frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

DEFAULT_RATE = 24.0
"""Default frames per second."""
PREVIEWS = ("mp4", "gif")
"""Formats of previews."""


class Mark(StrEnum):
    """Content of a written cell; the values are those of XDTS, except `DRAWING`, where XDTS has the drawing's name."""

    DRAWING = "drawing"
    NOTHING = "SYMBOL_NULL_CELL"
    GOES_ON = "SYMBOL_HYPHEN"
    BETWEEN = "SYMBOL_TICK_1"
    REVERSE = "SYMBOL_TICK_2"


SIGNS = {Mark.NOTHING: "×", Mark.GOES_ON: "|", Mark.BETWEEN: "○", Mark.REVERSE: "●"}
"""Printed signs of the marks that are not drawings."""


class Role(StrEnum):
    """Role of a drawing; the values are the options of XDTS."""

    KEY = "OPTION_KEYFRAME"
    REFERENCE = "OPTION_REFERENCEFRAME"


@dataclass(frozen=True)
class Cell:
    """One written cell: a mark, and for a drawing its name and its role, if the sheet has one."""

    mark: Mark
    name: str = ""
    role: Role | None = None

    @property
    def text(self) -> str:
        """The name of the drawing, or the sign of the mark."""
        return self.name if self.mark is Mark.DRAWING else SIGNS[self.mark]


@dataclass(frozen=True)
class Level:
    """A stack of drawings.

    Args:
        name: without surrounding spaces; several levels of a sheet may have the same name.
        cells: row -> written cell. A cell holds until the next written row. Rows may be negative or past the
            end of the sheet.
        track: its track number; the lowest is the bottom level.
    """

    name: str
    cells: Mapping[int, Cell] = field(default_factory=dict)
    track: int = 0


@dataclass(frozen=True)
class Sheet:
    """A time sheet.

    Args:
        name: the name of its table.
        duration: frames, 1 or more.
        rate: frames per second.
        levels: bottom first.
        source: the original XDTS document, which the writer updates; None for other sheets.
    """

    name: str
    duration: int
    rate: float
    levels: tuple[Level, ...]
    source: Mapping[str, Any] | None = None


def written(level: Level, duration: int) -> list[tuple[int, Cell]]:
    """The effective cells in rows 0 ... duration - 1, in order, without continuation marks.

    The last cell at or before row 0 counts for row 0: programs write exposures that begin before the start at negative
    rows.
    """
    said = sorted((row, cell) for row, cell in level.cells.items() if cell.mark is not Mark.GOES_ON)
    early = [cell for row, cell in said if row <= 0]
    return [(0, cell) for cell in early[-1:]] + [(row, cell) for row, cell in said if 0 < row < duration]
