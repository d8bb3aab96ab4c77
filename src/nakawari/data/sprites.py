"""Painted cut-outs for synthetic scenes: outlines filled in one of several cartoon styles, with alpha."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Pixels = NDArray[np.float32]
Colour = tuple[float, float, float]
MANNERS = ("flat", "soft", "cel", "line", "pixel")
_OVERSAMPLE = 3


@dataclass(frozen=True)
class Texture:
    """`rgba` (h, w, 4), premultiplied by alpha: colour in [0, 255], alpha in [0, 1]. `origin`: the drawing's own
    (0, 0), in texels. `resolution`: texels per frame width. `order`: (h, w) in [0, 1], when each texel is drawn,
    for drawings that appear stroke by stroke."""

    rgba: Pixels
    origin: tuple[float, float]
    resolution: float
    order: Pixels | None = None


@dataclass(frozen=True)
class Brush:
    """The drawing style of a scene. `ink`: outline colour; `line`: outline width in frame widths; `light`: direction of
    light;
    `resolution`: texels per frame width; `block`: size of one pixel-art square in frame widths."""

    manner: str
    ink: Colour
    line: float
    light: tuple[float, float]
    resolution: float
    block: float


def smooth(points: Points, closed: bool = True, rounds: int = 3) -> Points:
    """Chaikin's corner cutting: (N, 2) -> a smooth outline or stroke with about 2^rounds times as many points."""
    for _ in range(rounds):
        following = np.roll(points, -1, axis=0) if closed else points[1:]
        before = points if closed else points[:-1]
        cut = np.stack([0.75 * before + 0.25 * following, 0.25 * before + 0.75 * following], axis=1).reshape(-1, 2)
        points = cut if closed else np.concatenate([points[:1], cut, points[-1:]])
    return points


def ellipse(rx: float, ry: float, count: int = 40) -> Points:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([rx * np.cos(angle), ry * np.sin(angle)], axis=1)


def box(width: float, height: float, roundness: float = 0.3) -> Points:
    """A rectangle around (0, 0) with rounded corners."""
    x, y = width / 2, height / 2
    r = roundness * min(width, height) / 2
    corners = [(x - r, y - r, 0), (-x + r, y - r, 1), (-x + r, -y + r, 2), (x - r, -y + r, 3)]
    turn = np.linspace(0, np.pi / 2, 6)
    arcs = [
        np.stack([cx + r * np.cos(turn + k * np.pi / 2), cy + r * np.sin(turn + k * np.pi / 2)], 1)
        for cx, cy, k in corners
    ]
    return np.concatenate(arcs)


def limb(length: float, width: float, taper: float = 0.8) -> Points:
    """A rounded bar that hangs from (0, 0) down to (0, length)."""
    top, end = width / 2, width * taper / 2
    turn = np.linspace(0, np.pi, 8)
    lower = np.stack([end * np.cos(turn), length + end * np.sin(turn)], 1)
    upper = np.stack([-top * np.cos(turn), -top * np.sin(turn)], 1)
    return np.concatenate([lower, upper])


