"""Draw point tracks over frames, for inspection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

COLOURS = ((230, 60, 50), (40, 120, 220), (30, 160, 80), (240, 160, 20), (150, 70, 190), (20, 170, 180))
RIM = (255, 255, 255)
_FINE = 3
"""Supersampling factor of lines, for antialiasing."""


def overlay_tracks(frame: NDArray[np.uint8], tracks: NDArray[np.floating], index: int) -> NDArray[np.uint8]:
    """A copy of `frame` with a dot at every point, its past track as a line and its future track as a thin line.

    Args:
        frame: (H, W, 3 or 4).
        tracks: (F, P, 2), x and y in pixels of the frame.
        index: index of the frame, 0 to F - 1.
    """
    height, width = frame.shape[:2]
    unit = max(1.0, min(height, width) / 100) * _FINE
    layer = Image.new("RGBA", (width * _FINE, height * _FINE))
    draw = ImageDraw.Draw(layer)
    for number, way in enumerate(np.moveaxis(np.asarray(tracks, dtype=np.float64), 1, 0)):
        colour = COLOURS[number % len(COLOURS)]
        points = [(float(x) * _FINE, float(y) * _FINE) for x, y in (way + 0.5)]
        _line(draw, points[index:], RIM, colour, unit * 0.6)
        _line(draw, points[: index + 1], RIM, colour, unit * 1.4)
        _dot(draw, points[index], unit * 3.2, RIM)
        _dot(draw, points[index], unit * 2.4, colour)
    picture = Image.fromarray(frame).convert("RGBA")
    picture.alpha_composite(layer.resize((width, height), Image.Resampling.BOX))
    return np.asarray(picture if frame.shape[2] == 4 else picture.convert("RGB"))


def _line(
    draw: ImageDraw.ImageDraw,
    points: list[tuple[float, float]],
    rim: tuple[int, int, int],
    colour: tuple[int, int, int],
    width: float,
) -> None:
    if len(points) > 1:
        draw.line(points, rim, max(1, round(width * 1.8)), joint="curve")
        draw.line(points, colour, max(1, round(width)), joint="curve")


def _dot(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, colour: tuple[int, int, int]) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
