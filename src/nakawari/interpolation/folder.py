"""A results folder: files of an earlier job, files edited since, and atomic replacement."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NakawariError, NakawariWarning, UsageError
from ..files import atomic_path, read_json
from ..media import file_of, read_picture

if TYPE_CHECKING:
    from .drawn import Gap


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file, None if it is missing; for a layer that of its file."""
    try:
        with file_of(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def files_in(folder: Path) -> set[str]:
    """Relative paths of all files below a folder; empty if it is missing."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


@dataclass(frozen=True)
class Earlier:
    """The record of an earlier job in its folder.

    Args:
        folder: the folder.
        record: the record, empty if there is none of ours. It has `files`, their `hashes`, and `gaps`: each with
            `key`, `files` and `shares`.
    """

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path, name: str, tool: str) -> Earlier:
        """Read the record `name` in a folder; none, or one of another `tool`, is empty."""
        if not (folder / name).is_file():
            return cls(folder, {})
        try:
            record = read_json(folder / name)
            known = record["tool"] == tool and isinstance(record["files"], list)
        except (NakawariError, KeyError, TypeError):
            known = False
        return cls(folder, record if known else {})

    @property
    def files(self) -> set[str]:
        """The files that the job wrote, existing or not."""
        return set(self.record.get("files", ()))

    def strangers(self) -> list[str]:
        """Files in the folder that the job did not write."""
        return sorted(files_in(self.folder) - self.files)

    def changed(self, names: Sequence[str] | None = None) -> list[str]:
        """Those of its files, or of `names`, that were changed since."""
        hashes = self.record.get("hashes", {})
        found = [name for name in sorted(hashes) if names is None or name in names]
        return [name for name in found if file_hash(self.folder / name) not in (None, hashes[name])]

    def whole(self) -> bool:
        """Whether all of its files exist unchanged."""
        hashes = self.record.get("hashes", {})
        return bool(hashes) and all(file_hash(self.folder / name) == own for name, own in hashes.items())

    def gap(self, key: str) -> Gap | None:
        """The gap drawn under a key; None if there is none or a file of it is missing or changed."""
        hashes = self.record.get("hashes", {})
        for number, own in enumerate(self.record.get("gaps", ())):
            if not key or own["key"] != key or not own["files"]:
                continue
            if all(file_hash(self.folder / name) == hashes.get(name) for name in own["files"]):
                return self.read_gap(number)
        return None

    def read_gap(self, number: int) -> Gap:
        """A gap, read from its files."""
        from .drawn import OF_GAP, OF_MODEL, Gap, is_by_model

        own, tracks = self.record["gaps"][number], self.record.get("tracks", {}).get(str(number + 1))
        common = self.record if is_by_model(own) else {}  # earlier versions had no settings for each gap
        return Gap(
            [read_picture(self.folder / name).pixels for name in own["files"]],
            None if tracks is None else np.array(tracks),
            tuple(own["shares"]),
            {name: own[name] for name in OF_GAP if own.get(name) is not None}
            | {name: own.get(name, common.get(name)) for name in (*OF_MODEL, "model")},
        )

    def check(self, *, overwrite: bool, replaced: Sequence[str] | None = None) -> None:
        """Refuse, or with `overwrite` report, files that writing into the folder would destroy or leave among its own.

        Args:
            replaced: the files to be rewritten, if not all.
        """
        strangers = self.strangers()
        if strangers and not overwrite:
            raise UsageError(
                f"{self.folder} holds other files ({strangers[0]}); give another output folder, or --overwrite, "
                "which keeps them beside the new ones."
            )
        changed = self.changed(replaced)
        if not changed:
            return
        named = f"{self.folder / changed[0]}{f' (and {len(changed) - 1} more)' if len(changed) > 1 else ''}"
        if not overwrite:
            raise UsageError(
                f"{named} was changed since it was drawn; move it away, give another output folder, or --overwrite, "
                "which replaces it."
            )
        warnings.warn(f"{named} was changed since it was drawn, and is replaced.", NakawariWarning, stacklevel=2)


@contextmanager
def filling(earlier: Earlier) -> Iterator[Path]:
    """A folder to write into, which replaces that of an earlier job if the block succeeds."""
    path = earlier.folder.resolve()
    if earlier.strangers():
        # With other files in the folder, files are replaced one by one; otherwise the folder is replaced as a whole.
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as staging, _named_as(path, staging):
            yield Path(staging)
            _merge(Path(staging), path, earlier.files)
    else:
        with atomic_path(path) as temporary, _named_as(path, str(temporary)):
            temporary.mkdir()
            yield temporary


@contextmanager
def _named_as(path: Path, staging: str) -> Iterator[None]:
    """Let errors name the requested path instead of the temporary one."""
    try:
        yield
    except NakawariError as error:
        if staging not in str(error):
            raise
        raise type(error)(str(error).replace(staging, str(path))) from error


def _merge(made: Path, folder: Path, ours: set[str]) -> None:
    """Move the files of `made` into `folder`; files of the earlier job are removed, other files stay."""
    names = files_in(made)
    for stale in (ours & files_in(folder)) - names:
        (folder / stale).unlink()
    for name in sorted(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).replace(folder / name)
