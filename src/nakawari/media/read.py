"""Reading images, folders of images and video."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from ..errors import NakawariError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".tga", ".gif"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg"})
PICTURES_BESIDE = frozenset({"in-betweens.gif", "contact-sheet.png"})
"""What `nakawari interpolate` writes beside a sequence: a folder that it made reads back as the sequence alone."""

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError)


def read_image(path: Path | str) -> np.ndarray:
    """One image as uint8 (H, W, 3) RGB, or (H, W, 4) RGBA where the file has transparency.

    Palette, grey, CMYK and 16-bit images are converted and EXIF orientation is applied; of an animation the first
    frame is read. Raises `NakawariError` when the file is missing, unreadable, empty, truncated or not an image.
    """
    return _read_pictures(Path(path), first_only=True)[0]


def read_frames(path: Path | str, *, minimum: int = 1) -> list[np.ndarray]:
    """The frames of one image, of a folder of images (natural order, hidden files ignored), or of a video.

    Raises `NakawariError` as `read_image` does, when a folder holds no images, and when there are fewer frames than
    `minimum`.
    """
    path = Path(path)
    if path.is_dir():
        frames = [read_image(file) for file in list_images(path)]
    elif is_video(path):
        frames = list(iter_video(path))
    else:
        frames = _read_pictures(path)
    if len(frames) < minimum:
        raise NakawariError(
            f"{path} has {_count(len(frames), 'frame')}, at least {minimum} are needed; use a longer one."
        )
    return frames


def is_video(path: Path | str) -> bool:
    """Whether the name of `path` is that of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def list_images(folder: Path | str) -> list[Path]:
    """The image files of a folder in natural order (2 before 10), hidden files and other files left out.

    Raises `NakawariError` when the folder cannot be listed or holds no images.
    """
    folder = Path(folder)
    try:
        files = [file for file in folder.iterdir() if _is_listed(file)]
    except OSError as error:
        raise NakawariError(
            f"{folder} cannot be listed ({error.strerror}); check the path and its permissions."
        ) from error
    if not files:
        raise NakawariError(f"{folder} holds no images; put PNG, JPEG, WebP, TIFF or BMP files into it.")
    return sorted(files, key=_natural)


def iter_video(path: Path | str) -> Iterator[np.ndarray]:
    """The frames of a video one by one, uint8 (H, W, 3), turned upright where the file says so.

    Raises `NakawariError` when the file is missing, unreadable, empty, corrupt, or holds no pictures.
    """
    import av

    path = Path(path)
    _check_readable(path)
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


def _upright(frame: np.ndarray, degrees: int) -> np.ndarray:
    """The frame turned counter-clockwise by the rotation its container asks for."""
    return np.ascontiguousarray(np.rot90(frame, degrees // 90))


def _read_pictures(path: Path, *, first_only: bool = False) -> list[np.ndarray]:
    _check_readable(path)
    try:
        with Image.open(path) as image:
            if first_only:
                return [_to_array(image, path)]
            return [_to_array(frame, path) for frame in ImageSequence.Iterator(image)]
    except UnidentifiedImageError as error:
        raise NakawariError(f"{path} is not an image that can be read; give a PNG, JPEG, WebP, TIFF or BMP.") from error
    except _BROKEN as error:
        raise NakawariError(f"{path} is a damaged or truncated image ({_one_line(error)}); export it again.") from error


def _to_array(image: Image.Image, path: Path) -> np.ndarray:
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F"):
        raise NakawariError(f"{path} holds 32-bit pixels; save it with 8 or 16 bits per channel.")
    if upright.mode.startswith("I;16"):
        grey = np.rint(np.asarray(upright).astype(np.float64) / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))


def _check_readable(path: Path) -> None:
    """Raise one sentence unless `path` is a file with something in it that may be read."""
    try:
        if path.is_dir():
            raise NakawariError(f"{path} is a folder; a file is wanted here.")
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError as error:
        raise NakawariError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise NakawariError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    if empty:
        raise NakawariError(f"{path} is an empty file (zero bytes); export it again.")


def _is_listed(file: Path) -> bool:
    hidden = file.name.startswith(".") or file.name in PICTURES_BESIDE
    return not hidden and file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()


def _natural(path: Path) -> tuple[list[str | int], str]:
    pieces = re.split(r"(\d+)", path.name.casefold())
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)], path.name


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
