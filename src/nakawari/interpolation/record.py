"""The record beside a sequence: what was drawn, with what and how; and what an earlier one says about its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..errors import NakawariError
from ..files import read_json
from ..media import read_picture

if TYPE_CHECKING:
    from .draw import Drawn, Gap, Settings
    from .keys import Key
    from .timeline import Timeline

RECORD = "interpolation.json"
TOOL = "nakawari interpolate"


@dataclass(frozen=True)
class Made:
    """With what a sequence was drawn.

    Args:
        model: the variant's name.
        model_hash: its fingerprint, "" where none was needed.
        keys: per gap the hash of all that decides how it looks (`gap_key`), "" where that is not known.
    """

    model: str
    model_hash: str = ""
    keys: tuple[str, ...] = ()


def record_of(
    drawn: Drawn, keys: Sequence[Key], settings: Settings, made: Made, fps: float, timeline: Timeline, *, files: bool
) -> dict[str, Any]:
    """The record, without the names and hashes of files; `files`: whether there is a sequence of them."""
    height, width, channels = drawn.frames[0].shape
    names = timeline.files()
    return {
        "tool": TOOL,
        "model": made.model,
        "model_hash": made.model_hash,
        "size": [width, height],
        "channels": "RGBA" if channels == 4 else "RGB",
        "between": list(settings.counts),
        "loop": settings.loop,
        **_used(drawn, settings),
        "seed": settings.seed,
        "prompt": settings.prompt,
        "auto_tracks": settings.auto_tracks,
        "options": {name: list(v) if isinstance(v, tuple) else v for name, v in settings.options.items()},
        "tracks": {str(gap + 1): rows.tolist() for gap, rows in drawn.tracks.items()},
        "fps": fps,
        "keys": [{"path": str(key.path), "sha256": file_hash(key.path)} for key in keys],
        "frames": [
            {
                "number": timeline.begins[index],
                "length": timeline.lengths[index],
                "file": names[index][0] if files else None,
                "seconds": round((timeline.begins[index] - timeline.begins[0]) / fps, 6),
                "key": None if key is None else keys[key].path.name,
            }
            for index, key in enumerate(drawn.keys)
        ],
        "gaps": _gaps(drawn, settings, made, names if files else None),
        "versions": {"nakawari": __version__}
        | {name: metadata.version(name) for name in ("torch", "diffusers", "numpy", "pillow")},
    }


def _used(drawn: Drawn, settings: Settings) -> dict[str, Any]:
    """What the model really took for what the job left to it."""
    asked = {"steps": settings.steps, "guidance": settings.guidance, "scheduler": settings.scheduler}
    return {name: drawn.used.get(name) if value is None else value for name, value in asked.items()}


def _gaps(drawn: Drawn, settings: Settings, made: Made, names: Sequence[Sequence[str]] | None) -> list[dict[str, Any]]:
    places = [index for index, key in enumerate(drawn.keys) if key is not None]
    gaps = []
    for gap, (count, shares) in enumerate(zip(settings.counts, drawn.shares, strict=True)):
        asked = settings.shares[gap] if settings.shares else None
        first = places[gap] + 1
        gaps.append(
            {
                "shares": list(shares),
                "asked": None if asked is None else list(asked),
                "key": made.keys[gap] if made.keys else "",
                "files": [files[0] for files in names[first : first + count]] if names else [],
            }
        )
    return gaps


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file, None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


@dataclass(frozen=True)
class Earlier:
    """What an earlier job says about the folder it filled.

    Args:
        folder: the folder.
        record: its record, empty where there is none of ours.
    """

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path) -> Earlier:
        """Read the record of a folder; none, or one that is not ours, is empty."""
        if not (folder / RECORD).is_file():
            return cls(folder, {})
        try:
            record = read_json(folder / RECORD)
            known = record["tool"] == TOOL and isinstance(record["files"], list)
        except (NakawariError, KeyError, TypeError):
            known = False
        return cls(folder, record if known else {})

    @property
    def files(self) -> set[str]:
        """The files that the job wrote, there or not."""
        return set(self.record.get("files", ()))

    def changed(self, names: Sequence[str] | None = None) -> list[str]:
        """Those of its files, or of `names`, that somebody has changed since."""
        hashes = self.record.get("hashes", {})
        found = [name for name in sorted(hashes) if names is None or name in names]
        return [name for name in found if (self.folder / name).is_file() and self._hash(name) != hashes[name]]

    def gap(self, key: str) -> Gap | None:
        """The gap that was drawn under a key, None where there is none or not all of its files are as they were."""
        for number, own in enumerate(self.record.get("gaps", ())):
            hashes = self.record.get("hashes", {})
            whole = all(self._hash(name) == hashes.get(name) for name in own["files"])
            if key and own["key"] == key and own["files"] and whole:
                tracks = self.record["tracks"].get(str(number + 1))
                return Gap(
                    [read_picture(self.folder / name).pixels for name in own["files"]],
                    None if tracks is None else np.array(tracks),
                    tuple(own["shares"]),
                    {name: self.record[name] for name in ("steps", "guidance", "scheduler")},
                )
        return None

    def _hash(self, name: str) -> str | None:
        return file_hash(self.folder / name)