def blob(rng: np.random.Generator, radius: float, roughness: float = 0.15, count: int = 48) -> Points:
    """A smooth closed outline whose radius is a random Fourier sum."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    r = np.ones(count)
    for k in range(2, 6):
        r += roughness * rng.normal() / (k - 1) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    r = radius * np.clip(r, 0.45, 1.6)
    return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)


def star(spikes: int, outer: float, inner: float, rounded: bool) -> Points:
    angle = np.linspace(0, 2 * np.pi, 2 * spikes, endpoint=False) - np.pi / 2
    r = np.where(np.arange(2 * spikes) % 2 == 0, outer, inner)
    points = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
    return smooth(points, rounds=2) if rounded else points


def heart(radius: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], axis=1) * radius / 16


def crescent(radius: float, bite: float) -> Points:
    outer = np.linspace(0.6, 2 * np.pi - 0.6, 30)
    inner = np.linspace(2 * np.pi - 0.6, 0.6, 24)
    first = np.stack([np.cos(outer), np.sin(outer)], 1)
    mouth = np.stack([np.cos(inner) * bite + (math.cos(0.6) - bite * math.cos(0.6)), np.sin(inner)], 1)
    return radius * np.concatenate([first, mouth])


def random_outline(rng: np.random.Generator, radius: float) -> Points:
    """Any of the outlines above at about `radius`."""
    kind = rng.integers(9)
    if kind <= 1:
        return blob(rng, radius, rng.uniform(0.05, 0.25))
    if kind == 2:
        return star(int(rng.integers(4, 9)), radius, radius * rng.uniform(0.4, 0.75), bool(rng.random() < 0.5))
    if kind == 3:
        return heart(radius)
    if kind == 4:
        return ellipse(radius, radius * rng.uniform(0.6, 1.0))
    if kind == 5:
        return crescent(radius, rng.uniform(0.1, 0.5))
    if kind == 6:
        return box(2 * radius, radius * rng.uniform(0.6, 1.8), rng.uniform(0.05, 0.9))
    if kind == 7:
        corners = int(rng.integers(3, 7))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners)) + np.arange(corners) * 1e-3
        points = radius * rng.uniform(0.7, 1.1, (corners, 1)) * np.stack([np.cos(angle), np.sin(angle)], 1)
        return smooth(points, rounds=int(rng.integers(1, 3)))
    return smooth(rng.normal(0, 0.55 * radius, (int(rng.integers(5, 9)), 2)).clip(-radius, radius))


def _canvas(points: Points, margin: float, resolution: float) -> tuple[tuple[int, int], Points]:
    """Texel size (h, w) of a drawing with a margin, and its origin in texels, rounded to whole texels."""
    low = np.floor((points.min(0) - margin) * resolution) - 1
    high = np.ceil((points.max(0) + margin) * resolution) + 1
    width, height = (high - low).astype(int)
    return (int(height), int(width)), -low


def _fixed(points: Points, origin: Points, resolution: float) -> NDArray[np.int32]:
    """To OpenCV's fixed point (4 bits) on the oversampled grid."""
    texel = (points * resolution + origin) * _OVERSAMPLE - 0.5
    return np.round(texel * 16).astype(np.int32)


def fill(outline: Points, brush: Brush, colour: Colour, pattern: str = "plain") -> Texture:
    """Paint one closed outline (N, 2), in frame widths around its own (0, 0), in the brush's style.

    `pattern` "stripes" or "spots" adds a second tone.
    """
    import cv2

    resolution = 1 / brush.block if brush.manner == "pixel" else brush.resolution
    inked = brush.manner in ("cel", "line", "pixel")
    (height, width), origin = _canvas(outline, brush.line if inked else 0.0, resolution)
    full = (height * _OVERSAMPLE, width * _OVERSAMPLE)
    polygon = _fixed(outline, origin, resolution)
    mask = np.zeros(full, np.uint8)
    cv2.fillPoly(mask, [polygon], 255, cv2.LINE_8, 4)
    paint = _tones(mask, brush, np.asarray(colour, np.float32), resolution * _OVERSAMPLE)
    if pattern != "plain":
        _decorate(paint, mask, pattern, colour)
    if inked:
        thickness = max(1, round(brush.line * resolution * _OVERSAMPLE))
        cv2.polylines(paint, [polygon], True, brush.ink, thickness, cv2.LINE_8, 4)
        cv2.polylines(mask, [polygon], True, 255, thickness, cv2.LINE_8, 4)
    if brush.manner == "pixel":
        return _blocks(paint, mask, origin, resolution, brush.resolution)
    return Texture(_shrink(paint, mask, (width, height)), (float(origin[0]), float(origin[1])), resolution)


def _shrink(paint: Pixels, mask: NDArray[np.uint8], size: tuple[int, int]) -> Pixels:
    """Oversampled colour and mask -> premultiplied RGBA at texel size."""
    import cv2

    alpha = mask.astype(np.float32) / 255
    rgba = np.dstack([paint * alpha[..., None], alpha])
    return cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)


