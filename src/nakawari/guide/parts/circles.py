"""Discs in a key: round outlines with something drawn in them."""

from __future__ import annotations

import math

import cv2
import numpy as np

from .discs import Disc
from .regions import Cel

LEAST, MOST = 5, 40
"""Radii of discs in pixels."""
EDGE = 48.0
"""Minimum gradient of an edge, four times its levels."""
ROUND = 0.4
"""Minimum share of a circle along which there are edges."""
RAYS = 72
SEEN = 0.75
"""Minimum share of the rays from a disc's centre on which its border is; on the others something touches it."""
NEAR = 2.5
"""Maximum distance in pixels of the border from the circle."""
OFF = 0.4
"""Maximum distance in pixels of the border on such a ray from an ellipse; twice that in an aliased drawing."""
OVAL = 1.2
"""Maximum ratio of the sides of a disc."""
OUTER = 5.0
"""How many times as much of the surroundings as of the inside an area takes that ends at the border."""
LITTLE = 0.02
"""Least share that an area takes of the surroundings or of the inside of a disc."""
INNER = 0.85
"""Share of the radius within which a disc's inside lies, without its rim."""
BEYOND, OUT = 1.5, 0.03
"""Pixels from the border outwards, and the maximum share of an area in a disc that lies beyond them."""
LARGE = 0.05
"""Share of a disc's inside from which an area has to lie in it."""
SEVERAL = 3
"""Minimum number of areas in a disc: what is no more than a thing on another is drawn as such."""
TWIN = 1.1
"""Maximum ratio of the radii of two wheels of one thing."""
LINED = 0.65
"""Share of a disc's inside from which lines fill it."""


def discs_in(picture: np.ndarray, cel: Cel) -> list[Disc]:
    """The discs with something in them in a key, premultiplied (H, W, 4); none lies in another."""
    found: list[Disc] = []
    other: list[Disc] = []
    sizes = np.bincount(cel.labels.ravel(), minlength=len(cel.paints))
    for centre, radius in _circles(picture):
        if any(disc.inside(centre) for disc in found):
            continue
        disc = _fitted(cel, centre, radius)
        if disc is not None:
            several, closed = _full(cel, disc, sizes)
            if closed:
                (found if several else other).append(disc)
    # between bold spokes little is left, and not of every wheel as much
    for disc in other if cel.bold else []:
        twin = any(max(disc.radius, one.radius) < TWIN * min(disc.radius, one.radius) for one in found)
        if twin and not any(one.inside(disc.centre) for one in found):
            found.append(disc)
    return found


