"""Recognize image and video files, and list the images of a folder in order."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import NakawariError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".tga", ".gif", ".psd", ".ora", ".kra", ".exr"}
)
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg"})
PICTURES_BESIDE = frozenset({"in-betweens.gif", "contact-sheet.png"})
"""Files that `nakawari interpolate` writes beside a sequence; they are skipped when its folder is read."""

_CLOSED = frozenset(
    {
        *(".clip", ".lip", ".sai", ".sai2", ".mdp", ".procreate", ".xcf", ".psb", ".ai", ".eps", ".afphoto"),
        *(".tvpp", ".tvp", ".tlv", ".pli", ".tnz", ".svg", ".hdr", ".dpx", ".dng", ".cr2"),
        *(".heic", ".heif", ".avif", ".jxl"),
    }
)
"""Suffixes of drawings in unsupported formats."""
_SEVERAL = frozenset({".gif", ".webp", ".tif", ".tiff"})


def is_image(path: Path | str) -> bool:
    """Whether `path` has the suffix of a supported image format."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def is_video(path: Path | str) -> bool:
    """Whether `path` has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def is_clip(path: Path) -> bool:
    """Whether one file holds several frames: a video, or a GIF, WebP or TIFF with more than one image."""
    from PIL import Image

    if is_video(path) or path.suffix.lower() not in _SEVERAL:
        return is_video(path)
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, SyntaxError, ValueError):
        return False  # reading it reports the error


def is_unreadable_drawing(path: Path) -> bool:
    """Whether `path` has the suffix of a drawing in an unsupported format (`.clip`, `.xcf`)."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix == ".ico":
        return False
    return suffix in _CLOSED or (mimetypes.guess_type(f"a{suffix}")[0] or "").startswith("image/")


def refuse_unreadable(paths: Iterable[Path]) -> None:
    """Raise `NakawariError` for the first drawing among `paths` in an unsupported format."""
    for path in paths:
        if not path.name.startswith(".") and is_unreadable_drawing(path):
            raise NakawariError(
                f"{path} is a drawing in an unsupported format; export it as PNG, TIFF or PSD, or remove it."
            )


def list_images(folder: Path | str) -> list[Path]:
    """The image files of a folder in natural order (2 before 10); hidden files and files that are not images are
    left out.

    Raises `NakawariError` if the folder cannot be listed, has no images, or has a drawing in a format that
    cannot be read: skipping it would silently shorten the sequence.
    """
    folder = Path(folder)
    try:
        files = [file for file in folder.iterdir() if not _beside(file) and file.is_file()]
    except OSError as error:
        raise NakawariError(
            f"{folder} cannot be listed ({error.strerror}); check the path and its permissions."
        ) from error
    images = sorted((file for file in files if is_image(file)), key=natural_key)
    refuse_unreadable(sorted(files))
    if not images:
        raise NakawariError(f"{folder} holds no images; put PNG, JPEG, WebP, TIFF, PSD or BMP files into it.")
    return images


def pair_role(stem: str) -> tuple[str, str] | None:
    """The name of a pair and "start" or "end" if a file's stem is `NAME_start` or `NAME_end`, else None."""
    name, _, role = stem.rpartition("_")
    return (name, role) if name and role in ("start", "end") else None


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sort key that puts frame2 before frame10."""
    pieces = re.split(r"(\d+)", path.name.casefold())
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)], path.name


def _beside(file: Path) -> bool:
    return file.name.startswith(".") or file.name in PICTURES_BESIDE


def check_readable(path: Path) -> None:
    """Raise `NakawariError` unless `path` is a readable, non-empty file."""
    try:
        if path.is_dir():
            raise NakawariError(f"{path} is a folder; give a file.")
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError as error:
        raise NakawariError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise NakawariError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    if empty:
        raise NakawariError(f"{path} is an empty file (zero bytes); export it again.")
