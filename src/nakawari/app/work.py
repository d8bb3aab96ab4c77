"""The folder of one user: key drawings, settings and results. The command line can continue in it."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NakawariError, UsageError
from ..files import read_json, write_json
from ..interpolation import read_keys
from ..interpolation.pairs import are_pairs, start_before_end
from ..media import Picture, is_image, read_pictures, write_image

USERS, STATE = "users", "work.json"
PREVIEW = 1280
"""Longest side of the previews of keys, in pixels."""
MOST_KEYS = 500
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,64}")
_ODD = re.compile(r"[^\w .()+-]+")


@dataclass
class KeyFile:
    """A key drawing: its file in `keys/`, its size."""

    name: str
    width: int
    height: int


@dataclass
class Asked:
    """Settings of the Draw page; `None` and "" leave the choice to the command.

    Args:
        keys: key drawings in order.
        between, spacing: per gap, the loop's gap last; `spacing`: a curve's name or fractions. Between two pairs
            (`NAME_start`, `NAME_end`) there are no in-betweens.
        tracks: gap counted from 1, as a string -> tracks, each a list of [x, y] in pixels of the keys.
    """

    keys: list[KeyFile] = field(default_factory=list)
    between: list[int] = field(default_factory=list)
    spacing: list[str | list[float]] = field(default_factory=list)
    tracks: dict[str, list[list[list[float]]]] = field(default_factory=dict)
    loop: bool = False
    parts: bool = True
    on_cut: str = "draw"
    model: str = "mini"
    adapter: str = ""
    scale: float = 1.0
    precision: str = ""
    steps: int | None = None
    seed: int = 0
    prompt: str = ""
    exposure: int = 1
    fps: float = 12.0

    def gaps(self) -> int:
        """Number of gaps, including the loop's."""
        return max(0, len(self.keys) - 1 + (self.loop and len(self.keys) > 1))

    def pairs(self) -> bool:
        """Whether the keys' names make them pairs, by the rule of the command line."""
        return are_pairs([Path(key.name) for key in self.keys])

    def name_of(self, gap: int) -> str:
        """Display name of a gap, counted from 0."""
        return f"pair {gap // 2 + 1}" if self.pairs() else f"gap {gap + 1}"

    def is_apart(self, gap: int) -> bool:
        """Whether a gap, counted from 0, is between two pairs, where nothing is drawn."""
        return gap % 2 == 1 and self.pairs()

    def fit(self) -> None:
        """Give every gap a count and a spacing, and drop those of removed gaps."""
        gaps = self.gaps()
        self.between = (self.between + [7] * gaps)[:gaps]
        self.spacing = (self.spacing + ["even"] * gaps)[:gaps]
        if self.pairs():
            between = len(self.between[1::2])
            self.between[1::2], self.spacing[1::2] = [0] * between, ["even"] * between
        self.tracks = {gap: ways for gap, ways in self.tracks.items() if ways and 1 <= int(gap) <= gaps}


class Works:
    """All users' folders, below `root/users`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        (self.root / USERS).mkdir(parents=True, exist_ok=True)
        self.uploads = self.root / ".uploads"
        self.uploads.mkdir(exist_ok=True)
        self._locks: dict[str, threading.RLock] = defaultdict(threading.RLock)

    def open(self, token: Any) -> Work:
        """The folder of a browser's token. Raises `UsageError` for anything but a valid token."""
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise UsageError("This browser has no work folder yet; load the page again.")
        folder = self.root / USERS / token
        (folder / "keys").mkdir(parents=True, exist_ok=True)
        return Work(folder, token, self, self._locks[token])

    def new_token(self) -> str:
        """An unguessable name: anyone who has it can see the work."""
        return secrets.token_urlsafe(24)

    def is_token(self, token: Any) -> bool:
        """Whether this is a valid name of a user's folder."""
        return isinstance(token, str) and _TOKEN.fullmatch(token) is not None

    def shared(self, name: str) -> Path:
        """A path in the shared work folder, outside the users' folders. Raises `UsageError` for any other."""
        try:
            found = (self.root / name).resolve()
            parts = found.relative_to(self.root).parts
        except (ValueError, OSError):
            parts = ()
        if not parts or parts[0] == USERS or any(part.startswith(".") for part in parts):
            raise UsageError(f"{name[:80]!r} is outside the work folder; give a name inside it.")
        return found

    def uploaded(self, path: Any) -> Path:
        """A file uploaded by a browser. Raises `UsageError` for any other path."""
        try:
            found = Path(path).resolve()
            there = found.is_relative_to(self.uploads) and found.is_file()
        except (TypeError, ValueError, OSError):
            there = False
        if not there:
            raise UsageError("This file was not uploaded to this page; add it again.")
        return found


