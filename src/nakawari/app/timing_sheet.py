"""A time sheet dropped among the keys: their order, and the number and timing of the in-betweens."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

from ..cut.files import read_sheet
from ..cut.sheet import Level, Mark, Sheet, written
from ..errors import UsageError
from .work import KeyFile, Work, plain_name

SHEETS = frozenset({".xdts", ".csv"})


def apply_sheet(work: Work, file: Path, name: str) -> None:
    """Put the keys into the order of the sheet, with its in-betweens (○) between them.

    Uses the first level whose drawings are among the keys. Raises `UsageError` if there is none.
    """
    named = work.folder / plain_name(name)
    shutil.copyfile(file, named)
    sheet = read_sheet(named)
    with work.changing() as asked:
        for level in sheet.levels:
            found = _order(level, sheet, asked.keys)
            if found is not None:
                asked.keys, asked.between, asked.spacing = found
                asked.tracks, asked.loop, asked.fps = {}, False, sheet.rate
                return
    raise UsageError(f"{plain_name(name)} shows none of these keys; drop its drawings with it, named like its cells.")


def _order(
    level: Level, sheet: Sheet, keys: list[KeyFile]
) -> tuple[list[KeyFile], list[int], list[str | list[float]]] | None:
    """Keys, counts and spacing of a level; None if fewer than two of its drawings are present."""
    there = {_cell_name(key.name, level.name): key for key in keys}
    rows = written(level, sheet.duration)
    drawn = [(row, there[cell.name]) for row, cell in rows if cell.mark is Mark.DRAWING and cell.name in there]
    drawn = [one for number, one in enumerate(drawn) if one[1] not in [key for _, key in drawn[:number]]]
    if len(drawn) < 2:
        return None
    counts, spacings = [], list[str | list[float]]()
    for (low, _), (high, _) in pairwise(drawn):
        between = [row for row, cell in rows if low < row < high and cell.mark is Mark.BETWEEN]
        counts.append(len(between))
        spacings.append([round((row - low) / (high - low), 4) for row in between] or "even")
    left = [key for key in keys if key not in [one for _, one in drawn]]
    if left:
        raise UsageError(f"{left[0].name} is not on the sheet; remove it, or add it to the sheet.")
    return [key for _, key in drawn], counts, spacings


def _cell_name(file: str, level: str) -> str:
    """A drawing's name in a cell: its file name without the level's name and without leading zeros."""
    stem = Path(file).stem
    return stem.removeprefix(level).lstrip("._-").lstrip("0") or stem
