"""The parts of a data set by folder names: training, validation, test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..errors import UsageError

Part = Literal["train", "val", "test"]
ATD12K: dict[Part, tuple[str, ...]] = {"train": ("train_10k",), "test": ("test_2k_540p", "test_2k_original")}
PLAIN: dict[Part, tuple[str, ...]] = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
_PARTS: dict[str, Part] = {name: part for table in (ATD12K, PLAIN) for part, names in table.items() for name in names}


def part_of(path: Path, root: Path) -> Part | None:
    """The part that `path`, somewhere below `root`, belongs to; None if no folder in its path names one."""
    return next((_PARTS[name] for name in path.relative_to(root).parts[:-1] if name in _PARTS), None)


def folders_of(root: Path) -> dict[Part, Path]:
    """The folders directly below `root` that are parts of a data set."""
    found: dict[Part, Path] = {}
    for name, part in _PARTS.items():
        if part not in found and (root / name).is_dir():
            found[part] = root / name
    return found


def check_not_for_testing(root: Path) -> None:
    """Raise `UsageError` if `root` itself is the test part of a data set."""
    root = root.resolve()
    beside = {part for part in folders_of(root.parent) if part != "test"}
    if root.name in ATD12K["test"] or (_PARTS.get(root.name) == "test" and beside):
        raise UsageError(f"{root} is for testing, which training never reads; give {root.parent} or another folder.")


def for_training(paths: Sequence[Path], root: Path) -> list[Path]:
    """`paths` below `root` without the test part. Raises `UsageError` if nothing remains."""
    check_not_for_testing(root)
    kept = [path for path in paths if part_of(path / "_", root) != "test"]
    if not kept:
        raise nothing_to_train_on(root)
    return kept


def nothing_to_train_on(root: Path) -> UsageError:
    """The error for a data set that has no part for training."""
    return UsageError(
        f"{root} has nothing to train on: only a part for testing, which training never reads; "
        "give a folder with a part named train."
    )
