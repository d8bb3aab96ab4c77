"""Event handlers of the pages: every error becomes a sentence in the page's status line."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

import gradio as gr

from .. import status
from ..site import Site

quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
"""Event options: no queue, no loading overlay, no public API endpoint."""
Changes = dict[Any, Any]
"""Component -> its new value or update."""


class Page(Protocol):
    """A page with a status line."""

    site: Site
    status: gr.HTML


def answers(method: Callable[..., Changes]) -> Callable[..., Changes]:
    """A handler that takes the browser's token and passes the work folder to the method."""

    @wraps(method)
    def answer(self: Page, token: Any, *values: Any) -> Changes:
        work = None
        try:
            work = self.site.works.open(token)
            return method(self, work, *values)
        except Exception as error:
            return {self.status: status.of_error(error, work)}

    return answer
