"""Cut footage into clips at scene changes, without static and flashing stretches."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariError, UsageError
from ..files import atomic_path, write_json
from ..media import VIDEO_SUFFIXES, frame_rate
from .clip_writing import ClipFormat, clip_path, open_clip
from .drawings import Changes, watch
from .inventory import Item, take_inventory


@dataclass(frozen=True)
class Settings:
    """Settings of cutting.

    Args:
        min_frames: shorter pieces are dropped; written frames count.
        max_hold: longest hold of a drawing in seconds; longer ones are static stretches.
        distinct: write each drawing once, without held frames.
        format: "h264" (4:4:4, nearly lossless) or "png" (lossless sequences).
    """

    min_frames: int = 9
    max_hold: float = 0.5
    distinct: bool = False
    format: ClipFormat = "h264"


@dataclass(frozen=True)
class Written:
    """One written clip. `frames`: first and last frame in the source, from 0, inclusive; `count`: frames written."""

    file: str
    source: str
    frames: tuple[int, int]
    count: int
    fps: float
    size: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """The entry in index.json."""
        width, height = self.size
        entry = asdict(self) | {"frames": list(self.frames), "width": width, "height": height}
        del entry["size"]
        return entry


@dataclass
class Prepared:
    """The result of `prepare`. `dropped`: dropped frames by reason; `skipped`: one sentence for each broken video."""

    clips: list[Written] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=lambda: {"still": 0, "flashing": 0, "held": 0, "short": 0})
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Piece:
    """Frames [first, end) of a source, and which of them are written (end - first,)."""

    first: int
    end: int
    kept: NDArray[np.bool_]


def prepare(
    source: Path | str,
    output: Path | str,
    settings: Settings | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Cut a video, or every video and image sequence below a folder, into clips in a new folder `output`.

    Clips are named `<video>_<number>_<cut>`, so that `split_of` keeps all cuts of one video in one split. Writes
    `index.json`, one object per clip. Videos are decoded twice and never held in memory.

    Raises:
        UsageError: settings out of range, or an `output` with files in it.
        NakawariError: nothing can be read, or no clip remains.
    """
    settings, output = settings or Settings(), Path(output)
    _check(settings, output)
    items = _items(Path(source))
    made = Prepared()
    with atomic_path(output) as folder:
        folder.mkdir()
        for number, item in enumerate(items):
            try:
                _prepare_one(item, number, folder, settings, made)
            except NakawariError as error:
                made.skipped.append(str(error))
            if progress is not None:
                progress(number + 1, len(items))
        if not made.clips:
            reason = made.skipped[0] if made.skipped else f"all pieces are under {settings.min_frames} frames"
            raise NakawariError(f"{source} gave no clip ({reason.rstrip('.')}); nothing was written.")
        write_json(folder / "index.json", [clip.to_json() for clip in made.clips])
    return made


def cut(changes: Changes, fps: float, settings: Settings) -> tuple[list[Piece], dict[str, int]]:
    """The pieces of a clip to keep, and the number of dropped frames by reason."""
    count = len(changes)
    out = changes.flashing.copy()
    dropped = {"flashing": int(out.sum())}
    for first, end in changes.holds(round(settings.max_hold * (fps or 24.0))):
        # A held drawing is the last of the piece before it; the next piece begins with the following drawing.
        out[first + 1 : end] = True
    dropped["still"] = int(out.sum()) - dropped["flashing"]
    borders = {0, count, *changes.cuts}
    borders |= {index for index in range(1, count) if out[index] != out[index - 1]}
    edges = sorted(borders)
    pieces, dropped["short"], dropped["held"] = [], 0, 0
    for first, end in itertools.pairwise(edges):
        if out[first]:
            continue
        kept = ~changes.held[first:end] if settings.distinct else np.ones(end - first, bool)
        kept[0] = True
        if kept.sum() < settings.min_frames:
            dropped["short"] += end - first
        else:
            dropped["held"] += int((~kept).sum())
            pieces.append(Piece(first, end, kept))
    return pieces, dropped


def _check(settings: Settings, output: Path) -> None:
    if settings.min_frames < 3:
        raise UsageError(f"--min-frames {settings.min_frames} is too small; a clip needs 3 frames or more.")
    if not settings.max_hold > 0:
        raise UsageError(f"--max-hold {settings.max_hold:g} must be above 0 seconds.")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists already; give a new folder.")


def _items(source: Path) -> list[Item]:
    if source.is_file():
        return [Item(source.stem, "video", source, (source,))]
    inventory = take_inventory(source)
    if unreadable := next((fault for fault in inventory.faults if fault.kind == "unreadable"), None):
        raise NakawariError(unreadable.sentence)
    items = [item for item in inventory.items if item.kind != "pair"]
    if not items:
        kinds = ", ".join(sorted(VIDEO_SUFFIXES))
        raise NakawariError(f"{source} holds no videos ({kinds}) and no image sequences; give another folder.")
    return items


def _prepare_one(item: Item, number: int, folder: Path, settings: Settings, made: Prepared) -> None:
    fps = frame_rate(item.path) if item.kind == "video" else 0.0
    changes = watch(_same_size(item), fps)
    pieces, dropped = cut(changes, fps, settings)
    for reason, frames in dropped.items():
        made.dropped[reason] += frames
    stem = re.sub(r"[^\w.-]+", "-", Path(item.name).name)
    frames = enumerate(item.frames())
    for index, piece in enumerate(pieces, 1):
        path = clip_path(folder, f"{stem}_{number:03d}_{index:03d}", settings.format)
        size = (0, 0)
        with open_clip(path, settings.format, fps) as write:
            for place, frame in frames:
                if place >= piece.first and piece.kept[place - piece.first]:
                    write(frame)
                    size = (frame.shape[1], frame.shape[0])
                if place == piece.end - 1:
                    break
        span = (piece.first, piece.end - 1)
        made.clips.append(Written(path.name, str(item.path), span, int(piece.kept.sum()), fps, size))


def _same_size(item: Item) -> Iterator[NDArray[np.uint8]]:
    shape = None
    for frame in item.frames():
        if shape not in (None, frame.shape):
            raise NakawariError(f"{item.path} has frames of different sizes; export all at one size.")
        shape = frame.shape
        yield frame
