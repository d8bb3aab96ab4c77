"""Load of other processes during a measurement, and peak memory of this process."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOADED = 0.1
"""Maximum processor share of other processes for a comparable time."""
_STAT = Path("/proc/stat")


@contextmanager
def others() -> Iterator[list[float]]:
    """The share of all processor cores that other processes use inside the block: `[share]`, empty where unknown."""
    found: list[float] = []
    before, start = _busy(), time.perf_counter()
    yield found
    after, seconds = _busy(), time.perf_counter() - start
    if before and after and seconds > 0:
        own, cores = after[1] - before[1], after[2]
        found.append(min(1.0, max(0.0, (after[0] - before[0] - own) / (seconds * cores))))


def _busy() -> tuple[float, float, int] | None:
    """Processor seconds of the whole machine and of this process and its children, and the number of cores."""
    if not _STAT.is_file():
        return None
    lines = _STAT.read_text(encoding="utf-8").splitlines()
    user, nice, system, _, _, *more = (int(word) for word in lines[0].split()[1:9])
    cores = sum(line.startswith("cpu") for line in lines) - 1
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK"), own, max(1, cores)


def peak_rss() -> int:
    """Peak resident memory (bytes) of this process.

    Not by `getrusage`: on Linux a new process inherits the peak of its parent.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        words = (line.split() for line in status.read_text(encoding="utf-8").splitlines())
        return next(int(line[1]) * 1024 for line in words if line and line[0] == "VmHWM:")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
