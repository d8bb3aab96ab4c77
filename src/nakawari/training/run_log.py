"""`log.jsonl`: one JSON object per optimizer step, flushed after each step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ..files import write_text

TIMING_FIELDS = ("seconds", "samples_per_second")
"""The only fields that differ between a resumed and an uninterrupted run."""


class RunLog:
    """Appends to a log, after dropping the entries that a resumed run will write again.

    Args:
        path: the file; created if missing.
        step: the step to resume from; later entries and a truncated line are dropped.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        kept = [entry for entry in read_log(path) if entry["step"] <= step] if path.exists() else []
        write_text(path, "".join(_line(entry) for entry in kept))
        self._file = path.open("a", encoding="utf-8")

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one step and flush it."""
        self._file.write(_line(entry))
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """All complete entries of a log; a truncated last line is ignored."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, allow_nan=False) + "\n"
