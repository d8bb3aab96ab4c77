"""Clips on disk, frame by frame: H.264 with full colour, or PNG sequences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from .clips import Frames

ClipFormat = Literal["h264", "png"]
QUALITY = "8"
"""H.264's constant rate factor; at 4:4:4 drawings come back at about 45 dB and more."""


class Sink(Protocol):
    """Takes in one frame (H, W, 3) uint8 RGB."""

    def __call__(self, frame: Frames) -> None: ...


def clip_path(folder: Path, name: str, format: ClipFormat) -> Path:
    """Where a clip of this name goes: `name.mp4`, or a folder `name`."""
    return folder / f"{name}.mp4" if format == "h264" else folder / name


@contextmanager
def open_clip(path: Path, format: ClipFormat, fps: float) -> Iterator[Sink]:
    """Write a clip at `path`, a video or a folder of 0001.png, 0002.png, ...; `fps`: 0 is written as 24."""
    with _video(path, fps) if format == "h264" else _sequence(path) as sink:
        yield sink


@contextmanager
def _sequence(folder: Path) -> Iterator[Sink]:
    from PIL import Image

    folder.mkdir(parents=True)
    count = 0

    def add(frame: Frames) -> None:
        nonlocal count
        count += 1
        Image.fromarray(frame).save(folder / f"{count:04d}.png")

    yield add


@contextmanager
def _video(path: Path, fps: float) -> Iterator[Sink]:
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps or 24).limit_denominator(1001))
        stream.pix_fmt = "yuv444p"
        # One thread, so that the bytes do not depend on how many cores wrote them, and no macroblock tree, whose
        # rounding at 4:4:4 depends on where in memory the frames lie: the same footage gives the same file.
        stream.codec_context.thread_count = 1
        stream.options = {"crf": QUALITY, "preset": "medium", "x264-params": "mbtree=0"}
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709

        def add(frame: Frames) -> None:
            if not context.is_open:
                stream.height, stream.width = frame.shape[:2]
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(rgb.reformat(format="yuv444p", dst_colorspace="ITU709")))

        yield add
        container.mux(stream.encode())
