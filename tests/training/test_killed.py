"""Runs that are killed at random, one process, two, and two that share the weights: they end as the uncut one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import test_loop
import toy_training

from nakawari.training.run_log import read_log

KILLS = 10
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
WAYS = {"one": ((), ()), "two": (TORCHRUN, ()), "two sharded": (TORCHRUN, ("shard",))}
"""Name -> what launches a run, and what it is told."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="counts processes in /proc"),
]


class Run:
    """A toy run in a folder, in one of the `WAYS`, each process with a worker for its data."""

    def __init__(self, folder: Path, way: str, pause: float) -> None:
        self.folder = folder
        launcher, told = WAYS[way]
        words = [sys.executable, *launcher, toy_training.__file__, folder, str(pause), "1", *told]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(words, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
        self.sessions: set[int] = {self.process.pid}

    def trainers(self) -> list[int]:
        """The processes that have the run's folder among their words: those that train, and what launched them."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.fsencode(self.folder) in (path / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        for pid in found:
            with suppress(OSError):
                self.sessions.add(os.getsid(pid))
        return found

    def steps(self) -> int:
        log = self.folder / "log.jsonl"
        return len(read_log(log)) if log.exists() else 0

    def gone(self) -> bool:
        """Whether nothing is there any more, their workers included: each rank is the first of a session of its own."""
        return self.process.poll() is not None and not any(test_loop.left_of(number) for number in self.sessions)


def wait_until(what: str, true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.parametrize("way", WAYS)
def test_killed_ten_times_at_random_it_ends_as_the_uncut_one(tmp_path: Path, way: str):
    uncut, cut, dice = tmp_path / "uncut", tmp_path / "cut", random.Random(way)
    assert Run(uncut, way, 0.0).process.wait(300) == 0
    for _ in range(KILLS):
        run = Run(cut, way, 0.1)
        before, more = run.steps(), dice.randrange(4)
        wait_until("no step", lambda r=run, b=before, m=more: r.gone() or r.steps() != b or not (b or m))
        time.sleep(dice.random() * (1 + more))
        there = run.trainers()
        if there:
            with suppress(ProcessLookupError):
                os.kill(dice.choice(there), signal.SIGKILL)
        wait_until("processes stay", run.gone)
    assert Run(cut, way, 0.0).process.wait(300) == 0
    assert test_loop.entries(cut) == test_loop.entries(uncut)
    assert test_loop.files_of(cut) == test_loop.files_of(uncut)


def test_what_was_launched_leaves_when_its_launcher_is_killed(tmp_path: Path):
    """With minutes of steps before it."""
    run = Run(tmp_path, "two", 8.0)
    run.process.poll()
    wait_until("no trainer", lambda: len(run.trainers()) == 3)
    wait_until("no step", lambda: run.steps() > 0)
    run.trainers()
    run.process.send_signal(signal.SIGKILL)
    wait_until("processes stay", run.gone)
    assert run.steps() < 12