def _blocks(paint: Pixels, mask: NDArray[np.uint8], origin: Points, coarse: float, fine: float) -> Texture:
    """Pixel art: hard squares, no anti-aliasing inside; magnified so that squares stay square."""
    size = (paint.shape[1] // _OVERSAMPLE, paint.shape[0] // _OVERSAMPLE)
    rgba = _shrink(paint, mask, size)
    alpha = rgba[..., 3:]
    solid = (alpha > 0.5).astype(np.float32)
    colour = np.round(rgba[..., :3] / np.maximum(alpha, 1e-3) / 24) * 24
    rgba = np.concatenate([np.clip(colour, 0, 255) * solid, solid], axis=2)
    times = max(1, round(fine / coarse))
    rgba = np.repeat(np.repeat(rgba, times, 0), times, 1)
    return Texture(rgba, (float(origin[0]) * times, float(origin[1]) * times), coarse * times)


def _tones(mask: NDArray[np.uint8], brush: Brush, colour: Pixels, scale: float) -> Pixels:
    """The colour field (h, w, 3) inside an outline: flat, one hard shade (cel) or a lit dome (soft)."""
    import cv2

    height, width = mask.shape
    field = np.empty((height, width, 3), np.float32)
    if brush.manner == "line":
        field[:] = 255 - 0.06 * (255 - colour)
        return field
    field[:] = colour
    if brush.manner in ("cel", "pixel"):
        shift = 0.16 * min(height, width)
        move = np.float32([[1, 0, brush.light[0] * shift], [0, 1, brush.light[1] * shift]])
        lit = cv2.warpAffine(mask, move, (width, height), flags=cv2.INTER_NEAREST)
        field[lit == 0] = colour * np.float32([0.72, 0.7, 0.8])
    elif brush.manner == "soft":
        distance = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
        dome = np.sqrt(distance / max(float(distance.max()), 1.0))
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        slope = brush.light[0] * x + brush.light[1] * y
        field *= (0.66 + 0.38 * dome + 0.18 * slope)[..., None]
        shine = np.exp(-((x - 0.4 * brush.light[0]) ** 2 + (y - 0.45 * brush.light[1]) ** 2) * 6) * dome
        field += (255 - field).clip(0) * (0.4 * shine)[..., None]
        np.clip(field, 0, 255, out=field)
    return field


def _decorate(paint: Pixels, mask: NDArray[np.uint8], pattern: str, colour: Colour) -> None:
    height, width = mask.shape
    y, x = np.ogrid[:height, :width]
    period = max(6.0, min(height, width) / 4)
    if pattern == "stripes":
        second = ((x + 0.5 * y) % period) < period * 0.4
    else:
        second = ((x % period - period / 2) ** 2 + (y % period - period / 2) ** 2) < (0.28 * period) ** 2
    tone = 0.6 if sum(colour) > 330 else 1.6
    paint[second] = np.clip(paint[second] * tone + (0 if tone < 1 else 40), 0, 255)


def stroke(line: Points, brush: Brush, width: float, colour: Colour) -> Texture:
    """Paint one open stroke (N, 2) of `width` frame widths with round ends; `order` runs along it from 0 to 1."""
    import cv2

    (height, wide), origin = _canvas(line, width, brush.resolution)
    mask = np.zeros((height * _OVERSAMPLE, wide * _OVERSAMPLE), np.uint8)
    order = np.zeros((height, wide), np.float32)
    points = _fixed(line, origin, brush.resolution)
    thickness = max(2, round(width * brush.resolution * _OVERSAMPLE))
    cv2.polylines(mask, [points], False, 255, thickness, cv2.LINE_8, 4)
    coarse = np.round((line * brush.resolution + origin - 0.5) * 16).astype(np.int32)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    length /= max(length[-1], 1e-9)
    broad = max(2, math.ceil(width * brush.resolution) + 2)
    for first, last, when in zip(coarse[:-1], coarse[1:], length[1:], strict=True):
        cv2.line(order, first.tolist(), last.tolist(), float(when), broad, cv2.LINE_8, 4)
    paint = np.empty((*mask.shape, 3), np.float32)
    paint[:] = colour
    rgba = _shrink(paint, mask, (wide, height))
    return Texture(rgba, (float(origin[0]), float(origin[1])), brush.resolution, order)


def lettering(text: str, brush: Brush, height: float, colour: Colour, bold: float) -> Texture:
    """Paint a line of text `height` frame widths tall around its own centre; `bold` is stroke over letter height."""
    import cv2

    tall = height * brush.resolution * _OVERSAMPLE
    thickness = max(1, round(bold * tall))
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_DUPLEX, max(4, round(tall)), thickness)
    (width, above), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thickness)
    grid = [-(-(side + 2 * thickness + _OVERSAMPLE) // _OVERSAMPLE) for side in (above + below, width)]
    mask = np.zeros((grid[0] * _OVERSAMPLE, grid[1] * _OVERSAMPLE), np.uint8)
    cv2.putText(mask, text, (thickness, above + thickness), cv2.FONT_HERSHEY_DUPLEX, scale, 255, thickness)
    paint = np.empty((*mask.shape, 3), np.float32)
    paint[:] = colour
    return Texture(_shrink(paint, mask, (grid[1], grid[0])), (grid[1] / 2, grid[0] / 2), brush.resolution)
