"""`log.jsonl`: one JSON object per optimizer step, on disk as soon as the step is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ..files import write_text

TIMING_FIELDS = ("seconds", "samples_per_second")
"""The only fields in which a run that was cut and resumed differs from the uncut one."""


class RunLog:
    """Appends to a log, after dropping what a resumed run is about to write again.

    Args:
        path: the file; made when absent.
        step: the step to resume from; later entries, and a line cut in the middle, are dropped.
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
    """All whole entries of a log; a last line that was cut short is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, allow_nan=False) + "\n"
