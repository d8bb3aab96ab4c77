"""Engines start workers: local processes, Ray, Open Job Description, Slurm; and job files for other render farms.

An engine only starts commands that do the remaining work and may be killed at any time. What is done and
what failed is recorded by the job, so any engine can continue another's work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import UsageError

ENGINES = {
    "local": "processes on this machine, one model on each device",
    "ray": "actors of a Ray cluster",
    "openjd": "an Open Job Description template, run here",
    "slurm": "an array job of Slurm",
    "opencue": "a job file for OpenCue, only written: untested",
    "deadline": "job files for Deadline 10, only written: untested",
}
_MODULES = {"opencue": "emitted", "deadline": "emitted"}


@dataclass(frozen=True)
class Job:
    """A job that workers share.

    Args:
        name: of the job, for the queues of farms.
        folder: where the engine's own files go; all machines reach it under one path.
        words: arguments of `nakawari` in a worker's command; `--share NUMBER/WORKERS` is added.
        call: the same work as a picklable function of the share, for engines with persistent processes.
        done: number of pieces done.
        left: the numbers of the pieces left, for `numbered`; None if the job has shares only.
        numbered: the option that selects pieces by number, such as `0-9`.
        pieces: their number; 0 if the job has shares only.
        device: auto, cpu or cuda.
    """

    name: str
    folder: Path
    words: tuple[str, ...]
    call: Callable[[str], None]
    done: Callable[[], int]
    left: Callable[[], Sequence[int]] | None = None
    numbered: str = ""
    pieces: int = 0
    device: str = "auto"

    @property
    def is_done(self) -> bool:
        """Whether every piece is done; unknown (False) for shares."""
        return self.left is not None and not self.left()


@dataclass(frozen=True)
class Wish:
    """Options of an engine.

    Args:
        workers: number of workers, 0 for the engine's choice.
        chunk: pieces per farm task, so that the model is loaded once for them.
        address: of a Ray cluster; None for RAY_ADDRESS, else a new local cluster.
        emit: only write the job files, start nothing.
    """

    workers: int = 0
    chunk: int = 10
    address: str | None = None
    emit: bool = False


Watch = Callable[[int, int], None]
"""Called repeatedly with the number done and the total: pieces, or workers if the job has no pieces."""
Submit = Callable[[Job, Wish, Watch], str]
"""Starts the job and returns one line about it. Engines that wait for the end call the watch."""


def submit(name: str, job: Job, wish: Wish, watch: Watch) -> str:
    """Run a job with an engine; raises `UsageError` for an unknown one, and as the engine does."""
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}; choose {', '.join(ENGINES)}.")
    module: Any = import_module(f".{_MODULES.get(name, name)}", __package__)
    start: Submit = getattr(module, name, None) or module.submit
    return start(job, wish, watch)
