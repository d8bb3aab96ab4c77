"""The worker process that runs commands for the server, see `nakawari.cli.worker`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 10.0
"""Seconds that the process has to exit when the server stops."""
Hear = Callable[[str, float, int, str], None]
"""Called with (what, done, total, note)."""


@dataclass(frozen=True)
class Ended:
    """Result of a job: exit `status`, stdout (`said`), and the lines of stderr."""

    status: int
    said: str
    notes: tuple[str, ...]


class Process:
    """A worker process, started early so that its imports are done, and restarted when it dies."""

    def __init__(self, log: Path) -> None:
        self._log, self._lock = log, threading.Lock()
        self._begun = self._unwanted = False
        self._child = self._started()

    def run(self, job: Mapping[str, Any], hear: Hear) -> Ended:
        """Run a job and wait for it; called by one thread at a time."""
        with self._lock:
            if self._child.poll() is not None:
                self._child = self._started()
            child, self._begun, self._unwanted = self._child, False, False
        try:
            child.stdin.write(json.dumps(job) + "\n")
            child.stdin.flush()
            for line in child.stdout:
                answer = json.loads(line)
                if "begun" in answer:
                    with self._lock:
                        self._begun = True
                        if self._unwanted:
                            child.send_signal(signal.SIGINT)
                elif "progress" in answer:
                    hear(*answer["progress"])
                elif "status" in answer:
                    self._begun = False
                    return Ended(answer["status"], answer["said"], tuple(answer["notes"]))
        except (OSError, ValueError):
            pass  # the process died: reported below
        child.wait()
        self._begun = False
        return Ended(1, "", (_death(child.returncode),))

    def interrupt(self) -> None:
        """Stop the running job as Ctrl-C does; a second call ends training without a checkpoint."""
        with self._lock:
            self._unwanted = True
            if self._begun and self._child.poll() is None:
                self._child.send_signal(signal.SIGINT)

    def renew(self) -> None:
        """Restart the process, which frees the memory that a job left behind."""
        self.close()
        with self._lock:
            self._child = self._started()

    def close(self) -> None:
        """End the process."""
        child = self._child
        if child.poll() is None:
            child.stdin.close()
            if not self._begun:
                child.kill()  # it has nothing to finish
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _started(self) -> subprocess.Popen[str]:
        with self._log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "nakawari.cli.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )


def _death(status: int) -> str:
    if status == -signal.SIGKILL:
        return "nakawari: the worker process was killed, probably for lack of memory; free some and run the job again."
    return f"nakawari: the worker process ended unexpectedly (status {status}); run the job again."
