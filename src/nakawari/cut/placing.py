"""Find the missing drawings of a level, and their position between existing ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, groupby, pairwise

from ..errors import NakawariError
from .sheet import Cell, Level, Mark, Role, written

HasFile = Callable[[str], bool]
"""Whether a drawing of this name exists."""


@dataclass(frozen=True)
class Way:
    """Position of a missing drawing: at `share` (0 to 1) between the existing drawings `start` and `end`.

    `rows`: the rows on which these two begin; missing drawings with the same rows are in one gap.
    """

    start: str
    end: str
    rows: tuple[int, int]
    share: float


@dataclass(frozen=True)
class Drawing:
    """A drawing that a level shows.

    Args:
        name: as in the sheet, or a new name such as "1a" for an unnumbered in-between.
        row: its first row.
        way: its position; None for an existing drawing.
        numbered: whether the sheet named it.
    """

    name: str
    row: int
    way: Way | None
    numbered: bool = True


@dataclass(frozen=True)
class Exposures:
    """The exposures of a level.

    Args:
        drawings: each drawing once, in order of first appearance.
        begins: row -> the index in `drawings` of the drawing shown from there on, None for nothing.
    """

    drawings: tuple[Drawing, ...]
    begins: dict[int, int | None]

    def shown(self, duration: int) -> list[int | None]:
        """The index of the drawing on every frame, None for nothing."""
        frames: list[int | None] = []
        current = None
        for row in range(duration):
            current = self.begins.get(row, current)
            frames.append(current)
        return frames


@dataclass(frozen=True)
class _Event:
    """From `row` on the drawing `name` is shown, None for nothing; `key`: the sheet numbers it, not as a breakdown."""

    row: int
    name: str | None
    key: bool = False


def place(level: Level, duration: int, has_file: HasFile) -> Exposures:
    """The exposures of a level, with the positions of its missing drawings.

    A missing drawing's position is that of its row between the rows of the nearest existing drawings before and
    after it. A drawing shown several times is placed where it first has two different existing drawings
    around it.

    Raises:
        NakawariError: a missing drawing without an existing one before or after it, or a ● with nothing to repeat.
    """
    cells = written(level, duration)
    names = _new_names(cells)
    events = _repeated([_event(row, cell, names.get(row), has_file) for row, cell in cells], cells, level)
    numbered = {cell.name for _, cell in cells if cell.mark is Mark.DRAWING}
    order = list(dict.fromkeys(event.name for event in events if event.name is not None))
    first = {event.name: event.row for event in reversed(events)}
    drawings = [
        Drawing(name, first[name], None if has_file(name) else _way(name, events, level, has_file), name in numbered)
        for name in order
    ]
    numbers = {name: number for number, name in enumerate(order)}
    return Exposures(tuple(drawings), {e.row: None if e.name is None else numbers[e.name] for e in events})


def _new_names(cells: Sequence[tuple[int, Cell]]) -> dict[int, str]:
    """Row -> name for every ○: the name of the numbered cell before it plus a free letter."""
    taken = {cell.name for _, cell in cells if cell.mark is Mark.DRAWING}
    names: dict[int, str] = {}
    before = "0"
    for row, cell in cells:
        if cell.mark is Mark.DRAWING:
            before = cell.name
        elif cell.mark is Mark.BETWEEN:
            names[row] = next(name for name in _lettered(before) if name not in taken)
            taken.add(names[row])
    return names


def _lettered(stem: str) -> Iterator[str]:
    """The stem followed by a, b ... z, aa, ab ..."""
    for number in count(1):
        letters = ""
        while number:
            number, digit = divmod(number - 1, 26)
            letters = chr(ord("a") + digit) + letters
        yield stem + letters


def _event(row: int, cell: Cell, new_name: str | None, has_file: HasFile) -> _Event:
    if cell.mark is Mark.DRAWING:
        return _Event(row, cell.name, cell.role is not Role.REFERENCE and has_file(cell.name))
    return _Event(row, new_name)


def _repeated(events: list[_Event], cells: Sequence[tuple[int, Cell]], level: Level) -> list[_Event]:
    """The events with every ● replaced by the in-between it repeats."""
    done: list[_Event] = []
    pairs = list(zip(events, cells, strict=True))
    runs = [(mark, list(run)) for mark, run in groupby(pairs, key=lambda pair: pair[1][1].mark is Mark.REVERSE)]
    for number, (is_reverse, run) in enumerate(runs):
        if not is_reverse:
            done += [event for event, _ in run]
            continue
        following = runs[number + 1][1][0][0].name if number + 1 < len(runs) else None
        back = _gap_back(done, following)
        if len(run) > len(back):
            row = run[len(back)][0].row
            raise NakawariError(
                f"Level {level.name} has a ● on frame {row + 1}, but the gap before it has {len(back)} in-betweens to "
                "repeat; write the name of the drawing there."
            )
        done += [_Event(event.row, name) for (event, _), name in zip(run, back, strict=False)]
    return done


def _gap_back(done: Sequence[_Event], following: str | None) -> list[str]:
    """The in-betweens that a run of ● repeats, last first: those of the gap before the key that the run follows.

    If the run is between keys X and Y and an earlier gap is between Y and X, it is that gap.
    """
    keys = [place for place, event in enumerate(done) if event.key]
    if not keys or any(event.name for event in done[keys[-1] + 1 :]):
        return []
    last = done[keys[-1]].name
    gaps = []
    for first, second in pairwise(keys):
        between = [event.name for event in done[first + 1 : second] if event.name is not None]
        if between or done[first].name != done[second].name:  # a repeated key only extends its exposure
            gaps.append((done[first].name, done[second].name, list(dict.fromkeys(reversed(between)))))
    mirrored = [between for start, end, between in gaps if (start, end) == (following, last)]
    before = [between for _, end, between in gaps if end == last]
    return (mirrored or before or [[]])[-1]


def _way(name: str, events: Sequence[_Event], level: Level, has_file: HasFile) -> Way:
    found: list[Way] = []
    lacking = "before"
    for place, event in enumerate(events):
        if event.name != name:
            continue
        before = next((e for e in reversed(events[:place]) if e.name is not None and has_file(e.name)), None)
        after = next((e for e in events[place + 1 :] if e.name is not None and has_file(e.name)), None)
        if before is None or after is None:
            lacking = "before and after" if before is after else "before" if before is None else "after"
            continue
        share = (event.row - before.row) / (after.row - before.row)
        found.append(Way(str(before.name), str(after.name), (before.row, after.row), share))
    if not found:
        row = next(event.row for event in events if event.name == name)
        raise NakawariError(
            f"Level {level.name}: the drawing {name} on frame {row + 1} is missing and has no drawing {lacking} it; "
            "draw one, or remove it from the sheet."
        )
    return next((way for way in found if way.start != way.end), found[0])
