"""One queue for all long jobs: waiting, running and ended ones."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from ..errors import NakawariError, UsageError
from .process import Ended, Hear

State = Literal["waiting", "running", "done", "stopped", "failed"]
_BEFORE = "nakawari: "
_WARNING = "nakawari: warning: "


class Runs(Protocol):
    """Runs jobs: a `Process`, or a stand-in in tests."""

    def run(self, job: dict[str, Any], hear: Hear) -> Ended: ...
    def interrupt(self) -> None: ...
    def renew(self) -> None: ...
    def close(self) -> None: ...


@dataclass
class Ticket:
    """A job of one user.

    Args:
        number: consecutive number.
        user: its owner.
        page: the page that queued it; a user has at most one unfinished job per page.
        folder: its working directory.
        commands: command lines, or tasks with their values; the first failure ends the job.
        state: `waiting` until it starts; `stopped` when its user cancelled it.
        progress: (what, done, total, note), None before the first step.
        said: output of each command.
        sentence: error message, or how it was stopped.
        warnings: warning messages.
        about: data of the page.
        finish: called when all commands have succeeded.
        over: set when it ends.
    """

    number: int
    user: str
    page: str
    folder: Path
    commands: Sequence[dict[str, Any]]
    state: State = "waiting"
    progress: tuple[str, float, int, str] | None = None
    said: list[str] = field(default_factory=list)
    sentence: str = ""
    warnings: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    finish: Callable[[Ticket], None] | None = None
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def active(self) -> bool:
        """Whether it is waiting or running."""
        return self.state in ("waiting", "running")


def words_job(*words: object) -> dict[str, Any]:
    """A command as a job."""
    return {"words": [str(word) for word in words]}


class Queue:
    """First in, first out: a thread passes one ticket after another to a process."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._numbers = itertools.count(1)
        self._latest: dict[tuple[str, str], Ticket] = {}
        self._waiting: list[Ticket] = []
        self._running: Ticket | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def put(
        self,
        user: str,
        page: str,
        folder: Path,
        commands: Sequence[dict[str, Any]],
        about: Mapping[str, Any] = MappingProxyType({}),
        finish: Callable[[Ticket], None] | None = None,
    ) -> Ticket:
        """Queue a job; raises `UsageError` while the page has an unfinished one."""
        with self._changed:
            latest = self._latest.get((user, page))
            if latest is not None and latest.active:
                raise UsageError("This page has a running job; wait until it ends, or cancel it.")
            ticket = Ticket(next(self._numbers), user, page, folder, commands, about=dict(about), finish=finish)
            self._latest[user, page] = ticket
            self._waiting.append(ticket)
            self._changed.notify_all()
        return ticket

    def latest(self, user: str, page: str) -> Ticket | None:
        """The latest ticket of a user's page."""
        return self._latest.get((user, page))

    def place(self, ticket: Ticket) -> int:
        """Number of jobs before it, including the running one; 0 if it runs or has ended."""
        with self._changed:
            return self._waiting.index(ticket) + (self._running is not None) if ticket in self._waiting else 0

    def cancel(self, ticket: Ticket | None) -> None:
        """Remove it from the queue, or stop it within a step."""
        with self._changed:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                self._end(ticket, "stopped", "Removed from the queue; nothing was done.")
            elif ticket is not None and ticket is self._running:
                self._stopping = True
                self._runs.interrupt()

    def close(self) -> None:
        """End the worker process; finished work is kept."""
        self._runs.interrupt()
        self._runs.close()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                ticket = self._running = self._waiting.pop(0)
                ticket.state, self._stopping = "running", False
            try:
                state, sentence = self._carry_out(ticket)
            except NakawariError as error:
                state, sentence = "failed", str(error)
            if any("adapt" in job.get("words", ()) for job in ticket.commands):
                self._runs.renew()  # training does not free all its memory
            with self._changed:
                self._running = None
                self._end(ticket, state, sentence)

    def _carry_out(self, ticket: Ticket) -> tuple[State, str]:
        def hear(what: str, done: float, total: int, note: str) -> None:
            ticket.progress = (what, done, total, note)

        for job in ticket.commands:
            if self._stopping:
                return "stopped", "interrupted."
            ended = self._runs.run(job | {"folder": str(ticket.folder)}, hear)
            ticket.said.append(ended.said)
            told = [line for line in ended.notes if line.startswith(_BEFORE)]
            is_error = ended.status and told and not told[-1].startswith(_WARNING)
            last = told.pop().removeprefix(_BEFORE) if is_error else ""
            ticket.warnings += [line.removeprefix(_WARNING).removeprefix(_BEFORE) for line in told]
            if self._stopping or ended.status == 130:
                return "stopped", last
            if ended.status and not job.get("faults_are_results"):
                return "failed", last or "The job ended without a message; see the log in the work folder."
        if ticket.finish is not None:
            ticket.finish(ticket)
        return "done", ""

    @staticmethod
    def _end(ticket: Ticket, state: State, sentence: str) -> None:
        ticket.state, ticket.sentence = state, sentence
        ticket.over.set()
