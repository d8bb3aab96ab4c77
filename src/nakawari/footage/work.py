"""Draw the in-betweens of footage in one pass and bounded memory, in parts that are kept until the film is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import Interrupted, NakawariError, UsageError
from ..files import check_writable, remove
from ..interpolation import Key, Settings, draw
from ..interpolation.gaps import hash_of
from .changes import drawings_of
from .film import CONTAINERS, join, write_part
from .slots import Slot, Spread, slots_of
from .source import Pixels, Source

PART = 48
"""Drawings per part of a film."""
_GOES_ON = "finished parts are kept; run the same command to resume."


@dataclass
class Tally:
    """Counts: input frames, drawings and cuts, in-betweens drawn now, output frames; notes about ignored settings."""

    frames: int = 0
    drawings: int = 0
    cuts: int = 0
    drawn: int = 0
    written: int = 0
    notes: dict[str, None] = field(default_factory=dict)


def check_target(output: Path, source: Source, *, overwrite: bool) -> None:
    """Raise `UsageError` unless a film may be written to `output`."""
    if output.suffix.lower() not in CONTAINERS:
        raise UsageError(f"Footage becomes a film; give an .mp4 or a .mov as output, not {output}.")
    if output.resolve() == source.path.resolve():
        raise UsageError(f"{output} is the footage itself; give another output path.")
    if output.is_dir() or (output.exists() and not overwrite):
        raise UsageError(f"{output} exists already; give another output path, or --overwrite.")
    check_writable(output.resolve().parent)


def in_between(
    source: Source,
    output: Path,
    spread: Spread,
    settings: Settings,
    fingerprint: str,
    load: Callable[[], Any],
    progress: Callable[[Tally], None] | None = None,
) -> Tally:
    """Draw the in-betweens of footage and write a film with its audio and timing.

    After an interruption, the same call resumes from the finished parts, and the result has the same bytes.

    Args:
        settings: how gaps are drawn; its counts, fractions and loop are ignored.
        fingerprint: of the model.
        load: returns the pipeline; called only if something is to be drawn.
        progress: called after every drawing.
    """
    words = replace(settings, counts=(0,), shares=None, loop=False).of_gap(0)
    container = output.suffix.lower()
    key = hash_of([__version__, source.fingerprint(), str(source.rate), spread, words, fingerprint, container])
    unfinished = output.with_name(f".{output.name}.unfinished")
    folder = unfinished / key[:16]
    if unfinished.is_dir() and not folder.is_dir():
        remove(unfinished)  # parts of another job
    tally, parts = Tally(), []
    hand = _Hand(settings, load, tally)
    slots = iter(slots_of(drawings_of(source.frames()), spread, source.rate))
    try:
        while batch := _first(slots):
            part = folder / f"{len(parts):06d}.part"
            parts.append(part)
            counted = _counted(batch, slots, tally, progress)
            if part.is_file():
                tally.written += sum(len(slot.frames) for slot in counted)
            else:
                write_part(part, hand.frames(counted), source.rate * spread.times, container)
        join(output, parts, source.path)
    except KeyboardInterrupt as interruption:
        raise Interrupted(f"interrupted after {tally.frames} frames; {_GOES_ON}") from interruption
    except NakawariError as error:
        if len(parts) < 2:
            raise
        raise type(error)(f"{str(error).rstrip('.')}; {_GOES_ON}") from error
    remove(unfinished)
    return tally


def _first(slots: Iterator[Slot]) -> list[Slot]:
    return list(islice(slots, 1))


def _counted(
    first: list[Slot], slots: Iterator[Slot], tally: Tally, progress: Callable[[Tally], None] | None
) -> Iterator[Slot]:
    """The slots of one part, one by one."""
    for slot in (one for some in (first, islice(slots, PART - 1)) for one in some):
        tally.frames += len(slot.start.times)
        tally.drawings += 1
        tally.cuts += slot.start.cut
        yield slot
        if progress:
            progress(tally)


class _Hand:
    """Draws slot by slot."""

    def __init__(self, settings: Settings, load: Callable[[], Any], tally: Tally) -> None:
        self._settings, self._load, self._tally = settings, load, tally
        self._pipeline: Any = None

    def frames(self, slots: Iterable[Slot]) -> Iterator[tuple[Pixels, Fraction]]:
        """Every frame of the slots, with its start time."""
        for slot in slots:
            drawings = [slot.start.pixels, *self._between(slot)]
            for time, number in slot.frames:
                self._tally.written += 1
                yield drawings[number], time

    def _between(self, slot: Slot) -> list[Pixels]:
        if slot.end is None:
            return []
        self._pipeline = self._pipeline or self._load()
        keys = [Key(Path("frame"), one.pixels) for one in (slot.start, slot.end)]
        # Evenly spaced fractions count as no spacing: the model then draws its default in-betweens.
        drawn = draw(keys, replace(self._settings, counts=(len(slot.shares),), shares=None, loop=False), self._pipeline)
        self._tally.drawn += len(slot.shares)
        self._tally.notes |= dict.fromkeys(drawn.notes)
        return drawn.frames[1:-1]