def _circles(picture: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Centres (2,) and radii of circles along which there are edges, the largest first: every edge votes for the
    centres that lie straight across it."""
    height, width = picture.shape[:2]
    dx, dy = (cv2.Sobel(picture, cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))
    size = np.hypot(dx, dy)
    most = size.argmax(2)[..., None]
    dx, dy, size = (np.take_along_axis(of, most, 2)[..., 0] for of in (dx, dy, size))
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    across = dx / np.maximum(size, 1), dy / np.maximum(size, 1)
    beside = [cv2.remap(size, x + k * across[0], y + k * across[1], cv2.INTER_LINEAR) for k in (-1, 1)]
    rows, columns = np.nonzero((size > EDGE) & (size >= beside[0]) & (size > beside[1]))
    way = np.stack([of[rows, columns] for of in across], 1)
    radii = np.arange(LEAST, min(MOST, min(height, width) // 3) + 1)
    found = []
    for radius in radii[::-1]:
        at = np.concatenate([np.stack([columns, rows], 1) + sign * radius * way for sign in (-1, 1)])
        x, y = np.rint(at).astype(np.int32).T
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        votes = np.bincount(y[inside] * width + x[inside], minlength=height * width).reshape(height, width)
        votes = cv2.boxFilter(votes.astype(np.float32), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for place in np.flatnonzero(votes >= ROUND * 2 * math.pi * radius):
            row, column = divmod(int(place), width)
            if votes[row, column] == votes[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3].max():
                found.append((np.array([column + 0.5, row + 0.5]), float(radius)))
    return found


def _fitted(cel: Cel, centre: np.ndarray, radius: float) -> Disc | None:
    """The disc about a circle, from the outer side of its border; None if there is none."""
    angle = np.arange(RAYS) * 2 * math.pi / RAYS
    way = np.stack([np.cos(angle), np.sin(angle)], 1)
    steps = np.arange(0.5 * radius, radius + 3, 0.5 / cel.fine)
    labels = _labels_at(cel, centre + steps[:, None, None] * way)
    shares = [
        np.bincount(labels[which].ravel(), minlength=len(cel.paints)) / which.sum() / RAYS
        for which in (steps < 0.8 * radius, steps > radius + 1.5)
    ]
    beyond = (shares[1] > OUTER * shares[0]) & (shares[1] > LITTLE)
    outer = beyond[labels] & (labels < cel.areas)
    # the border: nothing of the outside for half a pixel before it, nothing else for half a pixel behind it
    run = cel.fine
    around = np.lib.stride_tricks.sliding_window_view(outer, 2 * run, axis=0)
    enters = ~around[..., :run].any(2) & around[..., run:].all(2)
    enters &= np.abs(steps[run : run + len(enters), None] - radius) < NEAR
    seen = enters.any(0)
    if seen.mean() < SEEN:
        return None
    reach = steps[run:][enters.argmax(0)]
    return _oval(reach[seen, None] * way[seen], centre, 2 * OFF if cel.hard else OFF)


def _oval(points: np.ndarray, centre: np.ndarray, most: float) -> Disc | None:
    """The disc about points (N, 2) around a centre, without those that are `most` pixels off; None if they are many."""
    good = np.ones(len(points), bool)
    for _ in range(3):
        x, y = points[good].T
        rows = np.stack([x * x, 2 * x * y, y * y, x, y], 1)
        a, b, c, d, e = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
        square = np.array([(a, b), (b, c)])
        if np.linalg.eigvalsh(square)[0] <= 0:
            return None
        middle = -0.5 * np.linalg.solve(square, (d, e))
        values, vectors = np.linalg.eigh(square / (1 + middle @ square @ middle))
        disc = Disc(centre + middle, (vectors / np.sqrt(values)) @ vectors.T)
        off = np.abs(np.linalg.norm((points - middle) @ np.linalg.inv(disc.shape), axis=1) - 1) * disc.radius
        good = off < most
        if good.sum() < SEEN * RAYS:
            return None
    return disc if values[1] < OVAL**2 * values[0] else None


def _labels_at(cel: Cel, points: np.ndarray) -> np.ndarray:
    """The labels under points (..., 2); beyond the border that of the nearest subpixel."""
    height, width = cel.labels.shape
    x, y = np.moveaxis(np.floor(points * cel.fine).astype(np.int64), -1, 0)
    return cel.labels[y.clip(0, height - 1), x.clip(0, width - 1)]


def _full(cel: Cel, disc: Disc, sizes: np.ndarray) -> tuple[bool, bool]:
    """Whether several areas are in a disc, or lines take most of it; and whether none reaches out of it, as limbs at a
    joint do and the brim of a hat.

    `sizes` are the areas' in subpixels.
    """
    places, spot = places_in(cel, disc)
    labels = cel.labels[spot]
    around, inside = (
        np.bincount(labels[disc.inside(places, share)], minlength=len(cel.paints))
        for share in (1 + BEYOND / disc.radius, INNER)
    )
    shares = inside / max(inside.sum(), 1)
    reaches = (shares[: cel.areas] > LARGE) & (around[: cel.areas] < (1 - OUT) * sizes[: cel.areas])
    several = (shares[: cel.areas] > LITTLE).sum() >= SEVERAL
    return bool(several or shares[cel.areas :].sum() > LINED), not reaches.any()


def places_in(cel: Cel, disc: Disc) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The subpixels around a disc: their centres (h, w, 2) in pixels, and where they are."""
    low, high = ((disc.centre + sign * (1.3 * disc.radius + 1)) * cel.fine for sign in (-1, 1))
    left, top = np.floor(low).astype(int).clip(0)
    right, bottom = np.ceil(high).astype(int)
    spot = np.s_[top : min(bottom, cel.labels.shape[0]), left : min(right, cel.labels.shape[1])]
    y, x = np.mgrid[spot]
    return (np.stack([x, y], 2) + 0.5) / cel.fine, spot
