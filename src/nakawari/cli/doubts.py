"""What is said about gaps that may have gone wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

UNSURE = 0.5
"""In-betweens with a lower confidence are reported."""


def doubts(gaps: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """A sentence for each possible cut and low confidence; `gaps`: names and records of the gaps."""
    return [f"{name}: {doubt}" for name, gap in gaps if (doubt := _doubt(gap))]


def _doubt(gap: Mapping[str, Any]) -> str:
    sure = gap.get("confidence") or ()
    if gap.get("cut"):
        drawn = {"hold": "the keys are held", "fade": "the keys are faded"}.get(gap["drawn_by"])
        return f"a cut? Little of one key is found in the other: {drawn or _ANYWAY}."
    if sure and min(sure) < UNSURE:
        return f"lowest confidence is {min(sure):.2f}; look at its frames."
    return ""


_ANYWAY = "it is drawn anyway; see --on-cut hold and fade"
