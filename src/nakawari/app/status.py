"""Text of the status line beside the main button."""

from __future__ import annotations

import logging
from typing import Any

from ..errors import NakawariError
from .jobs import Queue, Ticket
from .work import Work

log = logging.getLogger(__name__)


def words(text: str = "", state: str = "") -> dict[str, Any]:
    """A status message; `state` is empty, done or failed."""
    return {"state": state, "words": text, "share": 0, "notes": []}


def of_error(error: Exception, work: Work | None = None) -> dict[str, Any]:
    """An error as one sentence; unexpected exceptions are also logged."""
    if isinstance(error, NakawariError):
        return words(work.sentence(str(error)) if work else str(error), "failed")
    log.exception("unexpected")
    return words(f"unexpected {type(error).__name__}; the terminal that runs the app shows more.", "failed")


def of_ticket(queue: Queue, work: Work, ticket: Ticket | None, done: str) -> dict[str, Any]:
    """Status of a ticket; `done` is the message on success."""
    if ticket is None:
        return words()
    said = {
        "state": ticket.state,
        "share": 0.0,
        "notes": [work.sentence(one) for one in dict.fromkeys(ticket.warnings)],
    }
    if ticket.state == "waiting":
        before = queue.place(ticket)
        return said | {"words": f"In the queue: {before} before this one." if before else "In the queue: next."}
    if ticket.state == "running":
        if ticket.progress is None:
            return said | {"words": "Preparing …"}
        what, count, total, note = ticket.progress
        text = f"{what}: {count:.3g} of {total}{f', {note}' if note else ''}"
        return said | {"words": text, "share": count / total if total else 0}
    sentence = {"done": done, "stopped": f"Stopped: {ticket.sentence}", "failed": ticket.sentence}[ticket.state]
    return said | {"words": work.sentence(sentence)}
