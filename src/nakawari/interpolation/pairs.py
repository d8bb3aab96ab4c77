"""Keys that come in pairs: `NAME_start` and `NAME_end`, one gap each, in that order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import UsageError
from ..media import pair_role
from .plan import gap_counts

Item = TypeVar("Item")


def start_before_end(paths: Sequence[Path]) -> list[Path]:
    """The drawings of a folder with every start before its end; a folder without pairs is unchanged.

    Raises `UsageError` where some drawings belong to pairs and others do not.
    """
    roles = [pair_role(path.stem) for path in paths]
    names = [role[0] for role in roles if role]
    whole = {name for name in names if {(name, "start"), (name, "end")} <= set(roles)}
    if not whole:
        return list(paths)
    for path, role in zip(paths, roles, strict=True):
        if role is None or role[0] not in whole or names.count(role[0]) != 2:
            raise UsageError(
                f"{path} belongs to no pair, but others in the folder do; move it away, or add its partner."
            )
    order = list(dict.fromkeys(names))
    by_role = dict(zip(roles, paths, strict=True))
    return [by_role[name, role] for name in order for role in ("start", "end")]


def are_pairs(paths: Sequence[Path]) -> bool:
    """Whether the keys are two or more pairs, each a start and its end next to each other."""
    roles = [pair_role(path.stem) for path in paths]
    if len(paths) < 4 or len(paths) % 2 or None in roles:
        return False
    folders = [(path.parent, role) for path, role in zip(paths, roles, strict=True)]
    return all(
        start[1] == "start" and end[1] == "end" and (start_folder, start[0]) == (end_folder, end[0])
        for (start_folder, start), (end_folder, end) in zip(folders[::2], folders[1::2], strict=True)
        if start and end
    )


def pair_counts(counts: tuple[int, ...], keys: int, *, loop: bool) -> tuple[int, ...]:
    """Counts for all gaps between keys in pairs: as given within a pair, 0 between two pairs.

    Raises `UsageError` for a loop, and when the number of counts is not that of the pairs.
    """
    if loop:
        raise UsageError("The keys are pairs of start and end, which cannot loop; leave --loop out.")
    pairs = keys // 2
    if len(counts) not in (1, pairs):
        raise UsageError(f"There are {pairs} pairs, but {len(counts)} counts of in-betweens; give one, or {pairs}.")
    return gap_counts(between_pairs(counts * (pairs if len(counts) == 1 else 1), 0), keys, loop=False)


def between_pairs(items: Sequence[Item], filler: Item) -> tuple[Item, ...]:
    """The items of all pairs, with `filler` for the gaps between them."""
    return tuple(one for item in items for one in (item, filler))[:-1]
