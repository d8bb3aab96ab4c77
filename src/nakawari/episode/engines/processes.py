"""Processes on this machine that are started again when they are killed, until every cut has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...errors import NakawariError
from ..manifest import Manifests
from ..plan import Episode
from . import Watch

LOG = "workers.log"
"""What workers print, in the folder of the episode; what fails is said on stderr."""
MOST_FRUITLESS = 20
"""Deaths per worker, without a cut that ended in between, after which no more are started."""
PAUSE = 0.2
"""Seconds between two looks at the processes."""


def work_words(episode: Episode, *more: str) -> list[str]:
    """The command of one worker."""
    return [sys.executable, "-m", "nakawari", "episode", "work", str(episode.folder.resolve()), *more]


def supervise(
    episode: Episode,
    commands: Sequence[Sequence[str]],
    places: Sequence[Mapping[str, str]],
    watch: Watch,
    died: Callable[[int], bool] = lambda status: status < 0,
) -> None:
    """Run the commands side by side until all have come to their end; one that died is started again.

    Args:
        places: for each command variables of its environment.
        died: whether a command died, by its exit status; without, whether a signal killed it.

    Raises:
        NakawariError: workers die again and again before they take a cut.
    """
    log = episode.folder / LOG
    started = [_start(command, place, log) for command, place in zip(commands, places, strict=True)]
    running = dict(enumerate(started))
    fruitless, ended = 0, -1
    try:
        while running:
            now = ended_of(episode)
            fruitless, ended = (0, now) if now != ended else (fruitless, ended)
            watch(now, len(episode.units))
            for number, process in list(running.items()):
                status = process.poll()
                if status is None:
                    continue
                del running[number]
                if died(status) and now < len(episode.units):
                    fruitless += 1
                    if fruitless > MOST_FRUITLESS * len(commands):
                        raise NakawariError(
                            f"Workers died {fruitless} times, the last with status {status}, and no cut ended; see "
                            "whether memory and disk suffice, and submit again."
                        )
                    running[number] = _start(commands[number], places[number], log)
            time.sleep(PAUSE)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    watch(ended_of(episode), len(episode.units))


def _start(command: Sequence[str], place: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(list(command), env=os.environ | dict(place), stdout=file)


def ended_of(episode: Episode) -> int:
    """How many cuts have ended."""
    return len(Manifests(episode.folder).ended() & {unit.name for unit in episode.units})
