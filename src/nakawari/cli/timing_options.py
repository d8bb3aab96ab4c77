"""The options of `nakawari interpolate` about time: where drawings stand, for how long, and how they are numbered."""

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
    """What was asked for; `spacings` as `interpolation.parse_spacing` gives them, `only` as it was written."""

    spacings: tuple[str | tuple[float, ...], ...]
    timing: Timing
    only: str | None
    footage: bool = False
    spread: str = "keep"

    def is_footage(self, sources: Sequence[Path]) -> bool:
        """Whether the one thing given is footage and not keys: a video, or a folder that is said to be."""
        from ..media import is_video

        return len(sources) == 1 and (self.footage or is_video(sources[0]))

    def only_of(self, timeline: Timeline, asked: Asked) -> Only | None:
        """What `--only` names in a sequence; `UsageError` where it is not there or is a key."""
        return None if self.only is None else _only(self.only, timeline, asked.counts, 2 if asked.pairs else 1)


def timing(
    *,
    spacing: Annotated[
        list[str] | None,
        _Option(
            metavar="SPACING",
            help="even, ease-in, ease-out, ease, or shares of the way (0.1,0.3,0.7); repeated, one for each gap.",
        ),
    ] = None,
    exposure: Annotated[
        str | None,
        _Option(
            metavar="FRAMES|keep|ones",
            help="Frames for which a drawing stands: 2 is on twos. In footage: keep, or a drawing for every frame.",
        ),
    ] = None,
    hold: Annotated[
        str | None, _Option(metavar="FRAMES", help="Frames for which the keys stand: one for all (6) or each (6,1,12).")
    ] = None,
    start: Annotated[int | None, _Option(min=0, help="The number of the first frame.")] = None,
    name: Annotated[
        str | None, _Option(metavar="PATTERN", help="What frames are called, # for each digit: A_####.")
    ] = None,
    copies: Annotated[
        bool, _Option("--copies", help="A file for every frame, not only where a drawing begins.")
    ] = False,
    only: Annotated[
        str | None, _Option(metavar="FRAME|gap:GAP", help="Draw this frame, or this gap, again; the rest stays.")
    ] = None,
    footage: Annotated[
        bool, _Option("--footage", help="The folder holds all frames of a film, not keys; a video always does.")
    ] = False,
) -> Times:
    """The words held against each other; `UsageError` where they cannot be read."""
    from ..interpolation import Timing, parse_spacing

    spacings = tuple(parse_spacing(one) for one in spacing or ["even"])
    spread = exposure if exposure in ("keep", "ones") else "keep"
    frames = 1 if exposure in (None, "keep", "ones") else _frames(str(exposure))
    return Times(spacings, Timing(frames, _holds(hold), start, name, copies), only, footage, spread)


def _frames(text: str) -> int:
    from ..errors import UsageError

    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise UsageError(f"The exposure {text!r} is not a count of frames; give 1 to 100, or for footage keep or ones.")
    return int(text)


def _holds(text: str | None) -> tuple[int, ...]:
    from ..errors import UsageError

    pieces = [] if text is None else text.split(",")
    if not all(piece.strip().isdecimal() and 1 <= int(piece) <= 1000 for piece in pieces):
        raise UsageError(f"The holds {text!r} are not counts of frames; give one (6) or one for each key (6,1,12).")
    return tuple(map(int, pieces))


def _only(text: str, timeline: Timeline, counts: Sequence[int], every: int) -> Only:
    """`every`: of so many gaps one counts, of two where the keys are pairs."""
    from ..errors import UsageError
    from ..interpolation import Only

    word, colon, number = text.rpartition(":")
    if not number.isdecimal() or (word, colon) not in (("", ""), ("gap", ":")):
        raise UsageError(f"--only {text!r} is neither a frame (3) nor a gap (gap:2).")
    if word:
        gap, last = (int(number) - 1) * every, -(-len(counts) // every)
        if not 0 <= gap < len(counts) or not counts[gap]:
            raise UsageError(f"--only {text} is not there: the gaps are 1 to {last}; name one with in-betweens.")
        return Only(gap)
    first = 1
    for gap, count in enumerate(counts):
        if int(number) in timeline.begins[first : first + count]:
            return Only(gap, int(number))
        first += count + 1
    raise UsageError(f"--only {text} names no in-between; the frames on which drawings begin are in the record.")
