"""Video: read frames one by one; write H.264 for playback, MOV with transparency for editing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariError
from .formats import check_readable

Frame = NDArray[np.uint8]
PixelFormat = Literal["yuv420p", "yuv444p"]
_PROGRESSIVE = 1  # FFmpeg's AVFieldOrder: 0 unknown, 1 progressive, then the orders of two fields


def iter_video(path: Path | str) -> Iterator[Frame]:
    """The frames of a video one by one, uint8 (H, W, 3), or (H, W, 4) with straight alpha if it has transparency,
    rotated upright as the file specifies.

    Raises `NakawariError` if the file is missing, unreadable, empty, corrupt, or has no video stream.
    """
    import av

    path = Path(path)
    check_readable(path)
    count = 0
    try:
        with av.open(str(path)) as container:
            if container.streams.video:
                for frame in container.decode(video=0):
                    count += 1
                    yield pixels_of(frame)
    except (av.FFmpegError, ValueError) as error:
        raise NakawariError(f"{path} is not a video that can be read, or it is damaged; export it again.") from error
    if not count:
        raise NakawariError(f"{path} has no video stream; give a file with one.")


def frame_rate(path: Path | str) -> float:
    """Frames per second of a video or a GIF, by its container; 0 if unknown or unreadable."""
    import av

    try:
        with av.open(str(path)) as container:
            return float(container.streams.video[0].average_rate or 0) if container.streams.video else 0.0
    except (av.error.FFmpegError, OSError):
        return 0.0


@dataclass(frozen=True)
class VideoTrack:
    """The container's metadata of a video stream, without decoding.

    Args:
        frames: the expected number; 0 if unknown.
        times: start of each frame in the file, in seconds, ascending.
        pixel_aspect: width of a pixel over its height.
        interlaced: whether the container marks frames as two fields.
    """

    frames: int
    times: tuple[float, ...]
    pixel_aspect: Fraction
    interlaced: bool


def read_track(path: Path | str) -> VideoTrack | None:
    """The video stream of a file; None if the container cannot be read or has none."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return None
            stream = container.streams.video[0]
            rate = stream.average_rate or 0
            # Audio may be longer than the video: the duration of the whole file counts only without audio.
            whole = float(container.duration or 0) / av.time_base if not container.streams.audio else 0.0
            own = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else whole
            aspect = stream.sample_aspect_ratio or Fraction(1)
            interlaced = int(stream.codec_context.field_order) > _PROGRESSIVE
            shown = [packet for packet in container.demux(stream) if packet.size and packet.pts is not None]
            times = tuple(sorted(float(packet.pts * packet.time_base) for packet in shown))
            return VideoTrack(stream.frames or round(own * float(rate)), times, aspect or Fraction(1), interlaced)
    except (av.error.FFmpegError, OSError):
        return None


@contextmanager
def open_video(path: Path, fps: float, *, pixel_format: PixelFormat, quality: int) -> Iterator[Callable[[Frame], None]]:
    """Write an H.264 MP4 (BT.709) frame by frame: yields a function that takes one frame (H, W, 3) uint8.

    Args:
        fps: frames per second; 0 is written as 24.
        pixel_format: "yuv420p" plays everywhere and needs even sides; "yuv444p" keeps full colour.
        quality: constant rate factor, 0 (lossless) to 51.
    """
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps or 24).limit_denominator(1001))
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        # One thread, so that the bytes do not depend on the number of cores. No macroblock tree: it looks ahead in
        # threads, and its rounding at 4:4:4 depends on the memory address of the frames.
        context.thread_count = 1
        stream.options = {"crf": str(quality), "preset": "medium", "x264-params": "mbtree=0"}
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709

        def add(frame: Frame) -> None:
            if not context.is_open:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(encoded(frame, pixel_format)))

        yield add
        container.mux(stream.encode())


@contextmanager
def open_mov(path: Path, fps: float, *, lossless: bool) -> Iterator[Callable[[Frame], None]]:
    """Write a MOV frame by frame: yields a function that takes one frame, uint8 (H, W, 3), or (H, W, 4) with straight
    alpha.

    Args:
        fps: frames per second; 0 is written as 24.
        lossless: PNG in MOV, which keeps every level; otherwise ProRes 4444, which editing programs import directly.
    """
    import av

    with av.open(str(path), "w", format="mov") as container:
        rate = Fraction(fps or 24).limit_denominator(1001)
        stream = container.add_stream("png" if lossless else "prores_ks", rate=rate)
        forms = {3: "rgb24" if lossless else "yuv444p10le", 4: "rgba" if lossless else "yuva444p10le"}

        def add(frame: Frame) -> None:
            if not stream.codec_context.is_open:
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = forms[frame.shape[2]]
                if not lossless:
                    set_prores(stream)
            container.mux(stream.encode(encoded(frame, stream.pix_fmt)))

        yield add
        container.mux(stream.encode())


def set_prores(stream: Any) -> None:
    """Set a stream of `prores_ks` to ProRes 4444 in BT.709, with the same bytes on any number of cores."""
    context = stream.codec_context
    context.thread_count = 1
    context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
    stream.options = {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}


def encoded(frame: Frame, form: str) -> Any:
    """A frame (H, W, 3 or 4) for an encoder with pixel format `form`, YUV in BT.709."""
    import av

    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24" if frame.shape[2] == 3 else "rgba")
    return rgb.reformat(format=form, dst_colorspace="ITU709") if form.startswith("yuv") else rgb


def pixels_of(frame: Any) -> Frame:
    """A decoded frame, upright: uint8 (H, W, 3), or (H, W, 4) if its format has transparency."""
    alpha = any(component.is_alpha for component in frame.format.components)
    return _upright(frame.to_ndarray(format="rgba" if alpha else "rgb24"), frame.rotation)


def _upright(frame: Frame, degrees: int) -> Frame:
    """The frame rotated counter-clockwise by the container's rotation."""
    return np.ascontiguousarray(np.rot90(frame, degrees // 90))
