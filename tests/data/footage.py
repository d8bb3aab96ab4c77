"""Small moving scenes for data tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from nakawari.data.clip_writing import open_clip

SIZE = (48, 64)


def scene(seed: int, frames: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """A disc on its own background, moving two pixels a frame: (H, W, 3) uint8 each."""
    random = np.random.default_rng(seed)
    hue, ink = random.integers(40, 216, 3), random.integers(0, 256, 3)
    start = random.uniform(8, 16, 2)
    y, x = np.mgrid[: size[0], : size[1]]
    ground = np.clip(hue + 30 * np.sin(x / (3 + seed % 5))[..., None], 0, 255)
    pictures = []
    for time in range(frames):
        disc = (x - start[0] - 2 * time) ** 2 + (y - start[1] - time) ** 2 < 81
        pictures.append(np.where(disc[..., None], ink, ground).astype(np.uint8))
    return pictures


def write_images(folder: Path, frames: Sequence[np.ndarray], names: Sequence[str] = ()) -> Path:
    """frame1.png, frame2.png, ... or the given names."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / (names[number - 1] if names else f"frame{number}.png"))
    return folder


def write_clip(path: Path, frames: Sequence[np.ndarray], fps: float = 24.0) -> Path:
    """An H.264 video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_clip(path, "h264", fps) as write:
        for frame in frames:
            write(frame)
    return path


def write_film(
    path: Path,
    frames: Sequence[np.ndarray],
    crf: int = 18,
    *,
    times: Sequence[int] = (),
    aspect: Fraction | None = None,
) -> Path:
    """A typical H.264 video: 4:2:0, lossy.

    `times`: when each frame begins, in 1/24 s; `aspect`: width of a pixel over its height.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "g": "24"}
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for index, frame in enumerate(frames):
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            shown.pts, shown.time_base = times[index] if times else index, Fraction(1, 24)
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
    return path


def letterboxed(frame: np.ndarray, share: float = 0.12) -> np.ndarray:
    """Black bars above and below."""
    bar = round(share * frame.shape[0])
    out = frame.copy()
    out[:bar] = out[-bar:] = 0
    return out


def woven(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Two frames interlaced into one."""
    out = [frame.copy() for frame in frames[::2]]
    for one, second in zip(out, frames[1::2], strict=True):
        one[1::2] = second[1::2]
    return out
