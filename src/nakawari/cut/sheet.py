"""A time sheet: levels, and which drawing each shows on which frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

DEFAULT_RATE = 24.0
"""Frames per second of a sheet that does not say."""
PREVIEWS = ("mp4", "gif")
"""As what a cut can be shown playing."""


class Mark(StrEnum):
    """What a written cell says; the values are those of XDTS, but for `DRAWING`, whose value is the drawing's name."""

    DRAWING = "drawing"
    NOTHING = "SYMBOL_NULL_CELL"
    GOES_ON = "SYMBOL_HYPHEN"
    BETWEEN = "SYMBOL_TICK_1"
    REVERSE = "SYMBOL_TICK_2"


SIGNS = {Mark.NOTHING: "×", Mark.GOES_ON: "|", Mark.BETWEEN: "○", Mark.REVERSE: "●"}
"""How the marks that are not drawings are printed."""


class Role(StrEnum):
    """What a drawing is; the values are the options of XDTS."""

    KEY = "OPTION_KEYFRAME"
    REFERENCE = "OPTION_REFERENCEFRAME"


@dataclass(frozen=True)
class Cell:
    """One written cell: a mark, and for a drawing its name and, where the sheet says it, its role."""

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
        name: as trimmed of spaces; several levels of a sheet may have one name.
        cells: row -> what is written there. A cell holds until the next written row. Rows may be negative or past the
            end of the sheet.
        track: the number of its track; the lowest is the bottom level.
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
        source: what an XDTS reader read, for the writer to put changes into; None for a sheet from elsewhere.
    """

    name: str
    duration: int
    rate: float
    levels: tuple[Level, ...]
    source: Mapping[str, Any] | None = None


def written(level: Level, duration: int) -> list[tuple[int, Cell]]:
    """The cells that count, in order of rows 0 ... duration - 1, without those that say that the one before goes on.

    The last cell at or before row 0 is that of row 0: programs write at negative rows what holds before the start.
    """
    said = sorted((row, cell) for row, cell in level.cells.items() if cell.mark is not Mark.GOES_ON)
    early = [cell for row, cell in said if row <= 0]
    return [(0, cell) for cell in early[-1:]] + [(row, cell) for row, cell in said if 0 < row < duration]
