"""Read images, folders of images and video as sRGB uint8 frames, for training, scores and reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariError
from .formats import is_video, list_images
from .picture import read_picture, read_pictures
from .video import iter_video

Pixels = NDArray[np.uint8]


def flatten(frame: Pixels, background: int = 255) -> Pixels:
    """Composite an RGBA frame (H, W, 4) over one grey level, as (H, W, 3); an RGB frame is returned unchanged."""
    if frame.shape[-1] == 3:
        return frame
    alpha = frame[..., 3:].astype(np.float32) / 255
    return np.rint(frame[..., :3] * alpha + background * (1 - alpha)).astype(np.uint8)


def read_image(path: Path | str) -> Pixels:
    """The image of a file in sRGB, uint8 (H, W, 3), or (H, W, 4) if the file has transparency.

    Raises `NakawariError` as `read_picture` does.
    """
    return read_picture(path).srgb()


def read_rgb(path: Path | str) -> Pixels:
    """The image of a file in sRGB, uint8 (H, W, 3), transparency over white. Raises as `read_picture`."""
    return flatten(read_image(path))


def iter_frames(path: Path | str) -> Iterator[Pixels]:
    """The frames of one image file, of a folder of images (natural order, hidden files ignored), or of a video, one by
    one: sRGB, uint8 (H, W, 3), or (H, W, 4) if an image has transparency.

    Raises `NakawariError` as `read_pictures`, `list_images` and `iter_video` do.
    """
    path = Path(path)
    if is_video(path):
        yield from iter_video(path)
        return
    for file in list_images(path) if path.is_dir() else [path]:
        yield from (picture.srgb() for picture in read_pictures(file))


def read_frames(path: Path | str, *, minimum: int = 1) -> list[Pixels]:
    """All frames of `iter_frames`. Raises as it does, and if there are fewer frames than `minimum`."""
    frames = list(iter_frames(path))
    if len(frames) < minimum:
        count = f"{len(frames)} frame" + "s" * (len(frames) != 1)
        raise NakawariError(f"{path} has {count}, but at least {minimum} are needed; give a longer one.")
    return frames
