"""Jointed flat-colour figures with exact middle drawings, to tune and test the parts guide.

A figure is a tree of closed outlines. Each outline rotates about its joint; the root also moves, rotates, scales and is
squashed. The middle drawing has every joint angle, position, scale and squash half-way.
Everything is determined by the seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

LEVELS = {"easy": ((8, 14), (8, 14)), "medium": ((28, 45), (24, 40)), "hard": ((80, 130), (54, 75))}
"""Per level, the range of the displacement in pixels and of the largest rotation in degrees."""
WIDTHS = (0.0, 1.0, 1.6, 2.4)
PAINTS = (
    (231, 76, 60), (52, 152, 219), (46, 164, 98), (244, 196, 60), (155, 89, 182), (236, 240, 241), (93, 64, 55),
    (255, 167, 120), (63, 63, 78), (120, 200, 190), (200, 120, 130), (250, 220, 180),
)  # fmt: skip
DARKS = ((34, 32, 38), (63, 63, 78), (52, 40, 36))
"""Paints of wheels; a shape's paint beyond `PAINTS` is one of these."""
GROUNDS = ((240, 232, 214), (140, 198, 238), (60, 60, 90), (205, 225, 200), (255, 255, 255))
INKS = ((18, 16, 22), (40, 24, 20), (0, 0, 0))
OVERSAMPLE = 8
FILTERS = {"mean": Image.Resampling.BOX, "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
"""How drawings are scaled down."""


@dataclass(frozen=True)
class Shape:
    """One closed outline (N, 2) with its origin at the joint, whose position is `joint` in the coordinates of
    `parent`."""

    outline: np.ndarray
    parent: int
    joint: tuple[float, float]
    paint: int
    freedom: float = 1.0
    """Share of the level's rotation allowed for this joint."""


def oval(width: float, height: float, at: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    return np.stack([at[0] + width * np.cos(angle), at[1] + height * np.sin(angle)], 1)


def slab(length: float, root: float, tip: float) -> np.ndarray:
    """A limb along +y with half widths `root` and `tip`, rounded at both ends."""
    top = [(root * math.cos(a), root * math.sin(a)) for a in np.linspace(math.pi, 2 * math.pi, 8)]
    low = [(tip * math.cos(a), length + tip * math.sin(a)) for a in np.linspace(0, math.pi, 8)]
    return np.array(top + low)


def block(left: float, top: float, right: float, bottom: float, skew: float = 0.0) -> np.ndarray:
    return np.array([(left + skew, top), (right + skew, top), (right, bottom), (left, bottom)], float)


def robot(rng: np.random.Generator) -> list[Shape]:
    arm, leg = rng.uniform(15, 20), rng.uniform(16, 22)
    parts = [Shape(block(-14, -20, 14, 18), -1, (0, 0), 0, 0.15)]
    far = [
        Shape(slab(arm, 4, 4), 0, (12, -14), 1),
        Shape(slab(arm, 4, 3), -2, (0, arm), 1),
    ]
    legs = [Shape(block(-5, -2, 5, leg), 0, (x, 16), 2, 0.6) for x in (-8, 8)]
    head = [
        Shape(block(-10, -18, 10, 0, 2), 0, (0, -22), 3, 0.4),
        Shape(oval(3, 3), -2, (-4, -10), 4, 0.0),
        Shape(oval(3, 3), -3, (5, -10), 4, 0.0),
    ]
    near = [Shape(slab(arm, 4, 4), 0, (-12, -14), 1), Shape(slab(arm, 4, 3), -2, (0, arm), 1)]
    return _ordered(far + legs, parts, head + near)


def _ordered(behind: list[Shape], root: list[Shape], front: list[Shape]) -> list[Shape]:
    """Drawing order behind, root, front; parent 0 is the root, -k the shape k-1 places before in the same list."""
    made: list[Shape] = []
    at = len(behind)
    for group in (behind, root, front):
        for shape in group:
            here = len(made)
            parent = -1 if shape is root[0] else at if shape.parent == 0 else here + shape.parent + 1
            made.append(Shape(shape.outline, parent, shape.joint, shape.paint, shape.freedom))
    return made


def fish(rng: np.random.Generator) -> list[Shape]:
    w, h = rng.uniform(30, 40), rng.uniform(16, 22)
    tail = np.array([(0, 0), (-18, -14), (-13, 0), (-18, 14)], float)
    fin = np.array([(-6, 0), (6, 0), (2, 16), (-8, 13)], float)
    top = np.array([(-10, 2), (10, 2), (4, -12), (-9, -9)], float)
    return _ordered(
        [Shape(tail, 0, (-w + 5, 0), 1), Shape(top, 0, (0, -h + 4), 1, 0.3)],
        [Shape(oval(w, h), -1, (0, 0), 0, 0.3)],
        [Shape(fin, 0, (0, 3), 2), Shape(oval(5, 5), 0, (w * 0.55, -5), 5, 0.0),
         Shape(oval(2, 2), 0, (w * 0.6, -5), 8, 0.0)],
    )  # fmt: skip


def digger(rng: np.random.Generator) -> list[Shape]:
    boom = rng.uniform(24, 32)
    wheel = [Shape(oval(9, 9), 0, (x, 12), 8, 1.0) for x in (-20, 16)]
    hubs = [Shape(block(-1.5, -7, 1.5, 7), 0, (x, 12), 5, 1.0) for x in (-20, 16)]
    bucket = np.array([(-3, 0), (10, 2), (8, 14), (-6, 10)], float)
    return _ordered(
        [],
        [Shape(block(-30, -10, 26, 12), -1, (0, 0), 0, 0.2)],
        [Shape(block(-26, -30, -6, 0, 4), 0, (0, -9), 1, 0.1),
         Shape(block(-20, -26, -8, -8, 3), 0, (0, -9), 9, 0.0), *wheel, *hubs,
         Shape(slab(boom, 5, 4) @ np.diag([1, -1]), 0, (16, -6), 3),
         Shape(slab(16, 4, 3) @ np.array([[0, 1], [1, 0]]), -2, (0, -boom), 3), Shape(bucket, -2, (16, 0), 2)],
    )  # fmt: skip


def plant(rng: np.random.Generator) -> list[Shape]:
    leaf = np.array([(0, 2), (10, -8), (26, -10), (36, 0), (24, 8), (9, 7)], float)
    stem = slab(rng.uniform(28, 36), 3, 3) @ np.diag([1, -1])
    petals = [Shape(oval(6, 9, (0, -9)) @ _turn(a), -2 - k, (0, -30), 4, 0.0) for k, a in enumerate(np.arange(5) * 72)]
    return _ordered(
        [],
        [Shape(block(-14, 0, 14, 24, -3), -1, (0, 0), 0, 0.15)],
        [Shape(leaf, 0, (3, 0), 2), Shape(leaf * (-1, 1), 0, (-3, 0), 2), Shape(stem, 0, (0, 2), 2, 0.5), *petals,
         Shape(oval(6, 6), -7, (0, -30), 3, 0.0)],
    )  # fmt: skip


def _turn(degrees: float) -> np.ndarray:
    a = math.radians(degrees)
    return np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])


