"""Motion in synthetic scenes: eased curves, arcs and camera, all exact functions of time in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _overshoot(x: float) -> float:
    """Penner's "back out": overshoots by about 10 % and settles."""
    back = x - 1
    return 1 + 2.70158 * back**3 + 1.70158 * back**2


EASES: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "in": lambda x: x * x,
    "out": lambda x: 1 - (1 - x) ** 2,
    "in-out": lambda x: x * x * (3 - 2 * x),
    "overshoot": _overshoot,
    "swing": lambda x: math.sin(math.pi * x),
}


_EASE_CHANCES = (0.4, 0.1, 0.13, 0.2, 0.07, 0.1)


@dataclass(frozen=True)
class Ease:
    """A window [begin, end] of a longer eased movement, so that a scene may start and stop during a movement."""

    kind: str = "linear"
    begin: float = 0.0
    end: float = 1.0

    def __call__(self, time: float) -> float:
        return EASES[self.kind](self.begin + (self.end - self.begin) * time)


@dataclass(frozen=True)
class Curve:
    """One number over time: `start` where the ease is 0, `stop` where it is 1."""

    start: float
    stop: float
    ease: Ease = Ease()

    def __call__(self, time: float) -> float:
        return self.start if self.still else self.start + (self.stop - self.start) * self.ease(time)

    @property
    def still(self) -> bool:
        return self.start == self.stop


def hold(value: float) -> Curve:
    """A curve that does not move."""
    return Curve(value, value)


ZERO = hold(0.0)
ONE = hold(1.0)


@dataclass(frozen=True)
class Arc:
    """A point over time along a quadratic Bézier arc of three control points, in units of the frame's width."""

    control: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    ease: Ease = Ease()

    def __call__(self, time: float) -> tuple[float, float]:
        (ax, ay), (bx, by), (cx, cy) = self.control
        e = self.ease(time) if not self.still else 0.0
        p, q, r = (1 - e) ** 2, 2 * e * (1 - e), e * e
        return p * ax + q * bx + r * cx, p * ay + q * by + r * cy

    @cached_property
    def still(self) -> bool:
        return self.control[0] == self.control[1] == self.control[2]


def at(x: float, y: float) -> Arc:
    """An arc that stays at one point."""
    return Arc(((x, y), (x, y), (x, y)))


ORIGIN = at(0.0, 0.0)


@dataclass(frozen=True)
class Placement:
    """The pose of a part in its parent: offset (frame widths), turn (radians), stretch along its own two axes."""

    offset: Arc
    turn: Curve = ZERO
    stretch_x: Curve = ONE
    stretch_y: Curve = ONE

    def matrix(self, time: float) -> Array:
        """(3, 3), own coordinates -> parent coordinates."""
        x, y = self.offset(time)
        angle, sx, sy = self.turn(time), self.stretch_x(time), self.stretch_y(time)
        cos, sin = math.cos(angle), math.sin(angle)
        return np.array([[cos * sx, -sin * sy, x], [sin * sx, cos * sy, y], [0.0, 0.0, 1.0]])

    @property
    def still(self) -> bool:
        return self.offset.still and self.turn.still and self.stretch_x.still and self.stretch_y.still


@dataclass(frozen=True)
class Camera:
    """Pan (frame widths), zoom and roll. `depth` 1 is the stage; smaller depths are farther and move less."""

    pan: Arc = ORIGIN
    zoom: Curve = ONE
    roll: Curve = ZERO

    def matrix(self, time: float, depth: float, width: int, height: int) -> Array:
        """(3, 3), stage coordinates (frame widths, y down, origin at the top left) -> pixel indices."""
        centre = np.array([0.5, 0.5 * height / width])
        zoom = self.zoom(time) ** depth
        angle = self.roll(time)
        turn = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shift = centre - turn @ (centre + depth * np.array(self.pan(time)))
        out = np.eye(3)
        out[:2, :2] = width * turn
        out[:2, 2] = width * shift - 0.5  # index i is the centre of pixel i
        return out

    @property
    def still(self) -> bool:
        return self.pan.still and self.zoom.still and self.roll.still


class Mover:
    """Draws movements from a random generator; `reach` is the scene's largest travel in frame widths."""

    def __init__(self, rng: np.random.Generator, reach: float) -> None:
        self.rng = rng
        self.reach = reach
        self.shared = self._draw_ease()

    def ease(self) -> Ease:
        """Mostly the scene's timing, sometimes a separate one: parts of one drawing tend to move together."""
        return self.shared if self.rng.random() < 0.6 else self._draw_ease()

    def _draw_ease(self) -> Ease:
        rng = self.rng
        kind = str(rng.choice(list(EASES), p=_EASE_CHANCES))
        if kind == "linear" or rng.random() < 0.3:
            return Ease("linear" if kind == "swing" else kind)
        length = rng.uniform(0.2, 0.6 if kind == "swing" else 0.9)
        begin = rng.uniform(0.0, 1.0 - length)
        return Ease(kind, begin, begin + length)

    def curve(self, centre: float, spread: float, chance: float = 1.0) -> Curve:
        """Moves by up to `spread` around `centre` with probability `chance`, scaled by the liveliness of the scene."""
        if self.rng.random() >= chance:
            return hold(centre)
        low, high = centre + self.rng.uniform(-0.5, 0.5, 2) * 2 * spread * self.liveliness
        return Curve(float(low), float(high), self.ease())

    @property
    def liveliness(self) -> float:
        """0.25 for scenes that hardly move, up to 1."""
        return min(1.0, 0.25 + 5 * self.reach)

    def arc(self, x: float, y: float, reach: float | None = None) -> Arc:
        """Travels through (x, y) by a random share of `reach`, straight or on a bow."""
        rng = self.rng
        length = (self.reach if reach is None else reach) * rng.uniform(0.3, 1.0)
        angle = rng.choice([0.0, math.pi, rng.uniform(0, 2 * math.pi)], p=[0.25, 0.25, 0.5])
        dx, dy = 0.5 * length * math.cos(angle), 0.35 * length * math.sin(angle)
        bow = rng.normal(0, 0.25) * length if rng.random() < 0.5 else 0.0
        control = (x - dx, y - dy), (x - bow * math.sin(angle), y + bow * math.cos(angle)), (x + dx, y + dy)
        return Arc(tuple((float(px), float(py)) for px, py in control), self.ease())  # type: ignore[arg-type]

    def squash(self, amount: float, chance: float = 0.4) -> tuple[Curve, Curve]:
        """Stretch along x and y that keeps the area about equal."""
        if self.rng.random() >= chance:
            return hold(1.0), hold(1.0)
        first, last = np.exp(self.rng.uniform(-amount, amount, 2) * self.liveliness)
        ease = self.ease()
        return Curve(1 / float(first), 1 / float(last), ease), Curve(float(first), float(last), ease)
