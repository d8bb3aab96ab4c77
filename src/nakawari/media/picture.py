"""An image with the metadata of its file: pixels, colour profile, resolution, 16 bits if available."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from ..errors import NakawariError
from .colour import pixels_to_srgb, space_of, to_srgb
from .exr import read_exr
from .formats import check_readable
from .layers import is_layer, read_layer

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError)
_WITH_PAGES = frozenset({"GIF", "TIFF", "PNG", "WEBP"})
"""Formats in which further images are frames; in a PSD they are layers, in an MPO previews."""
_ORIENTATION = 0x0112
_BITS, _ASSOCIATED = 258, (338, 1)
"""TIFF: BitsPerSample; ExtraSamples says that colour is multiplied by alpha."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image.

    Args:
        pixels: uint8 (H, W, 3) RGB, or (H, W, 4) RGBA with straight alpha, in the colours of `profile`.
        profile: ICC profile of an RGB space; None = sRGB.
        dpi: horizontal and vertical dots per inch; None if the file has none.
        deep: the same pixels as uint16 (0 to 65535) if the file has 16 bits per channel.
    """

    pixels: NDArray[np.uint8]
    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    deep: NDArray[np.uint16] | None = None

    def srgb(self) -> NDArray[np.uint8]:
        """The pixels in sRGB, for training, scores, reports and previews."""
        return pixels_to_srgb(self.pixels, self.profile)

    def with_matte(self) -> Picture:
        """The same image as RGBA, opaque if it had no alpha."""
        if self.pixels.shape[2] == 4:
            return self
        return replace(self, pixels=_opaque(self.pixels), deep=None if self.deep is None else _opaque(self.deep))


def read_pictures(path: Path | str) -> list[Picture]:
    """All images of a file, upright: one, or all frames of a GIF, APNG or WebP, all pages of a TIFF.

    Palette, grey, CMYK and 1-bit images become RGB, or RGBA if the file has transparency; 16 bits are rounded to 8
    (and kept in `deep`), EXR becomes 16-bit sRGB. Of a layered file (PSD, OpenRaster, Krita) the merged image is
    read; a path such as `walk.psd/A` names one layer of it.

    Raises `NakawariError` if the file is missing, unreadable, empty, truncated, not an image, or has 32-bit pixels.
    """
    return list(_pictures(Path(path)))


def read_picture(path: Path | str) -> Picture:
    """The image of a file with one image. Raises `NakawariError` as `read_pictures`, and if it has several."""
    pictures = _pictures(Path(path))
    first = next(pictures)
    if next(pictures, None) is not None:
        raise NakawariError(f"{path} holds several pictures, but one is needed; export each to a separate file.")
    return first


def _pictures(path: Path) -> Iterator[Picture]:
    if is_layer(path):
        yield Picture(read_layer(path))
        return
    check_readable(path)
    if path.suffix.lower() == ".exr":
        deep = read_exr(path)
        yield Picture(np.rint(deep / 257).astype(np.uint8), deep=deep)
        return
    try:
        data = _merged(path, path.read_bytes())
        with Image.open(io.BytesIO(data)) as image:
            pages = ImageSequence.Iterator(image) if image.format in _WITH_PAGES else [image]
            for number, page in enumerate(pages):
                yield _picture(page, data, number, path)
    except UnidentifiedImageError as error:
        raise NakawariError(
            f"{path} is not an image that can be read; give a PNG, JPEG, WebP, TIFF, PSD or BMP."
        ) from error
    except _BROKEN as error:
        raise NakawariError(f"{path} is a damaged or truncated image ({_one_line(error)}); export it again.") from error


def _merged(path: Path, data: bytes) -> bytes:
    """The bytes of the image: OpenRaster and Krita store the merged image as a PNG in a ZIP archive."""
    if path.suffix.lower() not in (".ora", ".kra"):
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.read("mergedimage.png")
    except (zipfile.BadZipFile, KeyError) as error:
        raise NakawariError(
            f"{path} holds no merged picture ({_one_line(error)}); save it again, or export it as PNG."
        ) from error


def _picture(image: Image.Image, data: bytes, page: int, path: Path) -> Picture:
    dpi = _dpi(image)
    orientation = image.getexif().get(_ORIENTATION, 1)  # read before loading, which rotates a TIFF and drops the tag
    image.load()
    profile = image.info.get("icc_profile") or None
    space = space_of(profile) if profile else ""
    if image.mode in ("I", "F"):
        raise NakawariError(f"{path} holds 32-bit pixels; save it with 8 or 16 bits per channel.")
    deep = _deep(image, data, page)
    if deep is not None:
        deep = np.ascontiguousarray(_turned(deep, orientation))
        pixels = np.rint(deep / 257).astype(np.uint8)
        if space == "GRAY" and profile:
            pixels, deep = _from_grey(pixels, profile), None
    else:
        upright = ImageOps.exif_transpose(image)
        pixels = _rgb(upright, profile if space and space != "RGB" else None)
        if image.format == "PSD" and pixels.shape[2] == 4:
            pixels = _without_white(pixels)
    return Picture(pixels, profile if space == "RGB" else None, dpi, deep)


def _rgb(image: Image.Image, profile: bytes | None) -> NDArray[np.uint8]:
    """An 8-bit image of any mode as (H, W, 3 or 4). `profile`: a profile that is not RGB; converted to sRGB."""
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if profile is None:
        return np.array(image.convert("RGB" if alpha is None else "RGBA"))
    plain = image if image.mode in ("CMYK", "LAB") else image.convert("L")
    colour = to_srgb(plain, profile)
    if alpha is not None:
        colour.putalpha(alpha)
    return np.array(colour)


def _from_grey(pixels: NDArray[np.uint8], profile: bytes) -> NDArray[np.uint8]:
    colour = np.asarray(to_srgb(Image.fromarray(np.ascontiguousarray(pixels[..., 0])), profile))
    return np.concatenate([colour, pixels[..., 3:]], axis=2)


def _deep(image: Image.Image, data: bytes, page: int) -> NDArray[np.uint16] | None:
    """uint16 (H, W, 3 or 4) if the file has 16 bits per channel (Pillow keeps them for grey only), else None."""
    if image.mode.startswith("I;16"):
        deep = np.repeat(np.asarray(image).astype(np.uint16)[..., None], 3, axis=2)
    elif _has_sixteen_bits(image, data):
        deep = _decoded(data, page)
        if deep is None or deep.shape[:2] != (image.height, image.width):
            return None
    else:
        return None
    key = image.info.get("transparency")
    if deep.shape[2] == 3 and isinstance(key, int | tuple):
        clear = (deep == np.asarray(key, np.uint16)).all(axis=2, keepdims=True)
        deep = np.concatenate([deep, np.where(clear, np.uint16(0), np.uint16(65535))], axis=2)
    return deep


def _has_sixteen_bits(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        return data[24] == 16  # the bit depth in IHDR
    tags: Any = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, ())
    return bool(bits) and set(bits) == {16} and image.mode in ("RGB", "RGBA") and tags.get(_ASSOCIATED[0]) != (1,)


def _decoded(data: bytes, page: int) -> NDArray[np.uint16] | None:
    import cv2

    done, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if not done or page >= len(pages) or pages[page].dtype != np.uint16:
        return None
    array = np.asarray(pages[page])
    if array.ndim == 2:
        return np.repeat(array[..., None], 3, axis=2)
    return array[..., [2, 1, 0, 3][: array.shape[2]]]


def _turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """An array rotated upright by its EXIF orientation."""
    if orientation >= 5:
        array = array.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _without_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A PSD's merged image, which is blended with white, with straight alpha."""
    alpha = pixels[..., 3:].astype(np.float32) / 255
    colour = 255 + (pixels[..., :3].astype(np.float32) - 255) / np.maximum(alpha, 1 / 255)
    return np.concatenate([np.rint(colour.clip(0, 255)).astype(np.uint8), pixels[..., 3:]], axis=2)


def _opaque(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([pixels, np.full_like(pixels[..., :1], np.iinfo(pixels.dtype).max)], axis=2)


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if across > 0 and down > 0 else None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
