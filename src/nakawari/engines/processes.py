"""Local processes that are restarted when they are killed, until the job is done."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..errors import NakawariError
from . import Job, Watch

LOG = "workers.log"
"""Log file of the workers, in the job's folder; failures are also reported on stderr."""
MOST_FRUITLESS = 20
"""Deaths per worker without progress in between, after which no more are started."""
PAUSE = 0.2
"""Polling interval in seconds."""
Command = Callable[[], Sequence[str]]
"""Returns the command line of a process to start now; empty if nothing is left for it."""


def worker(job: Job, share: str) -> list[str]:
    """The command of one worker."""
    return [sys.executable, "-m", "nakawari", *job.words, "--share", share]


def again(words: Sequence[str]) -> Command:
    """The same command at every start."""
    return lambda: words


def supervise(
    job: Job,
    commands: Sequence[Command],
    places: Sequence[Mapping[str, str]],
    watch: Watch,
    died: Callable[[int], bool] = lambda status: status < 0,
) -> None:
    """Run the commands in parallel until all have ended; a command that died is restarted.

    Args:
        places: environment variables of each command.
        died: whether a command died, by its exit status; by default, whether a signal killed it.

    Raises:
        NakawariError: workers die repeatedly without progress.
    """
    log = job.folder / LOG
    job.folder.mkdir(parents=True, exist_ok=True)
    running = {number: _start(command(), places[number], log) for number, command in enumerate(commands)}
    fruitless, done = 0, -1
    try:
        while running:
            now = job.done()
            fruitless, done = (0, now) if now != done else (fruitless, done)
            _tell(job, watch, now, len(commands) - len(running), len(commands))
            for number, process in list(running.items()):
                status = process.poll()
                if status is None:
                    continue
                del running[number]
                if died(status) and not job.is_done and (words := commands[number]()):
                    fruitless += 1
                    if fruitless > MOST_FRUITLESS * len(commands):
                        raise NakawariError(
                            f"Workers died {fruitless} times, the last with status {status}, and nothing was done; "
                            "check that memory and disk suffice, and start again."
                        )
                    running[number] = _start(words, places[number], log)
            time.sleep(PAUSE)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    _tell(job, watch, job.done(), len(commands), len(commands))


def _tell(job: Job, watch: Watch, done: int, finished: int, workers: int) -> None:
    watch(*((done, job.pieces) if job.pieces else (finished, workers)))


def _start(words: Sequence[str], place: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(list(words), env=os.environ | dict(place), stdout=file)
