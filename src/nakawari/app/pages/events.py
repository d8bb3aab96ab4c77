"""How the pages' events are answered: every error becomes a sentence in the page's status line."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

import gradio as gr

from .. import status
from ..site import Site

quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
"""Answers at once, no veil over the page, no endpoint of the public interface."""
Changes = dict[Any, Any]
"""Component -> what it shows from now on."""


class Page(Protocol):
    """What has a status line."""

    site: Site
    status: gr.HTML


def answers(method: Callable[..., Changes]) -> Callable[..., Changes]:
    """A handler that gets the browser's token and hands its method the work folder."""

    @wraps(method)
    def answer(self: Page, token: Any, *values: Any) -> Changes:
        work = None
        try:
            work = self.site.works.open(token)
            return method(self, work, *values)
        except Exception as error:
            return {self.status: status.of_error(error, work)}

    return answer
