"""Synthetic 2D animation: unlimited, free of licences, with exact pictures and motion at any time.

A scene is a pure function of its seed. It is made of cut-outs (flat, softly shaded, cel with outlines, line drawing,
pixel art) with joints, eased movements, squash and stretch, bending and breathing outlines, occlusion, a camera with
parallax, and held backgrounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .backdrops import add_backdrop, palette
from .figures import CHANCES, FIGURES, Cast
from .motion import Camera, Curve, Mover
from .scene import Stage
from .sprites import MANNERS, Brush, Colour


class SyntheticScene:
    """One scene. `size` is (height, width) in pixels, 16 to 4096 each; `motion` is the largest displacement as a share
    of the frame's width, random (1.5 % to 32 %, log-uniform) if None.

    The same seed gives the same bytes. Another size of the same aspect shows the same figures and movements at another
    resolution.
    """

    def __init__(self, seed: int, size: tuple[int, int] = (160, 256), motion: float | None = None) -> None:
        height, width = size
        if not (16 <= height <= 4096 and 16 <= width <= 4096):
            raise UsageError(f"A synthetic scene of {height}x{width} is not possible; sides go from 16 to 4096 pixels.")
        self.seed = seed
        self.size = (height, width)
        rng = np.random.default_rng([seed, 0x6E616B61])
        reach = math.exp(rng.uniform(math.log(0.015), math.log(0.32)))
        self.motion = reach if motion is None else motion
        mover = Mover(rng, self.motion)
        self.stage = Stage(self.size, _camera(rng, mover))
        brush = _brush(rng, width)
        colours = palette(rng)
        # a separate generator: the random numbers of the background depend on the size, those of the figures must not
        add_backdrop(self.stage, brush, np.random.default_rng(rng.integers(2**62)), colours, mover)
        _fill_stage(self.stage, brush, rng, mover)

    def render(self, times: Sequence[float]) -> NDArray[np.uint8]:
        """Frames (F, H, W, 3), RGB, at `times` in [0, 1]."""
        return self.stage.render(times)

    def flow(self, start: float, end: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Motion of the pixels visible at `start`: pixels (H, W, 2), x then y, and whether they are still visible (H,
        W)."""
        return self.stage.flow(start, end)

    def tracks(self, times: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Pivots of the moving parts: (F, P, 2) pixel coordinates (x, y) and visibility (F, P)."""
        points, visible = self.stage.tracks(times)
        kept = [index for index, part in enumerate(self.stage.parts) if not part.cover]
        return points[:, kept], visible[:, kept]


def _camera(rng: np.random.Generator, mover: Mover) -> Camera:
    kind = rng.choice(["still", "pan", "zoom", "both"], p=[0.6, 0.2, 0.1, 0.1])
    pan = mover.arc(0.0, 0.0) if kind in ("pan", "both") else Camera().pan
    if kind not in ("zoom", "both"):
        return Camera(pan)
    first, last = np.exp(rng.uniform(-0.5, 0.5, 2) * min(0.4, 2 * mover.reach))
    roll = mover.curve(0.0, 0.06, 0.3)
    return Camera(pan, Curve(float(first), float(last), mover.ease()), roll)


def _brush(rng: np.random.Generator, width: int) -> Brush:
    manner = str(rng.choice(MANNERS, p=[0.25, 0.32, 0.28, 0.05, 0.1]))
    ink = tuple(float(v) for v in rng.uniform(0, 70, 3)) if rng.random() < 0.7 else (0.0, 0.0, 0.0)
    angle = rng.uniform(math.pi * 1.1, math.pi * 1.9)
    line = max(rng.uniform(0.004, 0.012), 0.8 / width)
    block = max(rng.uniform(1 / 200, 1 / 100), 1.0 / width)
    return Brush(manner, ink, line, (math.cos(angle), math.sin(angle)), 1.4 * width, block)  # type: ignore[arg-type]


def _fill_stage(stage: Stage, brush: Brush, rng: np.random.Generator, mover: Mover) -> None:
    """One to five figures, far ones first, each with its own colours and timing."""
    height = stage.size[0] / stage.size[1]
    count = int(rng.choice([1, 2, 3, 4, 5], p=[0.25, 0.3, 0.22, 0.13, 0.1]))
    slots = (rng.permutation(count) + 0.5) / count
    ground = stage.parts[0].texture.rgba[..., :3].mean((0, 1))
    scale = rng.uniform(0.09, 0.21) * (1.25 if count == 1 else 1.0)
    for slot in slots:
        own = Mover(rng, mover.reach * rng.uniform(0.2, 1.0))
        depth = float(rng.choice([1.0, 1.0, 0.8, 1.2]))
        cast = Cast(stage, brush, _apart(palette(rng), ground), own, rng, depth)
        x = 0.12 + 0.76 * float(slot) + rng.normal(0, 0.04)
        y = height * (0.5 + rng.normal(0, 0.12))
        size = scale * rng.uniform(0.7, 1.2)
        figure = FIGURES[int(rng.choice(len(FIGURES), p=CHANCES))]
        figure(cast, x, y, size)


def _apart(colours: list[Colour], ground: NDArray[np.float32]) -> list[Colour]:
    """Move colours too close to the background to the other side of its brightness."""
    shift = -100.0 if ground.mean() > 128 else 100.0
    red, green, blue = (float(v) for v in ground)

    def moved(colour: Colour) -> Colour:
        r, g, b = colour
        if abs(r - red) + abs(g - green) + abs(b - blue) >= 130:
            return colour
        r, g, b = (min(255.0, max(0.0, v + shift)) for v in colour)
        return r, g, b

    return [moved(colour) for colour in colours]
