"""Checks that a command makes before it imports anything heavy, so that invalid arguments are reported at once and
nothing is drawn that could not be written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from ..errors import NakawariError, UsageError


def check(
    *,
    variants: Iterable[str | None] = (),
    files: Iterable[Path | None] = (),
    settings: Mapping[str, Path | None] = MappingProxyType({}),
    folders: Iterable[Path | None] = (),
    output: Path | None = None,
) -> None:
    """Raise an error for the first path that is missing or cannot be written; None is skipped.

    Args:
        variants: names of models, BASE[+ADAPTER@SCALE][:PRECISION].
        files: files or folders that are read.
        settings: kind -> settings file (a recipe, a plan).
        folders: folders of data.
        output: the file or folder to be written.
    """
    for path in files:
        if path is not None and not path.exists():
            raise NakawariError(f"{path} does not exist; check the path.")
    for what, path in settings.items():
        if path is not None and not path.exists():
            raise UsageError(f"The {what} {path} cannot be read (No such file or directory); check the path.")
    for path in folders:
        if path is not None and not path.expanduser().is_dir():
            raise UsageError(f"The data folder {path} does not exist; give a folder of clips, triplets or sequences.")
    if any(name is not None for name in variants):
        from ..variants import check_name

        for name in variants:
            if name is not None:
                check_name(name)
    if output is not None:
        check_writable(output)


def check_writable(path: Path) -> None:
    """Raise `NakawariError` unless `path` can be created, or written if it exists."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if place != path.absolute() and not place.is_dir():
        raise NakawariError(f"{place} is not a folder; give an output path inside a folder.")
    if not os.access(place, os.W_OK):
        raise NakawariError(f"{place} cannot be written; give another output path, or change its permissions.")
