"""A folder of key drawings as a time sheet of one level."""

from __future__ import annotations

from pathlib import Path

from ..interpolation import Timing, ask, key_places, timeline_of
from ..interpolation.pairs import start_before_end
from ..media import list_images
from .sheet import DEFAULT_RATE, Cell, Level, Mark, Role, Sheet


def sheet_of_keys(
    folder: Path, between: str | None, exposure: int, rate: float | None
) -> tuple[Sheet, dict[str, Path]]:
    """A sheet with the drawings of a folder as keys and in-betweens between them, and their files.

    The number of in-betweens is chosen as for `nakawari interpolate`: by `between`, else by frame numbers at the end of
    the names, else seven in every gap. In-betweens with a frame number are named by it, others get a letter.

    Args:
        between: counts as on the command line; None uses the names.
        exposure: frames per drawing.
        rate: frames per second, None for 24.

    Raises:
        NakawariError, UsageError: as `list_images` and `ask`.
    """
    paths = start_before_end(list_images(folder))
    timing = Timing(exposure)
    asked = ask(paths, between, ("even",), timing, loop=False)
    places = key_places(asked.counts, len(paths))
    timeline = timeline_of(places, asked, timing)
    cells = {}
    for key, begin, (file, *_) in zip(places, timeline.begins, timeline.files(), strict=True):
        row = begin - timeline.begins[0]
        if key is not None:
            cells[row] = Cell(Mark.DRAWING, paths[key].stem, Role.KEY)
        else:
            cells[row] = Cell(Mark.DRAWING, Path(file).stem) if asked.numbers else Cell(Mark.BETWEEN)
    level = Level(folder.resolve().name, cells)
    duration = timeline.begins[-1] + timeline.lengths[-1] - timeline.begins[0]
    sheet = Sheet(level.name, duration, rate or DEFAULT_RATE, (level,))
    return sheet, {path.stem: path for path in paths}
