"""Backgrounds of synthetic scenes: flat, graded, textured, patterned or painted scenery."""

from __future__ import annotations

import numpy as np

from .motion import Mover, Placement, at
from .scene import Part, Stage
from .sprites import Brush, Colour, Pixels, Points, Texture, blob, ellipse, fill, smooth

Rng = np.random.Generator


def palette(rng: Rng) -> list[Colour]:
    """Eight harmonious RGB colours in [0, 255]: two hue families and their light and dark tones."""
    import cv2

    hue = rng.uniform(0, 180)
    turn = rng.choice([25, 60, 90, 120])
    hues = (hue + turn * rng.integers(0, 3, 8) + rng.normal(0, 6, 8)) % 180
    vivid = rng.uniform(0.55, 1.0)
    hsv = np.stack([hues, rng.uniform(90, 255, 8) * vivid, 255 * rng.uniform(0.2, 1, 8) ** 0.45], axis=1)
    hsv[rng.integers(8)] = (0, 10, 245)
    rgb = cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0]
    return [tuple(float(v) for v in colour) for colour in rgb]  # type: ignore[misc]


def noise(rng: Rng, height: int, width: int, cells: float, octaves: int = 3) -> Pixels:
    """Smooth noise (h, w) of about unit deviation with `cells` cells across the width, plus finer octaves."""
    import cv2

    out = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        across = int(np.clip(cells * 2**octave, 2, width))
        down = int(np.clip(across * height / width, 2, height))
        coarse = rng.standard_normal((down, across), dtype=np.float32) * 0.6**octave
        out += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return out


def _flat(rng: Rng, height: int, width: int, colours: list[Colour]) -> Pixels:
    return np.full((height, width, 3), colours[0], np.float32)


def _linear(rng: Rng, height: int, width: int, colours: list[Colour]) -> Pixels:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    share = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) + 0.5
    return _mix(share, colours[0], colours[1])


def _radial(rng: Rng, height: int, width: int, colours: list[Colour]) -> Pixels:
    cx, cy = rng.uniform(0.1, 0.9, 2)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    return _mix(np.hypot(x - cx, (y - cy) * height / width) * rng.uniform(1.2, 2.2), colours[0], colours[1])


def _mix(share: Pixels, first: Colour, second: Colour) -> Pixels:
    share = np.clip(share, 0, 1)[..., None]
    return np.float32(first) * (1 - share) + np.float32(second) * share


def _textured(rng: Rng, height: int, width: int, colours: list[Colour]) -> Pixels:
    """Painted background: cloudy tones with fine grain."""
    share = 0.5 + 0.28 * noise(rng, height, width, rng.uniform(2, 10), 4)
    field = _mix(share, colours[0], colours[1])
    grain = noise(rng, height, width, width / rng.uniform(2, 6), 1)
    return field * (1 + rng.uniform(0.03, 0.25) * grain)[..., None]