def hound(rng: np.random.Generator) -> list[Shape]:
    leg = rng.uniform(12, 16)

    def pair(x: float) -> list[Shape]:
        return [Shape(slab(leg, 5, 4), 0, (x, 10), 0), Shape(slab(leg, 4, 3), -2, (0, leg), 1)]

    ear = np.array([(-3, 0), (4, 0), (5, 14), (-4, 12)], float)
    return _ordered(
        [*pair(-20), *pair(22), Shape(slab(20, 4, 2) @ np.diag([-1, -1]), 0, (-28, -6), 0)],
        [Shape(oval(32, 16), -1, (0, 0), 0, 0.2)],
        [*pair(-16), *pair(18), Shape(oval(14, 12, (6, -4)), 0, (28, -14), 0, 0.4),
         Shape(block(-5, -4, 9, 2), -2, (-1, 7), 2, 0.1),
         Shape(ear, -3, (0, -12), 1, 0.7), Shape(oval(2.5, 2.5), -4, (10, -7), 8, 0.0),
         Shape(oval(4, 3), -5, (19, -3), 6, 0.0)],
    )  # fmt: skip


def crane(rng: np.random.Generator) -> list[Shape]:
    """A desk lamp on a foot: a chain of three."""
    a = rng.uniform(24, 32)
    shade = np.array([(-5, -3), (5, -3), (15, 16), (-15, 16)], float)
    arm = slab(a, 3.5, 3.5) @ np.diag([1, -1])
    return _ordered(
        [Shape(arm, 0, (0, 0), 1)],
        [Shape(block(-20, -5, 20, 5, 2), -1, (0, 0), 0, 0.1)],
        [Shape(slab(a, 3, 3) @ np.diag([1, -1]), -3, (0, -a), 1),
         Shape(shade, -2, (0, -a), 2), Shape(oval(5, 4), -2, (0, 17), 3, 0.0)],
    )  # fmt: skip


