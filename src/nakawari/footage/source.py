"""Read the frames of a video or a folder with their times, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariError
from ..files import folder_fingerprint
from ..media import flatten, frame_rate, is_video, list_images, pixels_of, read_image

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Timed:
    """A frame (H, W, 3) uint8, and its start time in seconds."""

    pixels: Pixels
    time: Fraction


@dataclass(frozen=True)
class Source:
    """Footage.

    Args:
        path: a video, or a folder of images.
        rate: frames per second.
    """

    path: Path
    rate: Fraction

    @classmethod
    def of(cls, path: Path, fps: float | None) -> Source:
        """Open footage; a folder has the rate `fps`, by default 24; a video has its own.

        Raises `NakawariError` for a path that does not exist and for a video without a known rate.
        """
        if not path.exists():
            raise NakawariError(f"{path} does not exist; check the path.")
        if not is_video(path):
            return cls(path, Fraction(fps or 24).limit_denominator(1001))
        rate = frame_rate(path)
        if not rate:
            raise NakawariError(f"{path} has no frame rate; export it again.")
        return cls(path, Fraction(rate).limit_denominator(1001))

    def expected(self) -> int:
        """Estimated number of frames; 0 if unknown."""
        if not is_video(self.path):
            return len(list_images(self.path))
        import av

        with av.open(str(self.path)) as container:
            return container.streams.video[0].frames or int((container.duration or 0) / av.time_base * self.rate)

    def size(self) -> tuple[int, int]:
        """Height and width of the first frame."""
        return next(self.frames()).pixels.shape[:2]

    def fingerprint(self) -> str:
        """Hash of all its files."""
        files = [self.path] if is_video(self.path) else list_images(self.path)
        return folder_fingerprint(files[0].parent, files).hex()

    def frames(self) -> Iterator[Timed]:
        """The frames in order; transparent ones composited over white."""
        if is_video(self.path):
            yield from self._of_video()
            return
        for number, path in enumerate(list_images(self.path)):
            yield Timed(flatten(read_image(path)), number / self.rate)

    def _of_video(self) -> Iterator[Timed]:
        import av

        count = 0
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise NakawariError(f"{self.path} has no video stream; give a file with one.")
                for frame in container.decode(video=0):
                    exact = frame.pts is not None and frame.time_base is not None
                    time = frame.pts * frame.time_base if exact else count / self.rate
                    yield Timed(flatten(pixels_of(frame)), time)
                    count += 1
        except (av.FFmpegError, ValueError) as error:
            raise NakawariError(f"{self.path} cannot be read after frame {count}; export it again.") from error
        if not count:
            raise NakawariError(f"{self.path} has no video stream; give a file with one.")
