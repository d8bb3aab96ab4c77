"""Read and write time sheets by file suffix."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from .sheet import Sheet
from .table import read_table, write_table
from .xdts import read_xdts, write_xdts

SUFFIXES = (".xdts", ".csv")


def read_sheet(path: Path) -> Sheet:
    """Read a sheet in the format of the suffix; raises `NakawariError`, or `UsageError` for another suffix."""
    return read_table(path) if _suffix(path) == ".csv" else read_xdts(path)


def write_sheet(path: Path, sheet: Sheet) -> None:
    """Write a sheet in the format of the suffix, atomically; errors as `read_sheet`."""
    write = write_table if _suffix(path) == ".csv" else write_xdts
    write(path, sheet)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        what = "a folder" if path.is_dir() else f"{suffix or 'a file without a suffix'}"
        raise UsageError(f"{path} is {what}; a time sheet is a {' or a '.join(SUFFIXES)} file.")
    return suffix
