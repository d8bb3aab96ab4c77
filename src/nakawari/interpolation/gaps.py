"""Finished gaps, kept until their job is done, for resuming."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from .. import __version__
from ..errors import NakawariError
from ..files import atomic_path, read_json, remove, write_json
from .drawn import Gap


def gap_key(pair: tuple[np.ndarray, np.ndarray], words: Mapping[str, Any], model: str) -> str:
    """SHA-256 over everything that determines a gap's frames.

    Args:
        pair: its keys, uint8 (H, W, 3 or 4).
        words: its `Settings.of_gap`.
        model: the fingerprint of the model.
    """
    shapes = [key.shape for key in pair]
    digest = hashlib.sha256(hash_of([words, model, __version__, shapes]).encode())
    for key in pair:
        digest.update(np.ascontiguousarray(key).data)
    return digest.hexdigest()


def hash_of(said: Any) -> str:
    """SHA-256 over words, numbers, arrays, dataclasses, and lists and mappings of them."""
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be part of a key")


PLAN = "sequence.json"
"""File name of the plan of an unfinished job, in its gaps' folder."""


class GapStore:
    """Finished gaps of an unfinished job, in a hidden folder beside its output."""

    def __init__(self, output: Path) -> None:
        self._folder = output.with_name(f".{output.name}.unfinished")

    def get(self, key: str) -> Gap | None:
        """The gap stored under a key, None if there is no complete one."""
        try:
            with np.load(self._path(key), allow_pickle=False) as data:
                about = json.loads(str(data["about"]))
                tracks = data.get("tracks")
                return Gap(list(data["frames"]), tracks, tuple(about["shares"]), about["used"])
        except (OSError, ValueError, KeyError, BadZipFile):
            return None

    def put(self, key: str, gap: Gap) -> None:
        """Store a gap atomically; raises `NakawariError` if it cannot be written."""
        about = json.dumps({"shares": gap.shares, "used": dict(gap.used)})
        tracks = {} if gap.tracks is None else {"tracks": gap.tracks}
        try:
            with atomic_path(self._path(key)) as temporary:
                np.savez_compressed(temporary, frames=np.stack(gap.frames), about=np.array(about), **tracks)
        except NakawariError as error:
            reason = getattr(error.__cause__, "strerror", None) or error.__cause__ or error
            raise NakawariError(f"A finished gap could not be stored ({reason}); free some space.") from error

    def put_plan(self, plan: Mapping[str, Any]) -> None:
        """Store the plan of the job, so that a program can show finished gaps: `gaps`, the key of every gap,
        `between`, `begins` and `lengths` as in `Timeline`, `keys`, the names of the key drawings, and others."""
        write_json(self._folder / PLAN, plan)

    def plan(self) -> Mapping[str, Any] | None:
        """The plan of the unfinished job, None if there is none."""
        try:
            found = read_json(self._folder / PLAN)
        except NakawariError:
            return None
        return found if isinstance(found, dict) else None

    def clear(self) -> None:
        """Delete all gaps."""
        remove(self._folder)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npz"
