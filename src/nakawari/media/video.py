"""Video: frames out of a file one by one, and one way to write H.264."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariError
from .formats import check_readable

Frame = NDArray[np.uint8]
PixelFormat = Literal["yuv420p", "yuv444p"]


def iter_video(path: Path | str) -> Iterator[Frame]:
    """The frames of a video one by one, uint8 (H, W, 3), turned upright where the file says so.

    Raises `NakawariError` when the file is missing, unreadable, empty, corrupt, or holds no pictures.
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
                    yield _upright(frame.to_ndarray(format="rgb24"), frame.rotation)
    except (av.FFmpegError, ValueError) as error:
        raise NakawariError(f"{path} is not a video that can be read, or it is damaged; export it again.") from error
    if not count:
        raise NakawariError(f"{path} holds no pictures; give a video with a picture track.")


def frame_rate(path: Path | str) -> float:
    """Frames per second that a video or a GIF claims; 0 when unknown or unreadable."""
    import av

    try:
        with av.open(str(path)) as container:
            return float(container.streams.video[0].average_rate or 0) if container.streams.video else 0.0
    except (av.error.FFmpegError, OSError):
        return 0.0


@contextmanager
def open_video(path: Path, fps: float, *, pixel_format: PixelFormat, quality: int) -> Iterator[Callable[[Frame], None]]:
    """Write an H.264 MP4 (BT.709) frame by frame: yields what takes one frame (H, W, 3) uint8.

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
        # One thread: the bytes then do not depend on how many cores wrote them. No macroblock tree: it looks ahead in
        # threads, and its rounding at 4:4:4 depends on where in memory the frames lie.
        context.thread_count = 1
        stream.options = {"crf": str(quality), "preset": "medium", "x264-params": "mbtree=0"}
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709

        def add(frame: Frame) -> None:
            if not context.is_open:
                stream.height, stream.width = frame.shape[:2]
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(rgb.reformat(format=pixel_format, dst_colorspace="ITU709")))

        yield add
        container.mux(stream.encode())


def _upright(frame: Frame, degrees: int) -> Frame:
    """The frame turned counter-clockwise by the rotation its container asks for."""
    return np.ascontiguousarray(np.rot90(frame, degrees // 90))
