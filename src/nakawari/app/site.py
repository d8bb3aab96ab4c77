"""State shared by all pages: the users' folders and the queue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .jobs import Queue
from .process import Process
from .work import Works


@dataclass(frozen=True)
class Site:
    """State shared by all pages."""

    works: Works
    queue: Queue


def site_of(root: Path) -> Site:
    """The site for a work folder, with its worker process started."""
    works = Works(root)
    return Site(works, Queue(Process(works.root / "worker.log")))
