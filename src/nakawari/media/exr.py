"""OpenEXR: linear light in half precision with premultiplied alpha, as compositing programs expect it.

A drawing has sRGB levels from 0 to 1. Writing converts them to linear light with sRGB primaries; reading converts light
to 16-bit levels. Values brighter than white or darker than black have no level and are refused.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariError

_ROUNDING = 2e-3
"""Tolerance of light outside 0 to 1, which is clipped: half precision is 5e-4 at 1."""

_PLANES = {"gbrp": (2, 0, 1), "gbrap": (2, 0, 1, 3), "gray": (0, 0, 0)}
"""Layouts of the decoder: which planes are red, green, blue and alpha."""


def read_exr(path: Path) -> NDArray[np.uint16]:
    """Read an EXR as sRGB levels, uint16 (H, W, 3 or 4) with straight alpha.

    Raises:
        NakawariError: the file is broken, has several parts or an unsupported compression, or light outside
            0 to 1.
    """
    import av

    try:
        codec = av.CodecContext.create("exr", "r")
        frames = [*codec.decode(av.Packet(path.read_bytes())), *codec.decode(None)]
        light = _planes(frames[0])
    except (av.FFmpegError, ValueError, IndexError, KeyError) as error:
        raise NakawariError(
            f"{path} is an EXR that cannot be read ({str(error) or 'no picture in it'}); export it again as one part."
        ) from error
    if not np.isfinite(light).all() or light.min() < -_ROUNDING or light.max() > 1 + _ROUNDING:
        raise NakawariError(
            f"{path} has light outside 0 to 1 ({light.min():.3g} to {light.max():.3g}); "
            "scale it to that range, or export it as PNG."
        )
    light = light.clip(0, 1)
    alpha = light[..., 3:]
    colour = (
        np.divide(light[..., :3], alpha, out=np.zeros_like(light[..., :3]), where=alpha > 0) if alpha.size else light
    )
    return np.rint(np.concatenate([_levels(colour.clip(0, 1)), alpha], axis=2) * 65535).astype(np.uint16)


def write_exr(path: Path, levels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write sRGB levels (H, W, 3 or 4), straight alpha, as an EXR in half precision, ZIP compression."""
    import av

    values = levels.astype(np.float32) / np.iinfo(levels.dtype).max
    alpha = values[..., 3:]
    light = _light(values[..., :3])
    if alpha.size:
        light = np.concatenate([light * alpha, alpha], axis=2)
    form = "gbrapf32le" if alpha.size else "gbrpf32le"
    codec = av.CodecContext.create("exr", "w")
    codec.height, codec.width = levels.shape[:2]
    codec.pix_fmt, codec.time_base = form, Fraction(1, 24)
    codec.options = {"format": "half", "compression": "zip1"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(light), format=form)
    packets = [*codec.encode(frame), *codec.encode(None)]
    path.write_bytes(b"".join(bytes(packet) for packet in packets))


def _planes(frame: Any) -> NDArray[np.float32]:
    """The values of a decoded frame (H, W, 3 or 4). Read plane by plane: to convert half floats, FFmpeg goes through 16
    bits of integers, which are too coarse in the darks."""
    name = frame.format.name
    order, depth = (
        _PLANES[name.removesuffix("f16le").removesuffix("f32le")],
        np.float16 if "f16" in name else np.float32,
    )
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height]
        planes.append(np.ascontiguousarray(rows).view(depth)[:, : frame.width])
    return np.stack([planes[number] for number in order], axis=2).astype(np.float32)


def _light(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """IEC 61966-2-1: sRGB levels 0 to 1 as linear light."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _levels(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of `_light`."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)
