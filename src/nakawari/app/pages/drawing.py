"""What the pages that draw have in common: a job put into the queue, and how it stands."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .. import status
from ..jobs import Ticket, words_job
from ..site import Site
from ..words import write_tracks
from ..work import Work
from .events import Changes

PAGE = "draw"
TICK = 0.4
"""Seconds between two looks at work under way."""


def put_drawing(site: Site, work: Work, words: list[str]) -> Ticket:
    """Line up a command that draws the keys of a user's folder."""
    write_tracks(work, work.asked())
    return site.queue.put(work.token, PAGE, work.folder, [words_job(*words)])


def follow(page: Any, work: Work, ticket: Ticket | None, done: str) -> Changes:
    """The status line of a page, and whether its timer goes on looking."""
    said = status.of_ticket(page.site.queue, work, ticket, done)
    return {page.status: said, page.timer: gr.Timer(active=ticket is not None and ticket.active)}
