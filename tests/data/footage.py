"""Small moving scenes for data tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
