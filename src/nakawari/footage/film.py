"""Write a film in parts, each atomically, and join them with the audio of the source footage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_path
from ..media import encoded, is_video, set_prores
from .source import Pixels

CLOCK = Fraction(1, 90000)
"""Time base of the film."""
CONTAINERS = (".mp4", ".mov")
"""Containers of a film: H.264 in MP4, or ProRes 4444 in MOV."""
_COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
"""Audio codecs that both containers accept; other audio is converted to AAC."""


def write_part(path: Path, frames: Iterable[tuple[Pixels, Fraction]], rate: Fraction, container: str) -> None:
    """Write frames (H, W, 3) with their start times in seconds, in one of `CONTAINERS`,
    atomically."""
    import av

    prores = container == ".mov"
    form, options = ("mov", {"video_track_timescale": str(CLOCK.denominator)}) if prores else ("nut", {})
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format=form, options=options) as part:
        stream = part.add_stream("prores_ks" if prores else "libx264", rate=rate)
        (set_prores if prores else _set_h264)(stream)
        stream.pix_fmt = "yuv444p10le" if prores else "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = CLOCK
        for pixels, time in frames:
            even = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")
            if not context.is_open:
                stream.height, stream.width = even.shape[:2]
            frame = encoded(even, stream.pix_fmt)
            frame.pts, frame.time_base = round(time / CLOCK), CLOCK
            part.mux(stream.encode(frame))
        part.mux(stream.encode())


def _set_h264(stream: Any) -> None:
    context = stream.codec_context
    # One thread and no macroblock tree, so that the bytes depend on the frames only. No B-frames, so that
    # parts can be joined without re-encoding.
    context.thread_count = 1
    stream.options = {"crf": "12", "preset": "medium", "x264-params": "mbtree=0:bframes=0"}
    context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709


def join(path: Path, parts: Iterable[Path], source: Path) -> None:
    """Join the parts into one film, in the container of the suffix, with the audio of `source`
    if it is a video with audio."""
    import av

    with atomic_path(path) as temporary, ExitStack() as stack:
        film = stack.enter_context(av.open(str(temporary), "w", format=path.suffix.lower()[1:]))
        sound = _Sound(film, stack.enter_context(av.open(str(source)))) if is_video(source) else None
        stream: Any = None
        for part in parts:
            with av.open(str(part)) as container:
                if stream is None:
                    stream = film.add_stream_from_template(container.streams.video[0])
                    if sound:
                        sound.open()
                for packet in container.demux(video=0):
                    if packet.dts is None:
                        continue
                    if sound:
                        sound.write_until(packet.dts * packet.time_base)
                    packet.stream = stream
                    film.mux(packet)
        if sound:
            sound.write_until(None)


class _Sound:
    """The first audio track of a video, interleaved with the frames, so that little is held in memory."""

    def __init__(self, film: Any, container: Any) -> None:
        self._film, self._container, self._stream = film, container, None
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None

    def open(self) -> None:
        """Add an audio track to the film, if the video has one."""
        tracks = self._container.streams.audio
        if not tracks:
            return
        if tracks[0].codec_context.name in _COPIED:
            self._stream = self._film.add_stream_from_template(tracks[0])
            self._packets = (p for p in self._container.demux(audio=0) if p.dts is not None)
        else:
            self._stream = self._film.add_stream("aac", rate=tracks[0].codec_context.sample_rate)
            self._packets = self._encoded()
        self._next = next(self._packets, None)

    def _encoded(self) -> Iterator[Any]:
        for frame in self._container.decode(audio=0):
            yield from self._stream.encode(frame)
        yield from self._stream.encode(None)

    def write_until(self, time: Fraction | None) -> None:
        """Write the audio that starts before `time`, in seconds; all the rest if None."""
        while self._next is not None and (time is None or self._next.dts * self._next.time_base <= time):
            self._next.stream = self._stream
            self._film.mux(self._next)
            self._next = next(self._packets, None)
