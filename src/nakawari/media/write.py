"""Write images, numbered sequences, video and GIF; every file is written atomically."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from ..errors import NakawariError
from ..files import atomic_path
from .exr import write_exr
from .picture import Picture
from .read import flatten
from .video import open_mov, open_video

Pixels = NDArray[np.uint8]

PALETTE_PIXELS = 1_000_000
"""Number of pixels of all frames together that are sampled for a GIF's palette."""
MANY_COLOURS = 16_000
"""Number of colours above which only a sixteenth of these pixels is sampled, as time grows with colours: 2.4 s for the
demo's thirteen painted frames, 0.5 s with the sparse sample, at a loss of 0.1 dB. Frames with fewer colours, which a
sparse sample could miss, keep the dense sample."""
_AFTER_IHDR = 33
"""Size of a PNG's signature (8 bytes) and first chunk (25); metadata chunks follow them."""


def write_image(path: Path | str, picture: Picture | Pixels) -> None:
    """Write one image, or one sRGB frame (H, W, 3 or 4), in the format of the suffix; PNG is lossless.

    A `Picture`'s profile and resolution are written too; PNG also keeps 16 bits. EXR holds linear
    light (see `exr`), from 16 bits if there is no profile.
    """
    picture = picture if isinstance(picture, Picture) else Picture(picture)
    with atomic_path(path) as temporary:
        if picture.deep is not None and temporary.suffix.lower() == ".png":
            _write_deep_png(temporary, picture)
            return
        if temporary.suffix.lower() == ".exr":
            write_exr(temporary, picture.srgb() if picture.deep is None or picture.profile else picture.deep)
            return
        about = {"icc_profile": picture.profile, "dpi": picture.dpi}
        Image.fromarray(picture.pixels).save(temporary, **{name: value for name, value in about.items() if value})


def _write_deep_png(path: Path, picture: Picture) -> None:
    """16-bit RGB or RGBA, which Pillow cannot write: encoded by OpenCV, then profile and resolution are inserted."""
    import cv2

    assert picture.deep is not None
    order = [2, 1, 0, 3][: picture.deep.shape[2]]
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(picture.deep[..., order]))
    if not done:
        raise NakawariError(f"{path} could not be encoded as a 16-bit PNG; write 8 bits.")
    data = encoded.tobytes()
    with path.open("wb") as file:
        file.write(data[:_AFTER_IHDR])
        if picture.profile:
            PngImagePlugin.putchunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.profile))
        if picture.dpi:
            across, down = (round(value / 0.0254) for value in picture.dpi)  # dots per inch -> per metre
            PngImagePlugin.putchunk(file, b"pHYs", struct.pack(">IIB", across, down, 1))
        file.write(data[_AFTER_IHDR:])


def write_sequence(folder: Path | str, frames: Sequence[Picture | Pixels], digits: int = 4) -> list[Path]:
    """Write frames as `folder/0001.png`, `0002.png`, ...; more digits if needed. Returns the paths."""
    folder = Path(folder)
    digits = max(digits, len(str(len(frames))))
    paths = [folder / f"{number:0{digits}d}.png" for number in range(1, len(frames) + 1)]
    for path, frame in zip(paths, frames, strict=True):
        write_image(path, frame)
    return paths


def write_video(path: Path | str, frames: Sequence[Pixels], fps: float) -> None:
    """Write an MP4 (H.264, 4:2:0, BT.709) for playback everywhere.

    Transparent frames are composited over white. H.264 with 4:2:0 colour needs even sizes: an odd edge is repeated, so
    a frame of 15 x 9 becomes 16 x 10.
    """
    height, width = frames[0].shape[:2]
    edges = ((0, height % 2), (0, width % 2), (0, 0))
    with (
        atomic_path(path) as temporary,
        open_video(temporary, fps, pixel_format="yuv420p", quality=12) as write,
    ):
        for frame in frames:
            write(np.pad(flatten(frame), edges, mode="edge"))


def write_mov(path: Path | str, frames: Sequence[Pixels], fps: float, *, lossless: bool) -> None:
    """Write a MOV of frames (H, W, 3), or (H, W, 4) with straight alpha: PNG, or ProRes 4444; see `open_mov`."""
    with atomic_path(path) as temporary, open_mov(temporary, fps, lossless=lossless) as write:
        for frame in frames:
            write(frame)


def write_gif(path: Path | str, frames: Sequence[np.ndarray], fps: float) -> None:
    """Write a GIF that loops forever.

    All frames share one palette of 255 colours, so that still areas do not flicker; pixels of RGBA frames with
    alpha < 128 are transparent. GIF counts time in hundredths of a second: durations are rounded so that their sum
    stays correct, and none is under 2/100 s, which browsers slow down.
    """
    palette = _palette(frames)
    pictures = [_indexed(frame, palette) for frame in frames]
    ends = [round(100 * (number + 1) / fps) for number in range(len(frames))]
    durations = [10 * max(2, end - start) for start, end in zip([0, *ends], ends, strict=False)]
    transparent = {"transparency": 255, "disposal": 2} if any(frame.shape[-1] == 4 for frame in frames) else {}
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            optimize=False,
            **transparent,
        )


def _palette(frames: Sequence[np.ndarray]) -> Image.Image:
    """A palette image with at most 255 colours, chosen over a regular sample of all frames."""
    sample = _sample(frames, PALETTE_PIXELS)
    if len(np.unique(sample.reshape(-1, 3).astype(np.uint32) @ [65536, 256, 1])) > MANY_COLOURS:
        sample = _sample(frames, PALETTE_PIXELS // 16)
    return Image.fromarray(sample).quantize(255, method=Image.Quantize.MEDIANCUT, kmeans=1)


def _sample(frames: Sequence[np.ndarray], pixels: int) -> np.ndarray:
    """About `pixels` pixels of all frames, (h, w, 3), on a regular grid."""
    height, width = frames[0].shape[:2]
    stride = max(1, int(np.ceil((len(frames) * height * width / pixels) ** 0.5)))
    return np.concatenate([flatten(frame)[::stride, ::stride] for frame in frames])


def _indexed(frame: np.ndarray, palette: Image.Image) -> Image.Image:
    # No dithering: its pattern flickers over flat cel colour.
    picture = Image.fromarray(flatten(frame)).quantize(palette=palette, dither=Image.Dither.NONE)
    if frame.shape[-1] == 4:
        indices = np.array(picture)
        indices[frame[..., 3] < 128] = 255
        colours = picture.getpalette()
        picture = Image.fromarray(indices)
        picture.putpalette(colours + [0] * (768 - len(colours)))
    return picture
