"""Atomic file writing: written under a temporary name, then renamed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import NakawariError, UsageError

try:
    import fcntl
except ImportError:  # not on Windows, which then has no lock between processes
    fcntl = None  # type: ignore[assignment]
if TYPE_CHECKING:
    import numpy as np


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary sibling of `path` (same suffix) that replaces `path` if the block succeeds.

    Works for a file or a folder; an existing folder is replaced. On any error the temporary is removed
    and `path` is unchanged. Of a symbolic link the target is replaced.
    """
    path = Path(path).resolve() if Path(path).is_symlink() else Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NakawariError(f"{path.parent} is not a folder; give an output path inside a folder.") from error
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        _let_others_read(temporary)
        _replace(temporary, path)
    except OSError as error:
        raise NakawariError(
            f"Could not write {path}: {error.strerror or error}; no partial files were left."
        ) from error
    finally:
        remove(temporary)


def _let_others_read(path: Path) -> None:
    """Set modes by the umask: some libraries write through private temporary files, readable only by their owner."""
    mask = os.umask(0)
    os.umask(mask)
    for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
        if not file.is_symlink():
            file.chmod(file.stat().st_mode | (0o777 if file.is_dir() else 0o666) & ~mask)


def _replace(temporary: Path, path: Path) -> None:
    if temporary.is_dir() and path.is_dir():
        old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
        path.rename(old)
        temporary.rename(path)
        remove(old)
    else:
        temporary.replace(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock on writing `path` inside the block; waits for another process that holds it.

    Temporary files of `path` that killed processes left are removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with lock.open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        for left in path.parent.glob(f".{path.stem}.????????{path.suffix}"):
            remove(left)
        yield
        remove(lock)


def mapped_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A new memory-mapped `.npy` file with its disk space allocated: writing a page without space would kill the
    process."""
    import numpy as np

    try:
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        remove(path)
        raise NakawariError(
            f"Could not write {path}: {error.strerror or error}; it needs {size / 1e6:.0f} MB, but "
            f"{shutil.disk_usage(path.parent).free / 1e6:.0f} MB are free; free some space."
        ) from error
    return array


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file. Raises `NakawariError` if it is missing or broken."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NakawariError(f"{path} does not exist; check the path.") from error
    except (ValueError, OSError) as error:
        raise NakawariError(f"{path} is not a readable JSON file ({error}); restore it or make it again.") from error


def fingerprint(paths: list[Path]) -> str:
    """SHA-256 over the names and contents of `paths` in sorted order."""
    return combined({path: file_digest(path) for path in paths})


def combined(hashes: Mapping[Path, bytes]) -> str:
    """The fingerprint of files from their `file_digest`."""
    digest = hashlib.sha256()
    for path in sorted(hashes):
        digest.update(path.name.encode())
        digest.update(hashes[path])
    return digest.hexdigest()


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file's contents, cached until the file changes."""
    about = path.stat()
    return _digest(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=2**16)
def _digest(path: Path, size: int, changed: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def folder_fingerprint(folder: Path, files: list[Path]) -> bytes:
    """SHA-256 over the paths relative to `folder` and the contents of `files`, in sorted order."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.digest()


def check_new(path: Path) -> None:
    """Raise `UsageError` if `path` exists, unless it is an empty folder: `atomic_path` would replace all of it."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists already; give a new path or an empty folder.")


def check_writable(folder: Path) -> None:
    """Raise `NakawariError` unless a file can be written into `folder`, which is created if missing."""
    probe = folder / f".{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError) as error:
        raise NakawariError(f"{folder} is not a folder; give an output path inside a folder.") from error
    except OSError as error:
        raise NakawariError(f"{folder} cannot be written ({error.strerror}); give another output path.") from error
