"""One drawing in every format used in productions, with the expected pixels."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

SIZE = (12, 18)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXCHANGED = SRGB.replace(b"rXYZ", b"....").replace(b"gXYZ", b"rXYZ").replace(b"....", b"gXYZ")
"""An RGB profile that means by red what sRGB means by green: a reader that ignores profiles is far off."""
ORIENTATION = 0x0112
DPI = (300, 300)

Rgba = np.ndarray


def drawing(shift: int = 0) -> np.ndarray:
    """An asymmetric drawing with levels that 16 bits, palettes and CMYK represent exactly, (H, W, 3)."""
    picture = np.full((*SIZE, 3), 250, np.uint8)
    picture[2:9, 3 + shift : 8 + shift] = (200, 60, 20)
    picture[1:4, 10:15] = (20, 90, 180)
    picture[10, :4] = 0
    return picture


def matte() -> np.ndarray:
    """A matte with soft edges, (H, W)."""
    alpha = np.full(SIZE, 255, np.uint8)
    alpha[:, 15] = 128
    alpha[:, 16:] = 0
    return alpha


def flat(rgba: np.ndarray) -> np.ndarray:
    """Over white, worked out in whole numbers: (255 * c + (255 - a) * ...) / 255, rounded."""
    alpha = rgba[..., 3:].astype(int)
    return ((2 * (rgba[..., :3].astype(int) * alpha + 255 * (255 - alpha)) + 255) // 510).astype(np.uint8)


def _grey(rgb: np.ndarray) -> np.ndarray:
    return np.repeat(rgb[..., :1], 3, axis=2)


def _rgba(rgb: np.ndarray) -> np.ndarray:
    return np.dstack([rgb, matte()])


def _hard(rgb: np.ndarray) -> np.ndarray:
    return np.dstack([rgb, np.where(rgb[..., 2] == 180, 0, 255).astype(np.uint8)])


def _save(image: Image.Image, **options: object) -> Callable[[Path], None]:
    return lambda path: image.save(path, **options)


def _sixteen(rgb: np.ndarray) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(cv2.imencode(path.suffix, rgb[..., ::-1].astype(np.uint16) * 257)[1].tobytes())


def _turned(rgb: np.ndarray, orientation: int) -> Callable[[Path], None]:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    back = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}[orientation]
    return _save(Image.fromarray(rgb).transpose(back), exif=exif)


def _keyed(rgb: np.ndarray) -> Callable[[Path], None]:
    """A palette with one transparent colour."""
    image = Image.fromarray(rgb).quantize(16)
    clear = int(np.asarray(image)[_hard(rgb)[..., 3] == 0][0])
    return _save(image, transparency=clear)


def _psd(planes: np.ndarray) -> Callable[[Path], None]:
    """Merged picture only, uncompressed, as programs write it: transparent pixels stand on white."""
    channels = planes.shape[2]
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, *SIZE, 8, 3) + struct.pack(">III", 0, 0, 0)
    return lambda path: path.write_bytes(header + struct.pack(">H", 0) + planes.transpose(2, 0, 1).tobytes())


def _ora(rgba: np.ndarray) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        merged = io.BytesIO()
        Image.fromarray(rgba).save(merged, "PNG")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("mimetype", "image/openraster")
            archive.writestr("mergedimage.png", merged.getvalue())

    return write


def formats(rgb: np.ndarray) -> dict[str, tuple[str, Callable[[Path], None], Rgba]]:
    """Name -> suffix, what writes the file, and the sRGB pixels (H, W, 3 or 4) that stand in it."""
    image, rgba, hard = Image.fromarray(rgb), _rgba(rgb), _hard(rgb)
    bits = np.where(rgb[..., :1] > 127, 255, 0).astype(np.uint8).repeat(3, axis=2)
    on_white = np.dstack([flat(rgba), rgba[..., 3]])
    hidden = np.where(rgba[..., 3:] > 0, rgba, np.array([255, 255, 255, 0], np.uint8))
    exchanged = Image.fromarray(rgb[..., [1, 0, 2]])
    return {
        "8-bit": (".png", _save(image), rgb),
        "16-bit-png": (".png", _sixteen(rgb), rgb),
        "16-bit-tiff": (".tif", _sixteen(rgb), rgb),
        "16-bit-grey": (".png", _save(Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)), _grey(rgb)),
        "1-bit": (".png", _save(Image.fromarray(bits[..., 0]).convert("1")), bits),
        "grey": (".png", _save(Image.fromarray(rgb[..., 0])), _grey(rgb)),
        "palette": (".png", _save(image.quantize(16)), rgb),
        "palette-transparent": (".png", _keyed(rgb), hard),
        "rgba": (".png", _save(Image.fromarray(rgba)), rgba),
        "cmyk": (".tif", _save(image.convert("CMYK")), rgb),
        "turned": (".png", _turned(rgb, 6), rgb),
        "turned-tiff": (".tif", _turned(rgb, 3), rgb),
        "srgb-profile": (".png", _save(image, icc_profile=SRGB, dpi=DPI), rgb),
        "other-profile": (".png", _save(exchanged, icc_profile=EXCHANGED, dpi=DPI), rgb),
        "gif": (".gif", _save(image.quantize(16)), rgb),
        "tga": (".tga", _save(Image.fromarray(rgba)), rgba),
        "psd": (".psd", _psd(rgb), rgb),
        "psd-transparent": (".psd", _psd(on_white), hidden),
        "ora": (".ora", _ora(rgba), rgba),
    }


FORMATS = tuple(formats(drawing()))


def write(folder: Path, name: str, shift: int = 0) -> tuple[Path, np.ndarray]:
    """Write the drawing in a format as `folder/<name>-<shift>.<suffix>`; returns the path and the pixels."""
    suffix, save, pixels = formats(drawing(shift))[name]
    path = folder / f"{name}-{shift}{suffix}"
    save(path)
    return path, pixels
