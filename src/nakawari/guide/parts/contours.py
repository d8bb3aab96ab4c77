"""Outlines of regions, and the registration of one outline to another with partial occlusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from scipy.spatial import cKDTree

Freedom = Literal["shift", "rigid", "alike", "affine"]
"""Degrees of freedom of a motion: translation; plus rotation; plus scale; plus squash and shear."""
SPACING = 0.8
"""Pixels between the points of an outline."""
MOST_POINTS = 160
FEW_POINTS = 50
SCALES = (6.0, 4.0, 3.0, 2.0, 1.5, 1.0, 0.8, 0.6, 0.5, 0.5)
"""Distance in pixels, per iteration, at which a pair of points has half its weight."""
PIN = 0.3
"""Cost per pixel between the pivot of a joint and the contact of the outlines."""
HIT = 0.9
"""Distance in pixels within which points with similar normals agree."""


@dataclass(frozen=True)
class Outline:
    """A region's border.

    Args:
        points: (N, 2) x and y in pixels.
        normals: (N, 2) outward.
        weights: (N,) probability that a point is on the region's own border and not on that of a covering region.
    """

    points: np.ndarray
    normals: np.ndarray
    weights: np.ndarray

    @cached_property
    def centre(self) -> np.ndarray:
        return self.points.mean(0)

    @cached_property
    def size(self) -> float:
        """Root mean square distance to the centre, pixels; next to nothing without points."""
        if len(self.points) == 0:
            return 1e-6
        return float(np.sqrt(((self.points - self.centre) ** 2).sum(1).mean())) + 1e-6

    @cached_property
    def coarse(self) -> Outline:
        """The outline with fewer points, for initial estimates."""
        step = max(1, math.ceil(len(self.points) / FEW_POINTS))
        return self if step == 1 else Outline(self.points[::step], self.normals[::step], self.weights[::step])

    def some(self, which: np.ndarray) -> Outline:
        """The points selected by `which` (N,) bool."""
        return Outline(self.points[which], self.normals[which], self.weights[which])

    @cached_property
    def _trees(self) -> dict[float, cKDTree]:
        return {}

    def nearest(self, points: np.ndarray, normals: np.ndarray, reach: float) -> np.ndarray:
        """Index of the nearest own point in position and direction; `reach` is the distance equivalent to a right
        angle."""
        if reach not in self._trees:
            self._trees[reach] = cKDTree(np.concatenate([self.points, self.normals * reach], 1))
        return self._trees[reach].query(np.concatenate([points, normals * reach], 1))[1]


def joined(outlines: Sequence[Outline]) -> Outline:
    """Several outlines as one; at least one."""
    parts = ((one.points, one.normals, one.weights) for one in outlines)
    return Outline(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def outline_of(mask: np.ndarray, offset: tuple[int, int], fine: int, limits: tuple[int, int]) -> Outline:
    """The outline of a mask (h, w) bool of subpixels at `offset` (x, y) in a picture of `limits` (w, h).

    Points on the picture's border are excluded, as the region may continue beyond it.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    curves, _ = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    points, normals = [], []
    for curve in curves:
        path = curve[:, 0].astype(np.float64)
        if len(path) < 2 * fine:
            continue
        smooth = _smoothed(path, 1.0 * fine)
        tangent = np.roll(smooth, -1, 0) - np.roll(smooth, 1, 0)
        length = np.linalg.norm(tangent, axis=1, keepdims=True)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / np.maximum(length, 1e-9)
        step = max(1, round(SPACING * fine))
        points.append((smooth[::step] - 1 + np.array(offset) + 0.5) / fine)
        normals.append(normal[::step])
    if not points:
        return Outline(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    place, way = np.concatenate(points), np.concatenate(normals)
    inner = ((place > 1.0) & (place < np.array(limits) / fine - 1.0)).all(1)
    place, way = place[inner], way[inner]
    step = math.ceil(len(place) / MOST_POINTS) if len(place) else 1
    return Outline(place[::step], way[::step], np.ones(len(place[::step])))


def _smoothed(path: np.ndarray, sigma: float) -> np.ndarray:
    reach = int(2 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    count = len(path)
    index = (np.arange(-reach, count + reach)) % count
    wrapped = path[index]
    return np.stack([np.convolve(wrapped[:, k], kernel, "valid") for k in (0, 1)], 1)


def mapped(motion: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 2) moved by a motion (3, 3)."""
    return points @ motion[:2, :2].T + motion[:2, 2]


def turned(motion: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Unit normals (N, 2) turned by a motion (3, 3)."""
    way = normals @ np.linalg.inv(motion[:2, :2])
    return way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)


def rotation(angle: float, about: np.ndarray) -> np.ndarray:
    """(3, 3): a rotation by an angle in radians about a point."""
    c, s = math.cos(angle), math.sin(angle)
    out = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    out[:2, 2] = about - out[:2, :2] @ about
    return out


def shifted(by: np.ndarray) -> np.ndarray:
    """(3, 3): a translation by (2,)."""
    out = np.eye(3)
    out[:2, 2] = by
    return out


def fit(
    first: Outline,
    last: Outline,
    start: np.ndarray,
    freedom: Freedom,
    scales: tuple[float, ...] = SCALES,
    hold: float = 0.02,
) -> np.ndarray:
    """The motion (3, 3) that maps one outline to the other, by iterative closest points from `start`.

    Pairs are formed in both directions: points of the first near the last, and points of the last near the first.
    Distant points, such as those hidden in one drawing, get little weight. `hold` regularises rotation and scale
    towards those of `start` where the outlines do not determine them (a circle).
    """
    motion = start.copy()
    size = max(first.size, 3.0)
    total = np.zeros(len(_BASIS[freedom]))
    for scale in scales:
        place, normal, apart, weight = pairs(first, last, motion, scale)
        centre = place[: len(first.points)].mean(0)
        rows = basis(freedom, (place - centre) / size, normal)
        square = rows.T @ (rows * weight[:, None])
        damp = np.full(rows.shape[1], 1e-3)
        damp[2:] = hold
        damp = damp * (weight.sum() * 0.5 + 1e-3)
        side = rows.T @ (weight * apart) - np.where(np.arange(len(damp)) >= 2, damp * total, 0.0)
        step = np.linalg.solve(square + np.diag(damp), side)
        most = np.array([3 * scale, 3 * scale, *[0.35 * size] * (len(step) - 2)])
        step = step.clip(-most, most)
        total += step
        motion = stepped(freedom, step, centre, size) @ motion
    return motion


def pairs(
    first: Outline, last: Outline, motion: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nearest points of two outlines under a motion, in both directions.

    Returns:
        Per pair: the moved point of the first (N, 2), the last's normal (N, 2), the signed distance in pixels along
        it (N,), and the weight of the pair (N,): a half at `scale` pixels.
    """
    reach = max(2.0 * scale, 2.0)
    moved, ways = mapped(motion, first.points), turned(motion, first.normals)
    ahead = last.nearest(moved, ways, reach)
    back = np.linalg.inv(motion)
    behind = first.nearest(mapped(back, last.points), turned(back, last.normals), reach)
    place = np.concatenate([moved, moved[behind]])
    way = np.concatenate([ways, ways[behind]])
    normal = np.concatenate([last.normals[ahead], last.normals])
    gap = np.concatenate([last.points[ahead], last.points]) - place
    alike = np.maximum((way * normal).sum(1), 0.0)
    own = np.concatenate([first.weights * last.weights[ahead], first.weights[behind] * last.weights])
    weight = own * alike**2 / (1 + (gap**2).sum(1) / scale**2) ** 2
    return place, normal, (gap * normal).sum(1), weight


_BASIS: dict[str, tuple[str, ...]] = {
    "shift": ("x", "y"), "rigid": ("x", "y", "turn"), "alike": ("x", "y", "turn", "grow"),
    "affine": ("x", "y", "turn", "grow", "squash", "shear"),
}  # fmt: skip


def basis(freedom: Freedom, at: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """(N, K): displacement of points at `at` (N, 2) by each degree of freedom, in units of the size, along their
    normals (N, 2)."""
    x, y, nx, ny = at[:, 0], at[:, 1], normal[:, 0], normal[:, 1]
    columns = [nx, ny, ny * x - nx * y, nx * x + ny * y, nx * x - ny * y, nx * y + ny * x]
    return np.stack(columns[: len(_BASIS[freedom])], 1)


def stepped(freedom: Freedom, step: np.ndarray, centre: np.ndarray, size: float) -> np.ndarray:
    """(3, 3): a small motion about `centre`; `step` in pixels, after the translation in pixels at distance `size`."""
    turn, grow, squash, shear = [*step[2:] / size, 0.0, 0.0, 0.0, 0.0][:4]
    linear = rotation(turn, np.zeros(2))[:2, :2] @ np.array([[1 + grow + squash, shear], [shear, 1 + grow - squash]])
    out = np.eye(3)
    out[:2, :2] = linear
    out[:2, 2] = centre - linear @ centre + step[:2]
    return out


def agreement(first: Outline, last: Outline, motion: np.ndarray) -> tuple[float, float]:
    """Shares of the first outline's points that map to the last, and of the last's that come from the first."""
    moved, ways = mapped(motion, first.points), turned(motion, first.normals)
    ahead = last.nearest(moved, ways, 2.0)
    back = np.linalg.inv(motion)
    origin, sources = mapped(back, last.points), turned(back, last.normals)
    behind = first.nearest(origin, sources, 2.0)
    grown = math.sqrt(abs(np.linalg.det(motion[:2, :2])))
    hit = _hits(moved, ways, last.points[ahead], last.normals[ahead], HIT)
    back_hit = _hits(origin, sources, first.points[behind], first.normals[behind], HIT / max(grown, 0.2))
    return float(np.average(hit, weights=first.weights)), float(np.average(back_hit, weights=last.weights))


def _hits(a: np.ndarray, na: np.ndarray, b: np.ndarray, nb: np.ndarray, reach: float) -> np.ndarray:
    gap = a - b
    return (np.abs((gap * nb).sum(1)) < reach) & ((gap**2).sum(1) < (2.5 * reach) ** 2) & ((na * nb).sum(1) > 0.75)


def joint_gap(one: np.ndarray, two: np.ndarray, contacts: np.ndarray, hulls: Sequence[np.ndarray] = ()) -> float:
    """Pixels by which two motions separate a joint that lies at or near the contacts (N, 2), or within the hulls.

    Either a contact moves equally with both, or one rotates relative to the other about a point near the contacts: the
    pivot of an overlapping joint lies inside a limb, half its width from where the outlines meet, or behind a body.
    """
    apart = float(np.linalg.norm(mapped(one, contacts) - mapped(two, contacts), axis=1).min())
    own = np.linalg.inv(one) @ two
    turn = abs(math.atan2(own[1, 0] - own[0, 1], own[0, 0] + own[1, 1]))
    if turn < 0.1:
        return apart
    pin = np.linalg.solve(own[:2, :2] - np.eye(2), -own[:2, 2])
    away = float(np.linalg.norm(contacts - pin, axis=1).min())
    spot = (float(np.clip(pin[0], -1e5, 1e5)), float(np.clip(pin[1], -1e5, 1e5)))
    within = any(len(hull) and cv2.pointPolygonTest(hull, spot, False) >= 0 for hull in hulls)
    return min(apart, PIN * away * (0.3 if within else 1.0))
