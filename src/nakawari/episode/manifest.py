"""The state of each cut: one small file per cut, and a lock so that only one worker draws a cut at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import NakawariError
from ..files import fcntl, write_text

DONE, FAILED, STARTING, RUNNING, WAITING = "done", "failed", "starting", "running", "waiting"
MOST_DEATHS = 5
"""Worker deaths after which a cut is not tried again."""


@dataclass(frozen=True)
class Manifest:
    """The state of a cut.

    Args:
        name: of the cut.
        state: waiting, starting (its worker loads the model), running (its worker draws, or died while drawing), done
            or failed.
        sentence: the error message of a failed cut.
        worker: the worker that draws it or drew it last.
        seconds: drawing time, without loading the model.
        drawn: drawings made in this run; 0 for a cut that was complete already.
        deaths: workers that died while drawing it; deaths before drawing do not count.
    """

    name: str
    state: str = WAITING
    sentence: str = ""
    worker: str = ""
    seconds: float = 0.0
    drawn: int = 0
    deaths: int = 0

    @property
    def ended(self) -> bool:
        """Whether the cut needs no more work."""
        return self.state in (DONE, FAILED)


class Manifests:
    """The manifests in an episode's folder. Those of ended cuts are in a separate folder: one directory listing
    shows what is left for any number of cuts and workers."""

    def __init__(self, episode: Path) -> None:
        self._folder = episode / "manifests"
        self._ended = self._folder / "ended"

    def ended(self) -> set[str]:
        """The names of all cuts that have ended."""
        try:
            with os.scandir(self._ended) as entries:
                return {one.name.removesuffix(".json") for one in entries if not one.name.startswith(".")}
        except OSError:
            return set()

    def get(self, name: str) -> Manifest:
        """The manifest of a cut; `waiting` if there is none or it is incomplete."""
        for folder in (self._ended, self._folder):
            try:
                return Manifest(**json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                continue
        return Manifest(name)

    def put(self, manifest: Manifest) -> None:
        """Write a manifest atomically; raises `NakawariError`."""
        there, other = (self._ended, self._folder) if manifest.ended else (self._folder, self._ended)
        write_text(there / f"{manifest.name}.json", json.dumps(asdict(manifest), indent=1) + "\n")
        (other / f"{manifest.name}.json").unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Reset a cut to `waiting`."""
        for folder in (self._folder, self._ended):
            (folder / f"{name}.json").unlink(missing_ok=True)

    @contextmanager
    def taken(self, name: str) -> Iterator[bool]:
        """Whether this process holds the cut's lock inside the block; the lock is released however the worker ends.

        Without file locks (Windows), only the engines keep workers apart.
        """
        path = self._folder / f".{name}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("w")
        except OSError as error:
            raise NakawariError(f"{path.parent} cannot be written ({error.strerror}); free some space.") from error
        with file:
            if fcntl is None:
                yield True
                return
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def worker_name() -> str:
    """This process: host name and process ID."""
    return f"{os.uname().nodename if hasattr(os, 'uname') else 'host'}-{os.getpid()}"
