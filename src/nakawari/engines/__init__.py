"""What starts workers: processes here, Ray, Open Job Description, Slurm; and files for farms that are not here.

An engine only starts commands that do what is left of some work, and that may be killed at any time. What is done and
what failed is known to the work alone, so any engine goes on with what another left.
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
    """Work that workers share.

    Args:
        name: of the job, for the queues of farms.
        folder: where the engine's own files go; all machines reach it under one path.
        words: what follows `nakawari` in the command of a worker, which gets `--share NUMBER/WORKERS` in addition.
        call: the same work in this process, for engines whose processes stay; called with the share, and picklable.
        done: a number that grows with what is done.
        left: the numbers of the pieces that are not done, which `numbered` takes; None where there are shares only.
        numbered: the option that takes pieces by their numbers, such as `0-9`.
        pieces: how many there are; 0 where there are shares only.
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
        """Whether every piece is done; of shares only their workers know."""
        return self.left is not None and not self.left()


@dataclass(frozen=True)
class Wish:
    """How an engine is asked to work.

    Args:
        workers: how many, 0 for what the engine finds.
        chunk: pieces that one task of a farm takes, so that the model is loaded once for them.
        address: of a Ray cluster; None for that in RAY_ADDRESS, else one of its own on this machine.
        emit: only write the files, start nothing.
    """

    workers: int = 0
    chunk: int = 10
    address: str | None = None
    emit: bool = False


Watch = Callable[[int, int], None]
"""Called now and then with what is done and all: pieces, and where there are none, workers."""
Submit = Callable[[Job, Wish, Watch], str]
"""Starts the work and says, in one line, what it did. Engines that stay until the end call the watch."""


def submit(name: str, job: Job, wish: Wish, watch: Watch) -> str:
    """Let an engine work; raises `UsageError` for one that does not exist, and as the engine does."""
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}; take one of {', '.join(ENGINES)}.")
    module: Any = import_module(f".{_MODULES.get(name, name)}", __package__)
    start: Submit = getattr(module, name, None) or module.submit
    return start(job, wish, watch)
