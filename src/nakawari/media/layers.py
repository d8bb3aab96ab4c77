"""The layers of PSD and OpenRaster files. A layer's path treats its file as a folder: `walk.psd/A`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import NakawariError
from .formats import check_readable

LAYERED = (".psd", ".ora")
"""Suffixes of files with readable layers."""
_BROKEN = (OSError, SyntaxError, ValueError, KeyError, AssertionError, ElementTree.ParseError, zipfile.BadZipFile)


def file_of(path: Path) -> Path:
    """The file on disk: for a layer its file, otherwise the path itself."""
    return path.parent if is_layer(path) else path


def is_layer(path: Path) -> bool:
    """Whether `path` is a layer in a file."""
    return path.parent.suffix.lower() in LAYERED and path.parent.is_file()


def layer_names(path: Path) -> list[str]:
    """The names of the layers and groups at the top of a file, bottom first. Raises as `read_layer`."""
    return [name for name, _ in _top(path)]


def read_layer(path: Path) -> NDArray[np.uint8]:
    """A layer or group at the size of the file's canvas: uint8 (H, W, 4), straight alpha.

    The layer itself may be hidden; hidden layers in a group are left out. Blend
    modes other than normal are ignored.

    Raises:
        NakawariError: no such layer, two of that name, or a file that cannot be read; for a PSD without `psd-tools`.
    """
    found = [picture for name, picture in _top(path.parent) if name == path.name]
    if len(found) != 1:
        many = "no layer" if not found else f"{len(found)} layers"
        raise NakawariError(f"{path.parent} has {many} named {path.name}; give one layer of the file this name.")
    return np.asarray(found[0])


def _top(path: Path) -> list[tuple[str, Image.Image]]:
    check_readable(path)
    read = _of_psd if path.suffix.lower() == ".psd" else _of_ora
    try:
        return list(read(path))
    except _BROKEN as error:
        raise NakawariError(f"The layers of {path} cannot be read ({error}); save it again.") from error


def _of_psd(path: Path) -> Iterator[tuple[str, Image.Image]]:
    try:
        from psd_tools import PSDImage
    except ImportError as error:
        raise NakawariError(
            f"The layers of {path} need the package psd-tools; pip install nakawari[psd], or save it as .ora."
        ) from error
    image = PSDImage.open(path)
    for layer in image:
        canvas = Image.new("RGBA", image.size)
        _put_psd(canvas, layer)
        yield layer.name.strip(), canvas


def _put_psd(canvas: Image.Image, layer: Any) -> None:
    if layer.is_group():
        for inner in layer:
            if inner.visible:
                _put_psd(canvas, inner)
        return
    picture = layer.topil()
    if picture is not None:
        _put(canvas, picture.convert("RGBA"), layer.offset, layer.opacity / 255)


def _of_ora(path: Path) -> Iterator[tuple[str, Image.Image]]:
    with zipfile.ZipFile(path) as archive:
        root = ElementTree.fromstring(archive.read("stack.xml"))
        stack = root.find("stack")
        size = (int(root.attrib["w"]), int(root.attrib["h"]))
        for element in reversed(list(stack if stack is not None else ())):
            canvas = Image.new("RGBA", size)
            _put_ora(canvas, element, archive, (0, 0))
            yield element.get("name", "").strip(), canvas


def _put_ora(
    canvas: Image.Image, element: ElementTree.Element, archive: zipfile.ZipFile, corner: tuple[int, int]
) -> None:
    corner = (corner[0] + int(element.get("x", 0)), corner[1] + int(element.get("y", 0)))
    if element.tag == "stack":
        for inner in reversed(list(element)):
            if inner.get("visibility", "visible") == "visible":
                _put_ora(canvas, inner, archive, corner)
    elif element.tag == "layer":
        picture = Image.open(io.BytesIO(archive.read(element.attrib["src"]))).convert("RGBA")
        _put(canvas, picture, corner, float(element.get("opacity", 1)))


def _put(canvas: Image.Image, picture: Image.Image, corner: tuple[int, int], opacity: float) -> None:
    if opacity < 1:
        picture.putalpha(picture.getchannel("A").point(lambda level: round(level * opacity)))
    if picture.size == canvas.size and corner == (0, 0) and canvas.getbbox() is None:
        canvas.paste(picture)  # unchanged, including the colour under full transparency
        return
    placed = Image.new("RGBA", canvas.size)
    placed.paste(picture, corner)
    canvas.alpha_composite(placed)
