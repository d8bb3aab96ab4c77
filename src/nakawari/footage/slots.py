"""What stands in the time of each drawing of footage: the drawing, and in-betweens on the way to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from .changes import Standing

LONGEST_STEP = 4
"""A drawing that stands longer, in frames, is a hold: what leads to the next is drawn in its last frames only."""
STEP_AFTER_HOLD = 2
"""In so many."""


@dataclass(frozen=True)
class Spread:
    """How in-betweens are spread.

    Args:
        between: in-betweens for each step between two drawings, 0 or more.
        keep: drawings and in-betweens stand for as many frames as the drawings did, at a rate that is `between` + 1
            times higher; otherwise every frame between two drawings is one of its own, at a rate that is so many times
            higher, too.
    """

    between: int
    keep: bool

    @property
    def times(self) -> int:
        """How many frames come of one."""
        return self.between + 1

    @property
    def most(self) -> int:
        """In-betweens on the longest way from a drawing to the next."""
        return self.between if self.keep else LONGEST_STEP * self.times - 1


@dataclass(frozen=True)
class Slot:
    """The time from a drawing to the next.

    Args:
        start: the drawing.
        end: the next, None where nothing is drawn: at a cut, at the end, or where every frame is a drawing already.
        shares: of the way, for the in-betweens.
        frames: when each frame begins, in seconds, and its number: 0 for the drawing, 1 ... for the in-betweens.
    """

    start: Standing
    end: Standing | None
    shares: tuple[float, ...]
    frames: tuple[tuple[Fraction, int], ...]


def slots_of(drawings: Iterable[Standing], spread: Spread, rate: Fraction) -> Iterator[Slot]:
    """The slots of footage, in order; together they have `spread.times` frames for each that came in."""
    before: Standing | None = None
    for drawing in drawings:
        if before is not None:
            yield _slot(before, drawing, spread, rate)
        before = drawing
    if before is not None:
        yield _slot(before, None, spread, rate)


def _slot(drawing: Standing, following: Standing | None, spread: Spread, rate: Fraction) -> Slot:
    times = _times(drawing, following, spread.times, rate)
    if following is None or following.cut or drawing.pixels.shape != following.pixels.shape:
        return Slot(drawing, None, (), tuple((time, 0) for time in times))
    stands = len(drawing.times)
    step = stands if stands <= LONGEST_STEP else STEP_AFTER_HOLD
    if spread.keep:
        numbers = [0] * (len(times) - step * spread.between)
        numbers += [number for number in range(1, spread.times) for _ in range(step)]
    else:
        moving = step * spread.times
        numbers = [0] * (len(times) - moving + 1) + list(range(1, moving))
    count = max(numbers)
    shares = tuple(number / (count + 1) for number in range(1, count + 1))
    return Slot(drawing, following if count else None, shares, tuple(zip(times, numbers, strict=True)))


def _times(drawing: Standing, following: Standing | None, parts: int, rate: Fraction) -> list[Fraction]:
    """When the frames of a drawing begin, each cut into `parts`."""
    ends = [*drawing.times[1:], following.times[0] if following else drawing.times[-1] + 1 / rate]
    return [
        begin + (end - begin) * part / parts
        for begin, end in zip(drawing.times, ends, strict=True)
        for part in range(parts)
    ]