def puppet(rng: np.random.Generator) -> list[Shape]:
    """A person from the side: arms in the body's colour, similar limbs behind and in front of it."""
    thigh, arm, wide = rng.uniform(17, 21), rng.uniform(15, 18), rng.uniform(9, 14)
    chest = np.array([(-wide, -20), (-7, -25), (7, -25), (wide, -20), (wide * 0.8, 18), (-wide * 0.8, 18)], float)

    def limb(x: float, y: float, length: float, paint: int, end: int, tip: np.ndarray) -> list[Shape]:
        return [
            Shape(slab(length, 5, 4), 0, (x, y), paint),
            Shape(slab(length, 4, 3.5), -2, (0, length), paint),
            Shape(tip, -2, (0, length + 1), end, 0.4),
        ]

    shoe = np.array([(-5, -3), (5, -3), (12, 3), (10, 6), (-5, 6)], float)
    hair = np.array([(-13, 1), (-11, -14), (0, -19), (11, -14), (13, -7), (-3, -6)], float)
    return _ordered(
        [*limb(5, -17, arm, 0, 1, oval(5, 5)), *limb(4, 15, thigh, 2, 3, shoe)],
        [Shape(chest, -1, (0, 0), 0, 0.15)],
        [*limb(-4, 15, thigh, 2, 3, shoe), Shape(oval(12, 13, (0, -12)), 0, (0, -22), 1, 0.4),
         Shape(hair, -2, (0, -13), 4, 0.0), Shape(oval(1.6, 2.2), -3, (6, -10), 8, 0.0),
         *limb(-5, -17, arm, 0, 1, oval(5, 5))],
    )  # fmt: skip


