"""Key drawings for tests: an outlined ball on paper at a given position."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw


def ball(path: Path, x: int, y: int = 50, size: tuple[int, int] = (160, 96)) -> Path:
    """Write a drawing of a ball centred at x, y."""
    image = Image.new("RGB", size, (240, 234, 220))
    ImageDraw.Draw(image).ellipse((x - 12, y - 12, x + 12, y + 12), fill=(210, 60, 50), outline=(20, 20, 20), width=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def balls(path: Path, places: list[tuple[int, int]], size: tuple[int, int]) -> Path:
    """Write a drawing with several such balls."""
    image = Image.new("RGB", size, (240, 234, 220))
    for x, y in places:
        box = (x - 12, y - 12, x + 12, y + 12)
        ImageDraw.Draw(image).ellipse(box, fill=(210, 60, 50), outline=(20, 20, 20), width=2)
    image.save(path)
    return path


def red_near(path: Path, place: tuple[int, int], within: int = 20, least: int = 100) -> tuple[float, float] | None:
    """Mean position of red pixels around a position; None if there are fewer than `least`."""
    import numpy as np

    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    rows, columns = np.nonzero((pixels[..., 0] > 150) & (pixels[..., 1] < 120))
    near = np.hypot(columns - place[0], rows - place[1]) < within
    return None if near.sum() < least else (float(columns[near].mean()), float(rows[near].mean()))


def red_centre(path: Path) -> tuple[float, float]:
    """Position of the ball in an image: the mean position of its red pixels."""
    import numpy as np

    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 120)
    rows, columns = np.nonzero(red)
    return float(columns.mean()), float(rows.mean())
