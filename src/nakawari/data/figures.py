"""The figures of synthetic scenes: faces, jointed people, winged and swimming animals, objects, icons and words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .motion import Arc, Curve, Mover, Placement, at, hold
from .scene import Bend, Morph, Part, Stage
from .sprites import Brush, Colour, Points, Texture, box, ellipse, fill, lettering, limb, random_outline, smooth, stroke

WHITE: Colour = (250.0, 250.0, 250.0)
BLACK: Colour = (25.0, 20.0, 30.0)


@dataclass
class Cast:
    """The common inputs of all figures: stage, brush, colours and movements."""

    stage: Stage
    brush: Brush
    colours: list[Colour]
    mover: Mover
    rng: np.random.Generator
    depth: float = 1.0

    def colour(self) -> Colour:
        return self.colours[int(self.rng.integers(len(self.colours)))]

    def put(
        self, texture: Texture, where: Placement, parent: int | None = None, deform: Bend | Morph | None = None
    ) -> int:
        return self.stage.add(Part(texture, where, parent, self.depth, deform=deform))

    def shape(self, outline: Points, colour: Colour, where: Placement, parent: int | None = None) -> int:
        return self.put(fill(outline, self.brush, colour), where, parent)

    def pattern(self) -> str:
        return str(self.rng.choice(["plain", "stripes", "spots"], p=[0.7, 0.15, 0.15]))


def root(cast: Cast, x: float, y: float, turn: float = 0.3) -> Placement:
    """The movement of a whole figure: travel, some turning, squash and stretch, growing or shrinking."""
    mover = cast.mover
    wide, tall = mover.squash(0.3)
    if cast.rng.random() < 0.25:
        first, last = np.exp(cast.rng.uniform(-0.35, 0.35, 2) * mover.liveliness)
        wide = tall = Curve(float(first), float(last), mover.ease())
    travels = cast.rng.random() < 0.8
    return Placement(mover.arc(x, y) if travels else at(x, y), mover.curve(0.0, turn, 0.5), wide, tall)


def face(cast: Cast, x: float, y: float, size: float, parent: int | None = None) -> None:
    """A round or blobby head whose features slide, blink and speak."""
    rng, mover = cast.rng, cast.mover
    outline = random_outline(rng, size) if rng.random() < 0.2 else ellipse(size, size * rng.uniform(0.8, 1.1))
    where = root(cast, x, y) if parent is None else Placement(at(x, y), mover.curve(0.0, 0.5, 0.6))
    head = cast.shape(outline, cast.colour(), where, parent)
    look = mover.arc(0.0, 0.0, 0.35 * size) if rng.random() < 0.6 else at(0.0, 0.0)
    blink = mover.curve(0.75, 0.4, 0.4)
    gap, radius = rng.uniform(0.25, 0.45) * size, rng.uniform(0.1, 0.24) * size
    white = rng.random() < 0.6
    for side in (-1, 1):
        eye = Placement(_moved(look, side * gap, -0.15 * size), stretch_y=blink)
        socket = cast.shape(ellipse(radius, radius * 1.15, 24), WHITE if white else BLACK, eye, head)
        if white:
            pupil = Placement(mover.arc(0.0, 0.0, 0.6 * radius))
            cast.put(fill(ellipse(0.5 * radius, 0.55 * radius, 16), cast.brush, BLACK), pupil, socket)
        if rng.random() < 0.4:
            brow = box(1.6 * radius, 0.3 * radius, 0.9)
            tilt = mover.curve(side * rng.uniform(-0.4, 0.4), 0.5)
            cast.shape(brow, BLACK, Placement(_moved(look, side * gap, -0.15 * size - 1.6 * radius), tilt), head)
    mouth = Placement(_moved(look, 0.0, 0.42 * size), stretch_x=mover.curve(1.0, 0.4), stretch_y=mover.curve(0.8, 0.7))
    lips = ellipse(0.3 * size, 0.16 * size, 24)
    if rng.random() < 0.5:
        lips[:, 1] = np.abs(lips[:, 1]) * 1.3
    cast.shape(lips, (120.0, 30.0, 45.0), mouth, head)


def _moved(arc: Arc, x: float, y: float) -> Arc:
    return Arc(tuple((px + x, py + y) for px, py in arc.control), arc.ease)  # type: ignore[arg-type]


def person(cast: Cast, x: float, y: float, size: float) -> None:
    """A jointed cut-out: upper and lower arms and legs turn about their pivots."""
    rng = cast.rng
    skin, shirt, trousers = cast.colour(), cast.colour(), cast.colour()
    width = rng.uniform(0.14, 0.24) * size
    torso_shape = limb(0.55 * size, 0.42 * size, rng.uniform(0.6, 1.3)) - (0.0, 0.3 * size)
    # the far arm and the legs are drawn before the body, so an empty pivot part is their parent
    pivot = cast.put(_nothing(cast.brush), root(cast, x, y, 0.2))
    _limb(cast, pivot, (0.17 * size, -0.24 * size), 0.38 * size, width, shirt, skin, -0.3)
    for side in (-1, 1):
        _limb(cast, pivot, (side * 0.12 * size, 0.3 * size), 0.42 * size, width * 1.15, trousers, trousers, 0.0)
    cast.put(fill(torso_shape, cast.brush, shirt, cast.pattern()), Placement(at(0.0, 0.0)), pivot)
    face(cast, 0.0, -0.68 * size, rng.uniform(0.26, 0.4) * size, pivot)
    _limb(cast, pivot, (-0.17 * size, -0.24 * size), 0.38 * size, width, shirt, skin, 0.3)


def _nothing(brush: Brush) -> Texture:
    return Texture(np.zeros((2, 2, 4), np.float32), (1.0, 1.0), brush.resolution)


def _limb(
    cast: Cast,
    parent: int,
    joint: tuple[float, float],
    length: float,
    width: float,
    upper: Colour,
    lower: Colour,
    rest: float,
) -> None:
    first = Placement(at(*joint), cast.mover.curve(rest, 0.9))
    shoulder = cast.shape(limb(length, width), upper, first, parent)
    second = Placement(at(0.0, length), cast.mover.curve(rest, 1.0))
    elbow = cast.shape(limb(0.9 * length, 0.85 * width), lower, second, shoulder)
    cast.shape(ellipse(0.65 * width, 0.55 * width, 20), lower, Placement(at(0.0, 0.95 * length)), elbow)


def creature(cast: Cast, x: float, y: float, size: float) -> None:
    """A body with a waving tail, flapping wings or fins, or many legs."""
    rng, mover = cast.rng, cast.mover
    colour, second = cast.colour(), cast.colour()
    pivot = cast.put(_nothing(cast.brush), root(cast, x, y))
    tail = smooth(np.array([[-0.12, 0.0], [-0.45, 1.0], [0.0, 0.8], [0.45, 1.0], [0.12, 0.0]]) * size, rounds=2)
    bend = Bend(size, mover.curve(0.0, 0.35), 2.0, mover.curve(0.0, 1.5))
    spot = Placement(at(-0.6 * size, 0.0), hold(math.pi / 2))
    cast.put(fill(tail, cast.brush, second), spot, pivot, bend)
    if rng.random() < 0.5:
        for k in range(int(rng.integers(2, 5))):
            foot = limb(rng.uniform(0.4, 0.8) * size, 0.16 * size)
            swing = mover.curve(rng.uniform(-0.2, 0.2), 0.8)
            cast.shape(foot, second, Placement(at((k / 2 - 0.6) * size, 0.35 * size), swing), pivot)
    cast.put(fill(ellipse(0.9 * size, 0.6 * size), cast.brush, colour, cast.pattern()), Placement(at(0, 0)), pivot)
    if rng.random() < 0.6:
        wing = smooth(np.array([[-0.2, 0.0], [0.3, 0.0], [0.1, -1.2], [-0.7, -1.0]]) * size, rounds=3)
        flap = Placement(at(0.0, -0.2 * size), mover.curve(0.0, 1.0), stretch_y=mover.curve(0.7, 0.6))
        cast.shape(wing, second, flap, pivot)
    face(cast, 0.75 * size, -0.3 * size, 0.5 * size, pivot)


def thing(cast: Cast, x: float, y: float, size: float) -> None:
    """One outline that may bend, breathe or spin, often with smaller shapes fixed to it or turning on it."""
    rng, mover = cast.rng, cast.mover
    outline = random_outline(rng, size)
    deform: Bend | Morph | None = None
    chance = rng.random()
    if chance < 0.25:
        amounts = tuple(mover.curve(0.0, 0.16 / k) for k in range(1, 4))
        deform = Morph(amounts, tuple(rng.uniform(0, 2 * np.pi, 3).tolist()))
    elif chance < 0.45:
        waves = float(rng.choice([0.0, rng.uniform(1.5, 4.0)]))
        deform = Bend(size, mover.curve(0.0, 0.3), waves, mover.curve(0.0, 2.0))
    spin = 2.5 if rng.random() < 0.3 else 0.4
    body = cast.put(fill(outline, cast.brush, cast.colour(), cast.pattern()), root(cast, x, y, spin), deform=deform)
    if deform is not None:
        return
    if rng.random() < 0.25:
        face(cast, 0.0, 0.0, 0.55 * size, body)
        return
    for _ in range(int(rng.integers(0, 4))):
        px, py = rng.uniform(-0.5, 0.5, 2) * size
        own = mover.arc(px, py, 0.4 * size) if rng.random() < 0.4 else at(px, py)
        where = Placement(own, mover.curve(0.0, 1.5, 0.5))
        cast.shape(random_outline(rng, size * rng.uniform(0.12, 0.4)), cast.colour(), where, body)


def vehicle(cast: Cast, x: float, y: float, size: float) -> None:
    """A body on turning wheels; what rolls turns as far as it travels."""
    rng, mover = cast.rng, cast.mover
    reach = mover.reach * rng.uniform(0.4, 1.0) * rng.choice([-1.0, 1.0])
    ease = mover.ease()
    path = Arc(((x - reach / 2, y), (x, y), (x + reach / 2, y)), ease)
    body = cast.put(fill(box(2 * size, 0.7 * size, 0.5), cast.brush, cast.colour(), cast.pattern()), Placement(path))
    cabin = box(1.1 * size, 0.6 * size, 0.6)
    cast.shape(cabin, cast.colour(), Placement(at(-0.1 * size, -0.55 * size)), body)
    radius = rng.uniform(0.2, 0.32) * size
    for side in (-0.6, 0.6):
        roll = Curve(0.0, reach / radius, ease)
        wheel = cast.shape(ellipse(radius, radius), BLACK, Placement(at(side * size, 0.38 * size), roll), body)
        cast.shape(box(1.3 * radius, 0.3 * radius), WHITE, Placement(at(0.0, 0.0)), wheel)


def icon(cast: Cast, x: float, y: float, size: float) -> None:
    """A line drawing of a few strokes that move on their own and may draw themselves."""
    rng, mover = cast.rng, cast.mover
    pivot = cast.put(_nothing(cast.brush), root(cast, x, y))
    width, colour = rng.uniform(0.06, 0.2) * size, cast.colour()
    for _ in range(int(rng.integers(2, 6))):
        line = _line(rng, size)
        centre = line.mean(0)
        own = mover.arc(*centre, 0.4 * size) if rng.random() < 0.5 else at(*centre)
        if rng.random() < 0.2:
            colour = cast.colour()
        texture = stroke(line - centre, cast.brush, width, colour)
        where = Placement(own, mover.curve(0.0, 0.8, 0.5))
        reveal = Curve(*rng.uniform(0.0, 1.3, 2).tolist(), mover.ease()) if rng.random() < 0.35 else None
        cast.stage.add(Part(texture, where, pivot, cast.depth, reveal=reveal))


def _line(rng: np.random.Generator, size: float) -> Points:
    kind = rng.integers(4)
    if kind == 0:
        outline = random_outline(rng, size * rng.uniform(0.4, 1.0))
        return np.concatenate([outline, outline[:1]])
    if kind == 1:
        angle = np.linspace(0, rng.uniform(1.5, 5.5), 24) + rng.uniform(0, 6)
        return size * rng.uniform(0.3, 1.0) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = rng.uniform(-size, size, (int(rng.integers(2, 5)), 2))
    return points if kind == 2 else smooth(points, closed=False, rounds=3)


def words(cast: Cast, x: float, y: float, size: float) -> None:
    """A line of letters, moved whole or letter by letter."""
    rng = cast.rng
    letters = rng.choice(list("ABCDEFGHKLMNOPRSTUVXYZabdeghkmnrst0123456789!?&"), int(rng.integers(1, 8)))
    bold = rng.uniform(0.06, 0.3)
    colour = cast.colour()
    pivot = cast.put(_nothing(cast.brush), root(cast, x, y, 0.15))
    if rng.random() < 0.5:
        cast.put(lettering("".join(letters), cast.brush, size, colour, bold), Placement(at(0.0, 0.0)), pivot)
        return
    for k, letter in enumerate(letters):
        texture = lettering(str(letter), cast.brush, size, colour, bold)
        px = (k - (len(letters) - 1) / 2) * size * 1.05
        wide, tall = cast.mover.squash(0.4)
        own = cast.mover.arc(px, 0.0, 0.5 * size)
        cast.put(texture, Placement(own, cast.mover.curve(0.0, 0.4, 0.5), wide, tall), pivot)


def sparks(cast: Cast, x: float, y: float, size: float) -> None:
    """Small bits that fly apart, fall or fade: rain, confetti, smoke, bubbles."""
    rng, mover = cast.rng, cast.mover
    colour, ease = cast.colour(), mover.ease()
    fall = rng.random() < 0.4
    outline = random_outline(rng, size * rng.uniform(0.12, 0.35)) if rng.random() < 0.6 else ellipse(0.03, 0.03)
    texture = fill(outline, cast.brush, colour)
    for _ in range(int(rng.integers(4, 14))):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.2) * size
        px, py = x + distance * math.cos(angle), y + distance * math.sin(angle)
        if fall:
            goal = (px, py + mover.reach)
        else:
            goal = (px + mover.reach * math.cos(angle), py + mover.reach * math.sin(angle))
        middle = ((px + goal[0]) / 2, (py + goal[1]) / 2)
        fade = Curve(*rng.uniform(0.3, 1.0, 2).tolist(), ease) if rng.random() < 0.3 else hold(1.0)
        where = Placement(Arc(((px, py), middle, goal), ease), mover.curve(0.0, 1.0, 0.5))
        cast.stage.add(Part(texture, where, None, cast.depth, fade))


FIGURES = (face, person, creature, thing, vehicle, icon, words, sparks)
CHANCES = (0.2, 0.17, 0.14, 0.22, 0.05, 0.12, 0.05, 0.05)