def strider(rng: np.random.Generator) -> list[Shape]:
    """A walking two-legged creature: far limbs in the colours of the near ones, half hidden behind trunk and legs; a
    hip that shows as a sliver between them, a collar."""
    thigh, shin, arm = rng.uniform(14, 19), rng.uniform(13, 18), rng.uniform(11, 15)
    wide, thick = rng.uniform(8, 12), rng.uniform(4.5, 6.5)
    trunk = np.array([(-wide, -16), (-4, -23), (6, -23), (wide, -14), (wide * 0.9, 12), (-wide * 0.9, 13)], float)
    foot = np.array([(-5, -2), (0, -4), (6, -1), (13, 4), (13, 7), (-5, 7)], float)
    beak = np.array([(0, -5), (16, 1), (0, 4)], float)
    crest = np.array([(-6, 0), (-14, -14), (-2, -9), (3, -16), (7, 1)], float)

    def leg(x: float) -> list[Shape]:
        return [
            Shape(slab(thigh, thick, 4), 0, (x, 14), 2, 0.8),
            Shape(slab(shin, 4, 3), -2, (0, thigh), 2),
            Shape(foot, -2, (0, shin), 3, 0.5),
        ]

    def wing(x: float) -> list[Shape]:
        return [
            Shape(slab(arm, 4, 3.5), 0, (x, -14), 0),
            Shape(slab(arm, 3.5, 3), -2, (0, arm), 0),
            Shape(oval(4, 4.5), -2, (0, arm + 2), 1, 0.4),
        ]

    return _ordered(
        [*wing(2.5), *leg(2.5)],
        [Shape(block(-wide * 0.9, 6, wide * 0.9, 18), -1, (0, 0), 2, 0.15)],
        [*leg(-2.5), Shape(trunk, 0, (0, 0), 0, 0.05), Shape(block(-5, -27, 6, -21), 0, (0, 0), 5, 0.1),
         Shape(beak, 0, (8, -36), 5, 0.2), Shape(oval(12, 11, (0, -9)), 0, (0, -25), 1, 0.3),
         Shape(crest, -2, (0, -18), 4, 0.2), Shape(oval(2, 2.5), -3, (5, -11), 8, 0.0), *wing(-2.5)],
    )  # fmt: skip


def pony(rng: np.random.Generator) -> list[Shape]:
    """A walking quadruped: legs of three links that cross, in pairs of the same colours; a mane."""
    upper, lower = rng.uniform(13, 17), rng.uniform(12, 16)
    long, high = rng.uniform(26, 33), rng.uniform(12, 15)
    hoof = np.array([(-4, -2), (4, -2), (6, 5), (-4, 5)], float)
    neck = slab(24, 8, 6) @ _turn(200)
    muzzle = np.array([(-8, -8), (6, -7), (18, 1), (16, 8), (-6, 6)], float)
    mane = np.array([(-3, 4), (-12, -4), (-13, -20), (-4, -28), (2, -14)], float)

    def leg(x: float) -> list[Shape]:
        return [
            Shape(slab(upper, 6, 4), 0, (x, high - 6), 0, 0.7),
            Shape(slab(lower, 4, 3), -2, (0, upper), 0),
            Shape(hoof, -2, (0, lower), 3, 0.5),
        ]

    tail = slab(26, 3, 4) @ _turn(30)
    return _ordered(
        [Shape(tail, 0, (-long + 3, -4), 2), *leg(-long + 11), *leg(long - 7), Shape(mane, 0, (long - 6, -4), 2, 0.3)],
        [Shape(oval(long, high), -1, (0, 0), 0, 0.2)],
        [*leg(-long + 8), *leg(long - 10), Shape(neck, 0, (long - 6, -4), 0, 0.4),
         Shape(muzzle, -2, tuple(np.array([0, 24]) @ _turn(200)), 0, 0.5),
         Shape(oval(2, 2), -3, (1, -2), 8, 0.0)],
    )  # fmt: skip


