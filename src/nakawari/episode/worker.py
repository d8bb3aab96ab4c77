"""Workers, processes that load the model and draw cut after cut, and the job that engines start them for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from ..engines import Job
from ..errors import Interrupted, NakawariError, UsageError
from ..processes import parse_share
from .manifest import FAILED, Manifest, Manifests
from .plan import Episode, Unit
from .unit import Models, carry_out


@dataclass(frozen=True)
class Share:
    """Worker `number` (from 0) of `workers`: each starts at a different position of the list, so they rarely
    collide."""

    number: int = 0
    workers: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """From `NUMBER/WORKERS`; raises `UsageError`."""
        return cls(*parse_share(text))

    def of(self, units: Sequence[Unit]) -> tuple[list[Unit], list[Unit]]:
        """This worker's units, then those of the other workers, in order from its own position."""
        first, after = (len(units) * number // self.workers for number in (self.number, self.number + 1))
        return list(units[first:after]), [*units[after:], *units[:first]]


def work(folder: Path, share: Share = Share(), names: Iterable[str] | None = None, models: Models | None = None) -> int:
    """Draw the cuts of the episode in `folder`, or the named ones, until none is left.

    Cuts held by another worker are skipped and tried once more at the end, in case that worker died. A failed cut
    records this in its manifest and does not stop the others. Returns the number of cuts whose manifest could not be
    written.
    """
    episode = Episode.load(folder)
    own, others = share.of(episode.units if names is None else [episode.unit(name) for name in names])
    if Manifests(folder).ended().issuperset(unit.name for unit in (*own, *others)):
        return 0  # return at once: a restarted openjd session runs all of its tasks again
    models = models or Models()
    import_module("nakawari.cut.work")  # slow imports do not count as time of the first cut
    lost, held = _round(episode, own, models)
    more, also_held = _round(episode, others, models)
    again, _ = _round(episode, [*held, *also_held], models)
    return lost + more + again


def take(folder: Path, share: str, names: Iterable[str] | None = None) -> None:
    """As `work`, with the share as a string of the command line; `NakawariError` if a manifest could not be written."""
    if lost := work(folder, Share.parse(share), names):
        raise NakawariError(f"The state of {lost} cuts could not be written; free some space, and submit again.")


def job_of(episode: Episode) -> Job:
    """An episode as a job for engines; its manifests tell what is left."""
    folder, manifests = episode.folder.resolve(), Manifests(episode.folder)
    names = [unit.name for unit in episode.units]

    def left() -> list[int]:
        ended = manifests.ended()
        return [number for number, name in enumerate(names) if name not in ended]

    return Job(
        folder.name,
        episode.folder,
        ("episode", "work", str(folder)),
        call=partial(take, folder),
        done=lambda: len(names) - len(left()),
        left=left,
        numbered="--cuts",
        pieces=len(names),
        device=episode.device,
    )


def _round(episode: Episode, units: Iterable[Unit], models: Models) -> tuple[int, list[Unit]]:
    """Draw the cuts that have not ended; returns the number lost as in `work`, and the units that other workers
    hold."""
    lost, held, ended = 0, [], Manifests(episode.folder).ended()
    for unit in units:
        if unit.name in ended:
            continue
        try:
            became = carry_out(episode, unit, models)
        except Interrupted:
            raise
        except NakawariError as error:
            lost += 1
            became = Manifest(unit.name, FAILED, str(error))
        if became is None:
            held.append(unit)
        elif became.state == FAILED:
            print(f"nakawari: {unit.name}: {became.sentence}", file=sys.stderr, flush=True)
    return lost, held


def numbers_of(text: str, count: int) -> list[int]:
    """The numbers in a list such as `0-9,12`, each below `count`; raises `UsageError`."""
    numbers: list[int] = []
    for piece in text.replace(" ", "").split(","):
        first, dash, last = piece.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < count):
            raise UsageError(
                f"The cuts {text!r} are not in this plan; give numbers from 0 to {count - 1}, such as 0-9,12."
            )
        numbers += range(int(first), int(last) + 1)
    return numbers
