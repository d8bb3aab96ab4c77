"""Write clips frame by frame: H.264 with full colour, or PNG sequences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

from ..media import open_video, write_image
from .clips import Frames

ClipFormat = Literal["h264", "png"]
QUALITY = 8
"""H.264's constant rate factor; at 4:4:4 drawings are reproduced at about 45 dB and more."""


class Sink(Protocol):
    """Takes in one frame (H, W, 3) uint8 RGB."""

    def __call__(self, frame: Frames) -> None: ...


def clip_path(folder: Path, name: str, format: ClipFormat) -> Path:
    """The path of a clip of this name: `name.mp4`, or a folder `name`."""
    return folder / f"{name}.mp4" if format == "h264" else folder / name


@contextmanager
def open_clip(path: Path, format: ClipFormat, fps: float) -> Iterator[Sink]:
    """Write a clip at `path`, a video or a folder of 0001.png, 0002.png, ...; `fps`: 0 is written as 24."""
    if format == "h264":
        with open_video(path, fps, pixel_format="yuv444p", quality=QUALITY) as sink:
            yield sink
    else:
        with _sequence(path) as sink:
            yield sink


@contextmanager
def _sequence(folder: Path) -> Iterator[Sink]:
    folder.mkdir(parents=True)
    count = 0

    def add(frame: Frames) -> None:
        nonlocal count
        count += 1
        write_image(folder / f"{count:04d}.png", frame)

    yield add
