"""What became of each cut: a small file for each, and a lock so that no two workers take one cut at a time."""

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
"""A cut during which so many workers died is not given to another."""


@dataclass(frozen=True)
class Manifest:
    """What became of a cut.

    Args:
        name: of the cut.
        state: waiting, starting (its worker loads the model), running (it draws, or died at it), done or failed.
        sentence: why it failed.
        worker: who has, or had, it last.
        seconds: that it took, without the loading of the model.
        drawn: drawings that were drawn now; 0 for a cut that was whole already.
        deaths: workers that died while they drew it; those that died before may have died of anything.
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
        """Whether no worker has to take it any more."""
        return self.state in (DONE, FAILED)


class Manifests:
    """The manifests in the folder of an episode. Those of cuts that ended lie in a folder of their own: one listing
    of it says what is left, however many cuts and workers there are."""

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
        """The manifest of a cut; one that waits where there is none, or none that is whole."""
        for folder in (self._ended, self._folder):
            try:
                return Manifest(**json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                continue
        return Manifest(name)

    def put(self, manifest: Manifest) -> None:
        """Write a manifest, whole or not at all; raises `NakawariError`."""
        there, other = (self._ended, self._folder) if manifest.ended else (self._folder, self._ended)
        write_text(there / f"{manifest.name}.json", json.dumps(asdict(manifest), indent=1) + "\n")
        (other / f"{manifest.name}.json").unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Let a cut wait again."""
        for folder in (self._folder, self._ended):
            (folder / f"{name}.json").unlink(missing_ok=True)

    @contextmanager
    def taken(self, name: str) -> Iterator[bool]:
        """Whether the cut is ours inside the block, and nobody else's; it is free again however the worker ends.

        Where there are no locks of files (Windows), engines alone keep workers apart.
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
    """This process, by host and number."""
    return f"{os.uname().nodename if hasattr(os, 'uname') else 'host'}-{os.getpid()}"
