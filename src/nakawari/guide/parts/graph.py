"""The regions of one key as a graph: their properties and contacts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from .contours import Outline, outline_of
from .regions import Cel

TOUCH = 2.5
"""Regions with at most twice this many pixels of line between them are in contact; or twice a bold line's width."""
ACROSS, ACROSS_BOLD = 3.0, 1.25
"""Distance in pixels from a border to the region beyond its line, and in widths of a bold line."""
SAMPLES = 48
"""Number of sample points inside a region."""


@dataclass(frozen=True)
class Region:
    """One area of a key.

    Args:
        label: in the cel.
        size: in pixels.
        centre: (2,) x and y in pixels.
        paint: (4,) premultiplied RGBA.
        outline: its border, without points on the picture's border.
        inside: (N, 2) points in it.
        rim: share of the picture's border that it covers.
    """

    label: int
    size: float
    centre: np.ndarray
    paint: np.ndarray
    outline: Outline
    inside: np.ndarray
    rim: float
    hull: np.ndarray
    """(N, 2) float32: its outer border without holes, pixels."""


@dataclass(frozen=True)
class Graph:
    """A key's regions and their contacts.

    Args:
        cel: the labels.
        regions: in the order of their labels.
        near: (H·fine, W·fine) the area nearest to every subpixel.
        gap: (H·fine, W·fine) the distance to it, pixels; 0 in areas.
        contacts: (a, b) with a < b -> (N, 2) points half-way between two regions in contact.
    """

    cel: Cel
    regions: list[Region]
    near: np.ndarray
    gap: np.ndarray
    contacts: dict[tuple[int, int], np.ndarray]
    bold: float = 0.0
    """The width in pixels of lines that are as wide as narrow areas; 0 without such lines."""

    def between(self, a: int, b: int) -> np.ndarray:
        """(N, 2) contact points of two regions; none if they are not in contact."""
        return self.contacts.get((min(a, b), max(a, b)), np.zeros((0, 2)))

    def neighbours(self, a: int) -> list[int]:
        return [i if j == a else j for i, j in self.contacts if a in (i, j)]

    @cached_property
    def gap_to_line(self) -> np.ndarray:
        """(H·fine, W·fine) the distance in pixels to the nearest line; 0 in lines."""
        area = (~self.cel.line).astype(np.uint8)
        if area.all():
            return np.full(area.shape, np.inf, np.float32)
        return cv2.distanceTransform(area, cv2.DIST_L2, 5) / self.cel.fine

    @cached_property
    def enclosed(self) -> list[tuple[int, int]]:
        """(inner, outer) labels of regions in a hole of another."""
        found = []
        for outer in self.regions:
            if outer.rim > 0 or len(outer.outline.points) == 0 or not outer.hull.size:
                continue
            low, high = outer.hull.min(0), outer.hull.max(0)
            for inner in self.regions:
                if inner is outer or inner.size >= outer.size or inner.size == 0:
                    continue
                if (inner.centre < low).any() or (inner.centre > high).any():
                    continue
                spots = inner.inside[:: max(1, len(inner.inside) // 6)]
                if all(cv2.pointPolygonTest(outer.hull, (float(x), float(y)), False) > 0 for x, y in spots):
                    found.append((inner.label, outer.label))
        return found

    def faced(self, outline: Outline) -> np.ndarray:
        """The area across the line from every point of an outline, -1 outside the picture."""
        fine = self.cel.fine
        height, width = self.near.shape
        beyond = outline.points + outline.normals * max(ACROSS, ACROSS_BOLD * self.bold)
        x, y = np.floor(beyond * fine).astype(np.int64).T
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        return np.where(inside, self.near[y.clip(0, height - 1), x.clip(0, width - 1)], -1)

    def labels_at(self, points: np.ndarray) -> np.ndarray:
        """The label under points (N, 2), -1 outside the picture."""
        fine = self.cel.fine
        x, y = np.floor(points * fine).astype(np.int64).T
        height, width = self.cel.labels.shape
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        found = self.cel.labels[y.clip(0, height - 1), x.clip(0, width - 1)]
        return np.where(inside, found, -1)


def graph_of(cel: Cel) -> Graph:
    near, gap = nearest_areas(cel)
    bold = 4 * float(np.median(gap[cel.line])) if cel.bold and cel.line.any() else 0.0
    return Graph(cel, _regions(cel), near, gap, _contacts(near, gap, cel.fine, max(TOUCH, bold)), bold)


def line_width(graph: Graph) -> int:
    """Subpixels that a key's lines are wide at least, where none runs beside it; 0 without lines.

    Across a line of one width, half of the subpixels lie within a quarter of it from its borders.
    """
    line = graph.cel.line
    return int(np.ceil(4 * float(np.median(graph.gap[line])) * graph.cel.fine - 1)) if line.any() else 0


def _regions(cel: Cel) -> list[Region]:
    height, width = cel.labels.shape
    rows = np.where(cel.labels < cel.areas, cel.labels, cel.areas)
    sizes = np.bincount(rows.ravel(), minlength=cel.areas + 1)[: cel.areas]
    order = np.argsort(rows.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rim = rims(cel)
    out = []
    for label in range(cel.areas):
        own = order[starts[label] : starts[label + 1]]
        y, x = np.divmod(own, width)
        if len(own) == 0:
            empty = np.zeros((0, 2))
            out.append(
                Region(
                    label, 0.0, np.zeros(2), cel.paints[label], Outline(empty, empty, np.zeros(0)), empty, 0.0, empty
                )
            )
            continue
        left, top, right, bottom = x.min(), y.min(), x.max() + 1, y.max() + 1
        mask = cel.labels[top:bottom, left:right] == label
        outline = outline_of(mask, (int(left), int(top)), cel.fine, (width, height))
        picked = np.linspace(0, len(own) - 1, min(len(own), SAMPLES)).round().astype(int)
        places = np.stack([x, y], 1)
        inside = (places[picked] + 0.5) / cel.fine
        out.append(
            Region(
                label, len(own) / cel.fine**2, (places.mean(0) + 0.5) / cel.fine, cel.paints[label], outline, inside,
                float(rim[label]), _hull(mask, (int(left), int(top)), cel.fine),
            )
        )  # fmt: skip
    return out


def rims(cel: Cel) -> np.ndarray:
    """(areas,) the share of the picture's border that each area takes."""
    rows = np.where(cel.labels < cel.areas, cel.labels, cel.areas)
    edge = np.concatenate([rows[0], rows[-1], rows[:, 0], rows[:, -1]])
    return np.bincount(edge, minlength=cel.areas + 1)[: cel.areas] / len(edge)


def _hull(mask: np.ndarray, offset: tuple[int, int], fine: int) -> np.ndarray:
    curves, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    curve = max(curves, key=len)
    return ((curve[:, 0] + np.array(offset) + 0.5) / fine).astype(np.float32)


def nearest_areas(cel: Cel) -> tuple[np.ndarray, np.ndarray]:
    """(H·fine, W·fine) the area nearest to every subpixel, and the distance to it in pixels, 0 in areas."""
    line = cel.line
    if not line.any() or line.all():
        return np.where(line, 0, cel.labels), np.zeros(line.shape, np.float32)
    gap, index = cv2.distanceTransformWithLabels(line.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(index.max()) + 1, np.int32)
    table[index[~line]] = cel.labels[~line]
    return table[index], gap / cel.fine


def _contacts(near: np.ndarray, gap: np.ndarray, fine: int, reach: float) -> dict[tuple[int, int], np.ndarray]:
    pairs, places = [], []
    for (a, b), (ga, gb), shift in (
        ((near[:, :-1], near[:, 1:]), (gap[:, :-1], gap[:, 1:]), (1.0, 0.5)),
        ((near[:-1], near[1:]), (gap[:-1], gap[1:]), (0.5, 1.0)),
    ):
        y, x = np.nonzero((a != b) & (ga < reach) & (gb < reach))
        one, two = a[y, x], b[y, x]
        pairs.append(np.stack([np.minimum(one, two), np.maximum(one, two)], 1))
        places.append((np.stack([x, y], 1) + shift) / fine)
    pair, place = np.concatenate(pairs), np.concatenate(places)
    if len(pair) == 0:
        return {}
    keys, which = np.unique(pair, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    edges = np.searchsorted(which.ravel()[order], np.arange(len(keys) + 1))
    return {
        (int(key[0]), int(key[1])): place[order[edges[k] : edges[k + 1]]][:: max(1, (edges[k + 1] - edges[k]) // 40)]
        for k, key in enumerate(keys)
        if edges[k + 1] - edges[k] >= fine
    }
