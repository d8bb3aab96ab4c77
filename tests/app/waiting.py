"""Wait for results of a page, with a long timeout for busy machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds after which what is waited for counts as lost."""


def ended(page: Any, where: str, words: str, seconds: float = PATIENCE) -> None:
    """Wait until a status line contains the text."""
    script = "([where, words]) => document.querySelector(where + ' p').textContent.includes(words)"
    page.wait_for_function(script, arg=[where, words], timeout=seconds * 1000)


def said(page: Any, words: str) -> None:
    """Wait until the Draw page's status line contains the text."""
    ended(page, "#status", words)


def json_when(page: Any, path: Path, check: Callable[[Any], bool]) -> Any:
    """The JSON of a file once it satisfies the condition; the last content on timeout."""
    value = None
    for _ in range(int(PATIENCE / 0.1)):
        try:
            value = json.loads(path.read_text())
        except FileNotFoundError:
            value = None  # the folder is just being replaced
        if value is not None and check(value):
            break
        page.wait_for_timeout(100)
    return value