class Work:
    """One user's folder."""

    def __init__(self, folder: Path, token: str, works: Works, lock: threading.RLock) -> None:
        self.folder, self.token, self.works, self._lock = folder, token, works, lock

    @property
    def output(self) -> Path:
        """Output folder of `nakawari interpolate`."""
        return self.folder / "out"

    def asked(self) -> Asked:
        """The saved settings; an unreadable state counts as none."""
        try:
            value = read_json(self.folder / STATE)
            known = {one.name for one in fields(Asked)}
            found = Asked(**{name: own for name, own in value.items() if name in known})
            found.keys = [KeyFile(**key) for key in found.keys]
            found.fit()
            return found
        except (NakawariError, TypeError, AttributeError, ValueError):
            return Asked()

    @contextmanager
    def changing(self) -> Iterator[Asked]:
        """The settings, to be changed inside the block and saved after it."""
        with self._lock:
            asked = self.asked()
            yield asked
            asked.fit()
            write_json(self.folder / STATE, asdict(asked))

    def inside(self, name: str) -> Path:
        """A path in this folder. Raises `UsageError` for a path outside it."""
        try:
            found = (self.folder / name).resolve()
        except (ValueError, OSError) as error:
            raise UsageError(f"{name[:80]!r} is not the name of a file or folder; give another.") from error
        if not found.is_relative_to(self.folder.resolve()):
            raise UsageError(f"{name[:80]!r} is outside the work folder; give a name inside it.")
        return found

    def visible(self, name: str) -> Path:
        """A folder that this user may open: their own or a shared one. Raises as `Works.shared`."""
        if name.strip():
            own = self.inside(name) if ".." not in Path(name).parts else None
            if own is not None and own.exists() and own != self.folder:
                return own
        return self.works.shared(name)

    def sentence(self, text: str) -> str:
        """A message without the paths of private folders."""
        return text.replace(f"{self.folder}/", "").replace(f"{self.works.root}/", "")

    # --- keys ------------------------------------------------------------------------------------------------------

    def add_key(self, file: Path, name: str, place: int | None = None) -> None:
        """Add a drawing to the keys, at the end or at a position; a file of several images gives one key for each.

        Raises `NakawariError` for a file that cannot be read or does not match the existing keys.
        """
        with self.changing() as asked:
            if len(asked.keys) >= MOST_KEYS:
                raise UsageError(f"There are {MOST_KEYS} keys already, the maximum; draw the sequence in parts.")
            for key in self._stored(file, name, asked.keys):
                asked.keys.insert(len(asked.keys) if place is None else place, key)
                place = None if place is None else place + 1

    def _stored(self, file: Path, name: str, there: Sequence[KeyFile]) -> list[KeyFile]:
        name = plain_name(name)
        if not is_image(name):
            raise UsageError(f"{name} is not a drawing that can be read; give PNG, JPEG, WebP, TIFF, PSD, GIF or BMP.")
        target = self.folder / "keys" / self._free(name)
        shutil.copyfile(file, target)
        try:
            pictures = read_pictures(target)
            if there:
                read_keys([self.folder / "keys" / there[0].name, target])
        except NakawariError:
            target.unlink()
            raise
        if len(pictures) == 1:
            return [self._keep(target, pictures[0])]
        target.unlink()
        pages = [target.with_name(self._free(f"{target.stem}_{n:04d}.png")) for n in range(1, len(pictures) + 1)]
        for page, picture in zip(pages, pictures, strict=True):
            write_image(page, picture)
        return [self._keep(page, picture) for page, picture in zip(pages, pictures, strict=True)]

    def _free(self, name: str) -> str:
        stem, suffix, number = Path(name).stem, Path(name).suffix, 1
        while (self.folder / "keys" / name).exists():
            number += 1
            name = f"{stem}_{number}{suffix}"
        return name

    def _keep(self, file: Path, picture: Picture) -> KeyFile:
        height, width = picture.pixels.shape[:2]
        write_preview(self.folder / "previews" / f"{file.name}.png", picture)
        return KeyFile(file.name, width, height)

    def order_pairs(self) -> None:
        """Put every `NAME_start` before its `NAME_end` if all keys are pairs; else leave the order."""
        with self.changing() as asked:
            by_name = {Path(key.name): key for key in asked.keys}
            try:
                order = [by_name[path] for path in start_before_end(list(by_name))]
            except UsageError:
                return
            if order != asked.keys:
                asked.keys, asked.tracks = order, {}

    def remove_key(self, place: int) -> None:
        """Remove a key with its file and its gap's settings."""
        with self.changing() as asked:
            key = asked.keys.pop(_place(place, asked.keys))
            for values in (asked.between, asked.spacing):
                if values:
                    values.pop(min(place, len(values) - 1))
            asked.tracks = {}
            for file in (self.folder / "keys" / key.name, self.folder / "previews" / f"{key.name}.png"):
                file.unlink(missing_ok=True)

    def move_key(self, place: int, to: int) -> None:
        """Move a key to another position."""
        with self.changing() as asked:
            key = asked.keys.pop(_place(place, asked.keys))
            asked.keys.insert(max(0, min(int(to), len(asked.keys))), key)
            asked.tracks = {}


def _place(place: Any, keys: Sequence[KeyFile]) -> int:
    if not isinstance(place, int) or not 0 <= place < len(keys):
        raise UsageError("This key no longer exists; load the page again.")
    return place


def plain_name(name: Any) -> str:
    """An uploaded file's name, without folders, special characters and leading dots."""
    last = re.split(r"[/\\]", str(name))[-1]
    stem, dot, suffix = _ODD.sub("_", last).strip(" .").rpartition(".")
    return f"{(stem or 'drawing')[:80]}{dot}{suffix[:8]}" if dot else (suffix or "drawing")[:80]


def write_preview(path: Path, picture: Picture) -> None:
    """Write an image for browsers: sRGB, 8 bits, no side longer than `PREVIEW`."""
    from PIL import Image

    image = Image.fromarray(picture.srgb())
    image.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)
    write_image(path, np.asarray(image))


def json_of(text: str) -> Any:
    """The last line of a command's output as JSON; None if it is not JSON."""
    try:
        return json.loads(text.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return None