def cart(rng: np.random.Generator) -> list[Shape]:
    """A box on dark wheels with spokes. Spokes that are all alike turn by less than half of their distance; of others
    one is of another paint."""
    radius, long, high = rng.uniform(6, 15), rng.uniform(28, 38), rng.uniform(10, 18)
    spokes, dark, marked = int(rng.integers(3, 7)), len(PAINTS) + int(rng.integers(len(DARKS))), rng.random() < 0.4
    thin, pale, hub = rng.uniform(0.3, 1.2), rng.random() < 0.4, rng.uniform(0.12, 0.3) * radius
    free = 1.0 if marked else 162 / (75 * spokes)
    axles = (-long * 0.62, long * 0.62) if radius > 9 or rng.random() < 0.7 else (-long * 0.7, 0.0, long * 0.7)

    def wheel(x: float) -> list[Shape]:
        found = [Shape(oval(radius, radius), 0, (x, high), dark, free)]
        for k in range(spokes):
            spoke = slab(radius * 0.9, thin, thin) @ _turn(360 * k / spokes)
            paint = 4 if marked and k == 0 else 5 if pale else dark
            found.append(Shape(spoke, -2 - k, (0, 0), paint, 0.0))
        return [*found, Shape(oval(hub, hub), -2 - spokes, (0, 0), 5, 0.0)]

    return _ordered(
        [Shape(slab(long * 0.5, 2.5, 2) @ _turn(-70), 0, (long - 3, high - 6), 3, 0.6)],
        [Shape(block(-long, -high, long, high, rng.uniform(-5, 5)), -1, (0, 0), 0, 0.12)],
        [Shape(block(-long * 0.7, -14, 0, 0, 3), 0, (0, -high + 1), 1, 0.15), *(s for x in axles for s in wheel(x))],
    )


RIGS: dict[str, Callable[[np.random.Generator], list[Shape]]] = {
    "robot": robot, "fish": fish, "digger": digger, "plant": plant, "hound": hound, "crane": crane,
    "puppet": puppet, "strider": strider, "pony": pony, "cart": cart,
}  # fmt: skip
MIXED = ("robot", "fish", "digger", "plant", "hound", "crane")


@dataclass(frozen=True)
class Pose:
    x: float
    y: float
    scale: float
    squash: float
    angles: np.ndarray


def half_way(first: Pose, last: Pose, t: float = 0.5) -> Pose:
    mix = lambda a, b: a + t * (b - a)  # noqa: E731
    return Pose(*(mix(getattr(first, n), getattr(last, n)) for n in ("x", "y", "scale", "squash", "angles")))


def _matrices(shapes: list[Shape], pose: Pose) -> list[np.ndarray]:
    out: dict[int, np.ndarray] = {}

    def matrix(k: int) -> np.ndarray:
        if k not in out:
            own = np.eye(3)
            own[:2, :2] = _turn(math.degrees(pose.angles[k])).T
            if shapes[k].parent < 0:
                own[:2, :2] = own[:2, :2] @ np.diag([pose.scale * pose.squash, pose.scale / pose.squash])
                own[:2, 2] = pose.x, pose.y
                out[k] = own
            else:
                own[:2, 2] = shapes[k].joint
                out[k] = matrix(shapes[k].parent) @ own
        return out[k]

    return [matrix(k) for k in range(len(shapes))]


@dataclass(frozen=True)
class Figure:
    shapes: list[Shape]
    paints: list[tuple[int, int, int]]
    first: Pose
    last: Pose
    width: float


