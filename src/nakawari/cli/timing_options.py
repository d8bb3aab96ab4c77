"""Timing options of `nakawari interpolate`: spacing, exposure and numbering of the drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..interpolation import Only, Timing
    from ..interpolation.timeline import Asked, Timeline

_Option = partial(typer.Option, rich_help_panel="Timing")


@dataclass(frozen=True)
class Times:
    """The parsed options; `spacings` as returned by `interpolation.parse_spacing`, `only` as given."""

    spacings: tuple[str | tuple[float, ...], ...]
    timing: Timing
    only: str | None
    footage: bool = False
    spread: str = "keep"

    def is_footage(self, sources: Sequence[Path]) -> bool:
        """Whether the only source is footage and not keys: a video, or a folder with --footage."""
        from ..media import is_video

        return len(sources) == 1 and (self.footage or is_video(sources[0]))

    def only_of(self, timeline: Timeline, asked: Asked) -> Only | None:
        """The frame or gap that `--only` names; `UsageError` if it does not exist or is a key."""
        return None if self.only is None else _only(self.only, timeline, asked.counts, 2 if asked.pairs else 1)


def timing(
    *,
    spacing: Annotated[
        list[str] | None,
        _Option(
            metavar="SPACING",
            help="even, ease-in, ease-out, ease, or fractions of the gap (0.1,0.3,0.7); repeat for each gap.",
        ),
    ] = None,
    exposure: Annotated[
        str | None,
        _Option(
            metavar="FRAMES|keep|ones",
            help="Frames per drawing: 2 is on twos. For footage: keep, or ones for a drawing on every frame.",
        ),
    ] = None,
    hold: Annotated[
        str | None, _Option(metavar="FRAMES", help="Exposure of the keys in frames: one for all (6) or each (6,1,12).")
    ] = None,
    start: Annotated[int | None, _Option(min=0, help="The number of the first frame.")] = None,
    name: Annotated[str | None, _Option(metavar="PATTERN", help="File name pattern, # for each digit: A_####.")] = None,
    copies: Annotated[
        bool, _Option("--copies", help="Write a file for every frame, not only where a drawing begins.")
    ] = False,
    only: Annotated[str | None, _Option(metavar="FRAME|gap:GAP", help="Redraw only this frame or gap.")] = None,
    footage: Annotated[
        bool, _Option("--footage", help="The folder holds all frames of a film, not keys; implied for a video.")
    ] = False,
) -> Times:
    """The options, checked against each other; `UsageError` for invalid values."""
    from ..interpolation import Timing, parse_spacing

    spacings = tuple(parse_spacing(one) for one in spacing or ["even"])
    spread = exposure if exposure in ("keep", "ones") else "keep"
    frames = 1 if exposure in (None, "keep", "ones") else _frames(str(exposure))
    return Times(spacings, Timing(frames, _holds(hold), start, name, copies), only, footage, spread)


def _frames(text: str) -> int:
    from ..errors import UsageError

    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise UsageError(
            f"The exposure {text!r} is not a number of frames; give 1 to 100, or for footage keep or ones."
        )
    return int(text)


def _holds(text: str | None) -> tuple[int, ...]:
    from ..errors import UsageError

    pieces = [] if text is None else text.split(",")
    if not all(piece.strip().isdecimal() and 1 <= int(piece) <= 1000 for piece in pieces):
        raise UsageError(f"The holds {text!r} are not numbers of frames; give one (6) or one for each key (6,1,12).")
    return tuple(map(int, pieces))


def _only(text: str, timeline: Timeline, counts: Sequence[int], every: int) -> Only:
    """Parse `--only`; `every`: step between the gaps that count, 2 for keys in pairs."""
    from ..errors import UsageError
    from ..interpolation import Only

    word, colon, number = text.rpartition(":")
    if not number.isdecimal() or (word, colon) not in (("", ""), ("gap", ":")):
        raise UsageError(f"--only {text!r} is neither a frame (3) nor a gap (gap:2).")
    if word:
        gap, last = (int(number) - 1) * every, -(-len(counts) // every)
        if not 0 <= gap < len(counts) or not counts[gap]:
            raise UsageError(f"--only {text} does not exist: the gaps are 1 to {last}; name one with in-betweens.")
        return Only(gap)
    first = 1
    for gap, count in enumerate(counts):
        if int(number) in timeline.begins[first : first + count]:
            return Only(gap, int(number))
        first += count + 1
    raise UsageError(f"--only {text} is not an in-between; the record lists the frames on which drawings begin.")
