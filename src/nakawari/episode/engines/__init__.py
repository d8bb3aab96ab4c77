"""What starts workers: processes here, Ray, Open Job Description, Slurm; and files for farms that are not here.

An engine only starts `nakawari episode work`, or calls `worker.work` itself. What is to be done, what is done and what
failed stands in the manifests alone, so any engine goes on with what another left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...errors import UsageError
from ..plan import Episode

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
class Wish:
    """How an engine is asked to work.

    Args:
        workers: how many, 0 for what the engine finds.
        chunk: cuts that one task of a farm takes, so that the model is loaded once for them.
        address: of a Ray cluster; None for one of its own on this machine.
        emit: only write the files, start nothing.
    """

    workers: int = 0
    chunk: int = 10
    address: str | None = None
    emit: bool = False


Watch = Callable[[int, int], None]
"""Called with (ended, all) cuts now and then."""
Submit = Callable[[Episode, Wish, Watch], str]
"""Starts the work on an episode and says, in one line, what it did. Engines that stay until the end call the watch."""


def submit(name: str, episode: Episode, wish: Wish, watch: Watch) -> str:
    """Let an engine work on an episode; raises `UsageError` for one that does not exist, and as the engine does."""
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}; take one of {', '.join(ENGINES)}.")
    module: Any = import_module(f".{_MODULES.get(name, name)}", __package__)
    start: Submit = getattr(module, name, None) or module.submit
    return start(episode, wish, watch)
