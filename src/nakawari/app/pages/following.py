"""Progress of running jobs on a page."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .. import status
from ..jobs import Ticket
from ..work import Work
from .events import Changes

TICK = 0.4
"""Seconds between two updates of a running job."""


def follow(page: Any, work: Work, ticket: Ticket | None, done: str) -> Changes:
    """The status line of a page, and whether its timer stays active."""
    said = status.of_ticket(page.site.queue, work, ticket, done)
    return {page.status: said, page.timer: gr.Timer(active=ticket is not None and ticket.active)}
