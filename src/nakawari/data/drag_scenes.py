"""Synthetic scenes for point control: one sprite on a detour that only its track determines, not the keys.

The position of the sprite is known at any time, so point control can be trained and measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError

Array = NDArray[np.float32]
Point = tuple[float, float]
Look = Literal["plain", "target"]

RADIUS = (10.0, 16.0)
"""Smallest and largest sprite, in pixels."""
DETOUR = (20.0, 40.0)
"""Distance in pixels between the middle of a path and the midpoint of its ends; the keys do not show its direction."""
_APART = 24.0
_MARGIN = 3.0
_TRIES = 1000
_SHAPES = ("disc", "square", "diamond")


@dataclass(frozen=True)
class DragScene:
    """One sprite on a smooth background.

    Args:
        ground: (H, W, 3), the background, 0 to 255.
        shape: disc, square or diamond.
        radius: of the sprite, pixels.
        colours: of its rim and of its core, RGB; a `plain` sprite has one colour.
        start, middle, end: its centre at times 0, 0.5 and 1, as x and y in pixel indices.
    """

    ground: Array
    shape: str
    radius: float
    colours: tuple[Array, Array]
    start: Point
    middle: Point
    end: Point

    @classmethod
    def draw(cls, rng: np.random.Generator, size: tuple[int, int], look: Look = "plain") -> Self:
        """A random scene of `size` (height, width).

        Raises:
            UsageError: a size too small for a sprite and its detour.
        """
        radius = float(rng.uniform(*RADIUS))
        start, middle, end = _path(rng, size, radius)
        make = _plain if look == "plain" else _target
        shape, ground, colours = make(rng, size)
        return cls(ground, shape, radius, colours, start, middle, end)

    def through(self, middle: Point) -> Self:
        """The same scene on another path."""
        return replace(self, middle=middle)

    @property
    def mirrored(self) -> Point:
        """The middle of the path that takes the opposite detour between the same keys."""
        (ax, ay), (mx, my), (bx, by) = self.start, self.middle, self.end
        return ax + bx - mx, ay + by - my

    def track(self, times: Sequence[float]) -> NDArray[np.float64]:
        """Centre of the sprite, (F, 2): a parabola through the three points."""
        t = np.asarray(times, dtype=np.float64)[:, None]
        start, middle, end = (np.array(point) for point in (self.start, self.middle, self.end))
        return (1 - t) * (1 - 2 * t) * start + 4 * t * (1 - t) * middle + t * (2 * t - 1) * end

    def render(self, times: Sequence[float]) -> NDArray[np.uint8]:
        """Frames (F, H, W, 3), RGB."""
        frames = [self._frame(x, y) for x, y in self.track(times)]
        return np.round(np.stack(frames)).astype(np.uint8)

    def _frame(self, x: float, y: float) -> Array:
        frame, reach = self.ground.copy(), 1.5 * self.radius
        rows, columns = (slice(max(0, int(at - reach)), int(at + reach) + 2) for at in (y, x))
        cut = frame[rows, columns]
        down = np.arange(rows.start, rows.start + cut.shape[0], dtype=np.float32)[:, None] - np.float32(y)
        along = np.arange(columns.start, columns.start + cut.shape[1], dtype=np.float32) - np.float32(x)
        inside = _depth(self.shape, along, down, self.radius)
        for colour, depth in zip(self.colours, (inside, inside - 0.4 * self.radius), strict=True):
            # The edge is one pixel soft.
            share = np.clip(depth + 0.5, 0, 1)[..., None]
            cut[:] = cut * (1 - share) + colour * share
        return frame


def _depth(shape: str, x: Array, y: Array, radius: float) -> Array:
    """Distance in pixels from the edge, positive inside; the three shapes have about equal area."""
    if shape == "disc":
        return radius - np.hypot(x, y)
    if shape == "square":
        return 0.89 * radius - np.maximum(np.abs(x), np.abs(y))
    return (1.25 * radius - np.abs(x) - np.abs(y)) / np.float32(2**0.5)


def _path(rng: np.random.Generator, size: tuple[int, int], radius: float) -> tuple[Point, Point, Point]:
    border = 1.25 * radius + _MARGIN
    low = np.array([border, border])
    high = np.array([size[1] - 1 - border, size[0] - 1 - border])
    if (high <= low).any():
        raise UsageError(f"A scene of {size[1]}x{size[0]} is too small for drags; give at least 96x64.")
    for _ in range(_TRIES):
        start, end = rng.uniform(low, high), rng.uniform(low, high)
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(*DETOUR)
        middle = (start + end) / 2 + length * np.array([np.cos(angle), np.sin(angle)])
        if np.hypot(*(end - start)) >= _APART and (middle >= low).all() and (middle <= high).all():
            return _point(start), _point(middle), _point(end)
    raise UsageError(f"A scene of {size[1]}x{size[0]} is too small for drags; give at least 96x64.")


def _point(values: NDArray[np.float64]) -> Point:
    return float(values[0]), float(values[1])


Drawn = tuple[str, Array, tuple[Array, Array]]


def _plain(rng: np.random.Generator, size: tuple[int, int]) -> Drawn:
    """A warm, bright sprite of one colour on a cool, dark background with a gradient."""
    shape = str(rng.choice(_SHAPES))
    ends = rng.uniform((0, 10, 40), (60, 90, 130), (2, 3))
    colour = rng.uniform((215, 110, 0), (255, 240, 90)).astype(np.float32)
    return shape, _graded(rng, size, ends), (colour, colour)


def _target(rng: np.random.Generator, size: tuple[int, int]) -> Drawn:
    """The look of another show: a white disc with a dark core on a green background."""
    ends = rng.uniform((30, 90, 20), (80, 150, 70), (2, 3))
    rim = rng.uniform(225, 255, 3).astype(np.float32)
    core = rng.uniform((90, 0, 20), (150, 30, 70)).astype(np.float32)
    return "disc", _graded(rng, size, ends), (rim, core)


def _graded(rng: np.random.Generator, size: tuple[int, int], ends: NDArray[np.float64]) -> Array:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-0.5 : 0.5 : size[0] * 1j, -0.5 : 0.5 : size[1] * 1j]
    share = np.clip(0.5 + 0.7 * (np.cos(angle) * x + np.sin(angle) * y), 0, 1)[..., None]
    return (ends[0] * (1 - share) + ends[1] * share).astype(np.float32)


def _corner(
    rng: np.random.Generator, scene: DragScene, size: tuple[int, int], window: tuple[int, int]
) -> tuple[int, int]:
    """Left and top of a window that mostly contains the sprite."""
    centre = np.array(scene.start) + rng.normal(0, 0.6 * scene.radius, 2)
    room = np.array([size[1] - window[1], size[0] - window[0]])
    left, top = np.clip(np.round(centre - np.array(window[::-1]) / 2), 0, room).astype(int)
    return int(left), int(top)


@dataclass(frozen=True)
class DragSamples:
    """The endless stream. `num_frames`: the counts to choose from, one for each batch. `size`: (height, width).
    `window`: crop (height, width) of each scene, around the start position, without tracks."""

    num_frames: Sequence[int]
    size: tuple[int, int]
    batch_size: int
    seed: int = 0
    look: Look = "plain"
    window: tuple[int, int] | None = None

    def sample(self, index: int) -> dict[str, Any]:
        """`frames` (F, 3, H, W) float32 in [-1, 1]; `tracks` (F, 1, 2), x and y in pixels, without a window; `name`."""
        counts = np.random.default_rng([self.seed, *b"batch", index // self.batch_size])
        times = np.linspace(0, 1, int(counts.choice(list(self.num_frames)))).tolist()
        scene = self.scene(index)
        frames = scene.render(times)
        more: dict[str, Any] = {"tracks": scene.track(times)[:, None]}
        if self.window is not None:
            rng = np.random.default_rng([self.seed, *b"window", index])
            left, top = _corner(rng, scene, self.size, self.window)
            frames, more = frames[:, top : top + self.window[0], left : left + self.window[1]], {}
        tensor = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
        return {"frames": tensor.float() / 127.5 - 1, "name": f"drag-{self.look}-{self.seed}-{index}", **more}

    def scene(self, index: int) -> DragScene:
        """Scene `index`, a pure function of seed, size, look and index."""
        return DragScene.draw(np.random.default_rng([self.seed, *b"drag", index]), self.size, self.look)
