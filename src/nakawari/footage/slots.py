"""The output frames of each drawing of footage: the drawing, and the in-betweens to the next one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from .changes import Standing

LONGEST_STEP = 4
"""Frames above which a drawing is a hold: in-betweens to the next drawing replace only its last frames."""
STEP_AFTER_HOLD = 2
"""Number of these last frames."""


@dataclass(frozen=True)
class Spread:
    """Distribution of in-betweens.

    Args:
        between: in-betweens per step between two drawings, 0 or more.
        keep: drawings and in-betweens are held as many frames as the drawings were, at `between` + 1 times the
            frame rate; otherwise every frame between two drawings is a separate in-between, at the same higher
            frame rate.
    """

    between: int
    keep: bool

    @property
    def times(self) -> int:
        """Output frames per input frame."""
        return self.between + 1

    @property
    def most(self) -> int:
        """Maximum number of in-betweens between two drawings."""
        return self.between if self.keep else LONGEST_STEP * self.times - 1


@dataclass(frozen=True)
class Slot:
    """The time span from a drawing to the next.

    Args:
        start: the drawing.
        end: the next drawing; None if nothing is drawn: at a cut, at the end, or if every frame is a drawing already.
        shares: fractions of the gap for the in-betweens.
        frames: start of each frame, in seconds, and its content: 0 for the drawing, 1 ... for the in-betweens.
    """

    start: Standing
    end: Standing | None
    shares: tuple[float, ...]
    frames: tuple[tuple[Fraction, int], ...]


def slots_of(drawings: Iterable[Standing], spread: Spread, rate: Fraction) -> Iterator[Slot]:
    """The slots of footage, in order; together they have `spread.times` frames per input frame."""
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
    """Start times of a drawing's frames, each divided into `parts`."""
    ends = [*drawing.times[1:], following.times[0] if following else drawing.times[-1] + 1 / rate]
    return [
        begin + (end - begin) * part / parts
        for begin, end in zip(drawing.times, ends, strict=True)
        for part in range(parts)
    ]
