"""The pages' jobs for programs: named endpoints for `gradio_client` or any HTTP client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any

import gradio as gr

from ..errors import NakawariError, UsageError
from . import orders, status, strip, teaching, ways
from .sequence import links_of, player_value
from .settings import put_settings
from .site import Site
from .work import Work

LONGEST = 3600.0
"""Maximum duration of one call of `wait`, in seconds."""


def add_endpoints(site: Site) -> None:
    """Add the endpoints to the blocks under construction."""

    def told(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def answer(user: str, *values: Any) -> Any:
            work = None
            try:
                work = site.works.open(user)
                return call(work, *values)
            except NakawariError as error:
                raise gr.Error(work.sentence(str(error)) if work else str(error), print_exception=False) from error

        return answer

    def start() -> str:
        """Create a user; returns the name of its work folder, the first argument of every other call."""
        token = site.works.new_token()
        site.works.open(token)
        return token

    def add_keys(user: str, files: list) -> dict:
        """Add key drawings, sent with `handle_file`; returns the settings and the files that were refused."""
        return told(_add_keys)(user, files)

    def ask(user: str, values: dict) -> dict:
        """Change settings (between, spacing, model, adapter, scale, seed and others); returns all settings."""
        return told(_ask)(user, values)

    def lead(user: str, value: dict) -> int:
        """Set the point tracks of a gap, {"gap": 1, "ways": [[[x, y], [x, y]]]}; returns their number."""
        return told(ways.take_ways)(user, value)

    def draw(user: str) -> dict:
        """Queue the drawing of all gaps."""
        return told(lambda work: _standing(site, work, orders.draw(site, work).page))(user)

    def match(user: str, gap: int) -> dict:
        """Queue point matching between the keys of a gap, counted from 1."""
        return told(lambda work: _standing(site, work, orders.match(site, work, gap).page))(user)

    def compare(user: str, left: str, right: str) -> dict:
        """Queue a comparison of two sides: `result:out`, `mini`, `mini+teach/show@0.7`."""
        return told(lambda work: _standing(site, work, orders.compare(site, work, left, right).page))(user)

    def teach(user: str, what: str, lesson: dict) -> dict:
        """Queue `check`, `plan` or `teach` for the clips; a lesson has name, model, steps, rank, windows."""
        return told(lambda work: _standing(site, work, _teach(site, work, what, lesson)))(user)

    def wait(user: str, kind: str, seconds: float) -> dict:
        """State of a job (draw, match, compare, teach) once it has ended, or after the given seconds."""
        return told(lambda work: _standing(site, work, kind, seconds))(user)

    def cancel(user: str, kind: str) -> dict:
        """Stop a job within a step, or remove it from the queue."""
        return told(lambda work: _cancel(site, work, kind))(user)

    for one in (start, add_keys, ask, lead, draw, match, compare, teach, wait, cancel):
        gr.api(one, api_name=one.__name__, concurrency_limit=None)


def _add_keys(work: Work, files: list[Any]) -> dict[str, Any]:
    named = [{"path": one.get("path"), "name": one.get("orig_name") or one.get("path")} for one in files]
    complaints = strip.act(work, {"action": "add", "files": named})
    return {"asked": asdict(work.asked()), "complaints": complaints}


def _ask(work: Work, values: dict[str, Any]) -> dict[str, Any]:
    with work.changing() as asked:
        put_settings(work, asked, values)
    return asdict(asked)


def _teach(site: Site, work: Work, what: str, lesson: dict[str, Any]) -> str:
    if what == "check":
        return orders.check(site, work).page
    if what not in ("plan", "teach"):
        raise UsageError(f"{what!r} is not a teach job; give check, plan or teach.")
    try:
        wanted = teaching.Lesson(**lesson)
    except TypeError as error:
        raise UsageError("A lesson may hold only name, model, steps, rank and windows.") from error
    return (orders.plan if what == "plan" else orders.teach)(site, work, wanted).page


def _standing(site: Site, work: Work, kind: str, seconds: float = 0.0) -> dict[str, Any]:
    if kind not in orders.KINDS:
        raise UsageError(f"{kind!r} is not a kind of job; give {', '.join(orders.KINDS)}.")
    ticket = site.queue.latest(work.token, kind)
    if ticket is None:
        raise UsageError(f"There is no {kind} job yet; start one first.")
    ticket.over.wait(max(0.0, min(float(seconds), LONGEST)))
    said = status.of_ticket(site.queue, work, ticket, "done") | {"place": site.queue.place(ticket)}
    if ticket.state != "done":
        return said
    if kind == orders.DRAW:
        return said | {"result": player_value(work, work.output), "files": links_of(work)}
    return said | {"said": [work.sentence(one) for one in ticket.said]}


def _cancel(site: Site, work: Work, kind: str) -> dict[str, Any]:
    standing = _standing(site, work, kind)
    site.queue.cancel(site.queue.latest(work.token, kind))
    return standing | _standing(site, work, kind, 30.0)