@dataclass(frozen=True)
class Drawing:
    """The content of one triplet."""

    figures: list[Figure]
    ground: tuple[int, int, int] | None
    band: tuple[int, int, int] | None
    ink: tuple[int, int, int]
    aliased: bool
    size: tuple[int, int]
    scaled_by: str = "mean"

    def at(self, t: float) -> np.ndarray:
        """RGBA (H, W, 4) uint8 at time t."""
        width, height = self.size
        k = OVERSAMPLE
        board = np.zeros((height * k, width * k, 4), np.uint8)
        if self.ground is not None:
            board[:] = (*self.ground, 255)
            if self.band is not None:
                board[int(height * 0.86) * k :] = (*self.band, 255)
        for figure in self.figures:
            pose = half_way(figure.first, figure.last, t)
            for shape, paint, matrix in zip(figure.shapes, figure.paints, _matrices(figure.shapes, pose), strict=True):
                points = (shape.outline @ matrix[:2, :2].T + matrix[:2, 2]) * k
                corners = np.rint(points * 16).astype(np.int32)[None]
                cv2.fillPoly(board, corners, (*paint, 255), shift=4)
                if figure.width:
                    cv2.polylines(board, corners, True, (*self.ink, 255), max(1, round(figure.width * k)), shift=4)
        if self.aliased:
            return board[k // 2 :: k, k // 2 :: k].copy()
        if self.scaled_by != "mean":
            return np.array(Image.fromarray(board).resize(self.size, FILTERS[self.scaled_by]))
        flat = board.astype(np.float32)
        flat[..., :3] *= flat[..., 3:] / 255
        small = flat.reshape(height, k, width, k, 4).mean((1, 3))
        colour = small[..., :3] / np.maximum(small[..., 3:] / 255, 1e-6)
        return np.rint(np.concatenate([colour, small[..., 3:]], 2)).clip(0, 255).astype(np.uint8)


def drawing(
    seed: int, level: str, size: tuple[int, int] = (320, 200), rigs: Sequence[str] = MIXED, scaled_by: str = "mean"
) -> Drawing:
    """The drawing of a seed at a level of `LEVELS`, with figures from `rigs`, scaled down by one of `FILTERS`."""
    rng = np.random.default_rng([seed, *level.encode()])
    clear = rng.random() < 0.5
    ground = None if clear else GROUNDS[rng.integers(len(GROUNDS))]
    band = None if clear or rng.random() < 0.5 else tuple(int(0.6 * c) for c in ground or ())
    count = 1 if rng.random() < 0.8 else 2
    width = float(rng.choice(WIDTHS, p=(0.1, 0.2, 0.35, 0.35)))
    figures = [_figure(rng, level, size, width, place, count, rigs) for place in range(count)]
    return Drawing(figures, ground, band, INKS[rng.integers(len(INKS))], rng.random() < 0.12, size, scaled_by)  # type: ignore[arg-type]


def _figure(
    rng: np.random.Generator,
    level: str,
    size: tuple[int, int],
    width: float,
    place: int,
    count: int,
    rigs: Sequence[str],
) -> Figure:
    shapes = RIGS[rigs[int(rng.integers(len(rigs)))]](rng)
    order = rng.permutation(len(PAINTS))
    paints = [PAINTS[order[n]] if (n := shape.paint) < len(PAINTS) else DARKS[n - len(PAINTS)] for shape in shapes]
    (low, high), (least, most) = LEVELS[level]
    shift, turn = rng.uniform(low, high), math.radians(rng.uniform(least, most))
    across = rng.uniform(-0.25, 0.25)
    way = np.array([math.cos(across), math.sin(across)]) * shift * rng.choice((-1, 1))
    middle = np.array([size[0] * (place + 1) / (count + 1), size[1] * 0.5]) + rng.uniform(-8, 8, 2)
    scale = rng.uniform(0.8, 1.1) * (0.8 if count > 1 else 1.0)
    rest = np.array([rng.uniform(-0.3, 0.3) * shape.freedom for shape in shapes])
    move = np.array([rng.uniform(-1, 1) * shape.freedom for shape in shapes])
    move *= turn / max(np.abs(move).max(), 1e-6)
    growth = rng.uniform(0.92, 1.09) if rng.random() < 0.6 else 1.0
    squash = rng.uniform(0.95, 1.05) if rng.random() < 0.5 else 1.0
    first = Pose(*(middle - way / 2), scale, 1.0, rest - move / 2)
    last = Pose(*(middle + way / 2), scale * growth, squash, rest + move / 2)
    return Figure(shapes, paints, first, last, width)


def triplets(
    seeds: range, level: str, rigs: Sequence[str] = MIXED, scaled_by: str = "mean"
) -> list[tuple[str, np.ndarray]]:
    """(name, (3, H, W, 4) uint8) for every seed."""
    drawings = {f"{level}_{seed:03}": drawing(seed, level, rigs=rigs, scaled_by=scaled_by) for seed in seeds}
    return [(name, np.stack([one.at(t) for t in (0.0, 0.5, 1.0)])) for name, one in drawings.items()]