def _pattern(rng: Rng, height: int, width: int, colours: list[Colour]) -> Pixels:
    """Tiles, stripes or dots."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.choice([0.0, 0.4, 0.785])
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    period = width / rng.uniform(5, 18)
    kind = rng.integers(3)
    if kind == 0:
        wave = np.sin(2 * np.pi * u / period)
    elif kind == 1:
        wave = np.sin(2 * np.pi * u / period) * np.sin(2 * np.pi * v / period)
    else:
        wave = np.cos(2 * np.pi * u / period) + np.cos(2 * np.pi * v / period) - 1.0
    return _mix(0.5 + wave * period / 4, colours[0], colours[1])


def _strokes(rng: Rng, height: int, width: int, colours: list[Colour]) -> Pixels:
    """Dabs of paint or grass over a graded background."""
    import cv2

    field = _linear(rng, height, width, colours)
    upright = rng.random() < 0.5
    count = int(rng.integers(60, 350))
    centres = rng.uniform(0, 1, (count, 2)) * (width, height)
    lengths = rng.uniform(0.01, 0.05, count) * width
    for (x, y), length, tone in zip(centres, lengths, rng.normal(0, 22, count), strict=True):
        ground = field[min(int(y), height - 1), min(int(x), width - 1)]
        colour = np.clip(ground + tone, 0, 255).tolist()
        angle = rng.normal(90, 12) if upright else rng.uniform(0, 180)
        axes = (max(1, int(length)), max(1, int(length * (0.15 if upright else 0.5))))
        cv2.ellipse(field, (int(x), int(y)), axes, float(angle), 0, 360, colour, -1, cv2.LINE_AA)
    return field


def _city(rng: Rng, height: int, width: int, colours: list[Colour]) -> Pixels:
    """Rows of blocks with lit windows under a sky, dark or light."""
    field = _linear(rng, height, width, colours)
    for row in range(2):
        x = 0
        while x < width:
            wide = int(rng.uniform(0.04, 0.14) * width) + 2
            top = int(height * rng.uniform(0.15, 0.6) + row * 0.2 * height)
            wall = np.float32(colours[2 + row]) * rng.uniform(0.3, 0.9)
            field[top:, x : x + wide] = wall
            cell = max(4, wide // int(rng.integers(3, 6)))
            lit = np.clip(np.float32(colours[4]) * rng.uniform(0.6, 1.2), 0, 255)
            for wy in range(top + cell // 2, height, cell + cell // 2):
                for wx in range(x + cell // 3, x + wide - cell // 2, cell):
                    if rng.random() < 0.6:
                        field[wy : wy + cell // 2 + 1, wx : wx + cell // 2] = lit
            x += wide + int(rng.uniform(-0.01, 0.04) * width)
    return field


GROUNDS = (_flat, _linear, _radial, _textured, _pattern, _strokes, _city)
_CHANCES = (0.2, 0.2, 0.15, 0.15, 0.06, 0.14, 0.1)


def add_backdrop(stage: Stage, brush: Brush, rng: Rng, colours: list[Colour], mover: Mover) -> None:
    """Add a background, sometimes with scenery at several depths in front of it."""
    margin = 0.0 if stage.camera.still else 0.6
    resolution = stage.size[1] * (1.0 if stage.camera.still else 1.4)
    frame_height = stage.size[0] / stage.size[1]
    height, width = (round(resolution * side) for side in (frame_height + 2 * margin, 1 + 2 * margin))
    scenic = rng.random() < 0.3
    ground = _linear if scenic else GROUNDS[int(rng.choice(len(GROUNDS), p=_CHANCES))]
    tones = [tuple(0.75 * v + 45 for v in colour) for colour in colours] if rng.random() < 0.5 else colours
    field = np.clip(ground(rng, height, width, tones), 0, 255)  # type: ignore[arg-type]
    if brush.manner == "pixel":
        field = _chunky(field, max(1, round(brush.block * resolution)))
    rgba = np.dstack([field, np.ones((height, width), np.float32)]).astype(np.float32)
    depth = float(rng.choice([0.3, 0.6, 1.0]))
    texture = Texture(rgba, (margin * resolution, margin * resolution), resolution)
    stage.add(Part(texture, Placement(at(0.0, 0.0)), depth=depth, cover=True))
    if scenic:
        _scenery(stage, brush, rng, colours, mover, margin)


def _chunky(field: Pixels, block: int) -> Pixels:
    small = field[::block, ::block]
    return np.repeat(np.repeat(small, block, 0), block, 1)[: field.shape[0], : field.shape[1]]


def _scenery(stage: Stage, brush: Brush, rng: Rng, colours: list[Colour], mover: Mover, margin: float) -> None:
    """Clouds, then two or three ridges of hills, each nearer one moving more with the camera, with trees on them."""
    frame_height = stage.size[0] / stage.size[1]
    drift = rng.random() < 0.4
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(0, 1), rng.uniform(0.02, 0.4) * frame_height
        outline = blob(rng, rng.uniform(0.05, 0.12), 0.2) * (1.0, 0.45)
        path = mover.arc(x, y, 0.3 * mover.reach) if drift else at(x, y)
        stage.add(Part(fill(outline, brush, (245.0, 245.0, 250.0)), Placement(path), depth=0.3))
    for layer in range(int(rng.integers(1, 4))):
        depth = 0.4 + 0.2 * layer
        top = frame_height * (0.45 + 0.17 * layer)
        ridge = _ridge(rng, top, frame_height + margin, margin)
        tone = tuple(v * (0.95 - 0.17 * layer) for v in colours[2 + layer])
        stage.add(Part(fill(ridge, brush, tone), Placement(at(0.0, 0.0)), depth=depth))  # type: ignore[arg-type]
        for x in rng.uniform(-margin, 1 + margin, int(rng.integers(0, 3 + int(5 * margin)))):
            _tree(stage, brush, rng, colours, float(x), top, depth)


def _ridge(rng: Rng, top: float, bottom: float, margin: float) -> Points:
    x = np.linspace(-margin - 0.05, 1.05 + margin, 14)
    y = top + rng.uniform(0.01, 0.09) * np.sin(rng.uniform(3, 9) * x + rng.uniform(0, 6)) + rng.normal(0, 0.012, 14)
    crest = smooth(np.stack([x, y], axis=1), closed=False, rounds=2)
    return np.concatenate([crest, [[x[-1], bottom + 0.05], [x[0], bottom + 0.05]]])


def _tree(stage: Stage, brush: Brush, rng: Rng, colours: list[Colour], x: float, y: float, depth: float) -> None:
    size = rng.uniform(0.03, 0.08)
    trunk = np.array([[-0.15, 0.2], [0.15, 0.2], [0.12, -1.2], [-0.12, -1.2]]) * size
    stage.add(Part(fill(trunk, brush, (110.0, 75.0, 50.0)), Placement(at(x, y)), depth=depth))
    crown = blob(rng, size, 0.15) if rng.random() < 0.6 else ellipse(0.7 * size, 1.4 * size)
    stage.add(Part(fill(crown, brush, colours[5]), Placement(at(x, y - 1.5 * size)), depth=depth))
