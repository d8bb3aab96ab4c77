"""Shared code of the families' conversions: check of the output, report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transformers.utils import logging


@dataclass(frozen=True)
class ConversionReport:
    """The result of a conversion.

    Args:
        output_dir: the folder that was written.
        keys: component (and `extra`) -> published tensors stored there; the sum is the number of all tensors.
        parameters: component -> parameters written.
        schedule_matches: whether the published noise schedule equals the scheduler's; None if there
            is none to compare.
    """

    output_dir: Path
    keys: Mapping[str, int]
    parameters: Mapping[str, int]
    schedule_matches: bool | None = None


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Disable transformers' own progress bar."""
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
