"""The depth order of the parts, and the part of every subpixel of a key, including lines."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .contours import Outline, turned
from .covering import ENCLOSED, covering, lift_figures
from .graph import Graph, line_width
from .motion import Part
from .regions import Cel

STRAY, STRAY_BOLD = 5.0, 4.0
"""Distance in pixels up to which an unassigned line belongs to a part, and in widths of a bold line."""
FOLLOWS = 0.5
"""Share of such a line that must map to a line in the other key."""
BORNE = 2.0
"""Evidence of a border point, per pixel by which one part's motion fits it better than the other's."""
EVEN = 0.15
"""Minimum of that difference in pixels."""
SMALLER = 0.1
"""Evidence per pixel by which a part is smaller."""
LOST = 4.0
"""Distance in pixels from which a point counts as lost."""
SAMPLED = 1.0
"""Maximum distance in pixels along an outline to its nearest point."""
CLEAR = 0.75
"""Distance in pixels from every line of the other key at which a line has no counterpart there."""


@dataclass(frozen=True)
class Layers:
    """Parts in depth.

    Args:
        rank: (parts,) 0 for the lowest.
        owners: per key (H·fine, W·fine) int16, the part that each subpixel belongs to.
    """

    rank: np.ndarray
    owners: tuple[np.ndarray, np.ndarray]


def layers_of(first: Graph, last: Graph, parts: list[Part]) -> Layers:
    certain = covering(first, last, parts)
    over = certain + _evidence(first, last, parts)
    lift_figures(over, certain, first, last, parts)
    rank = _ranked(over, first, last, parts)
    owners = (_owners(first, last, parts, "first", rank), _owners(last, first, parts, "last", rank))
    still = _apart(first, parts[0].first) & _apart(last, parts[0].last)
    gathered = (
        _gathered(owners[0], first, last, parts, "first", still),
        _gathered(owners[1], last, first, parts, "last", still),
    )
    return Layers(rank, gathered)


def _evidence(first: Graph, last: Graph, parts: list[Part]) -> np.ndarray:
    """(parts, parts): evidence of borders that the row's part lies above the column's."""
    over = np.zeros((len(parts), len(parts)))
    for own, other, side, there in ((first, last, "first", "last"), (last, first, "last", "first")):
        here_of = {label: k for k, part in enumerate(parts) for label in getattr(part, side)}
        # A border belongs to the part whose motion fits it.
        facing = {region.label: own.faced(region.outline) for region in own.regions}
        for a, b in own.contacts:
            i, j = here_of.get(a, 0), here_of.get(b, 0)
            if i == j or 0 in (i, j):
                continue
            # A wheel is seen whole.
            over[i, j] += ENCLOSED * (parts[i].wheel - parts[j].wheel)
            # Otherwise to the smaller part.
            over[i, j] += SMALLER * (parts[j].reach - parts[i].reach)
            if not (getattr(parts[i], there) and getattr(parts[j], there)):
                continue
            off = []
            for label, faced, k in ((a, b, i), (b, a, j)):
                shared = own.regions[label].outline.some(facing[label] == faced)
                outlines = [other.regions[n].outline for n in getattr(parts[k], there)]
                off.append(_astray(shared, parts[k], side, outlines))
            if len(off[0]) and len(off[1]):
                more = float(off[1].mean() - off[0].mean())
                over[(i, j) if more > 0 else (j, i)] += BORNE * (len(off[0]) + len(off[1])) * max(abs(more) - EVEN, 0)
        # An enclosed region lies above the enclosing one.
        for a, b in own.enclosed:
            i, j = here_of.get(a, 0), here_of.get(b, 0)
            if i != j and 0 not in (i, j):
                over[i, j] += ENCLOSED
    return over


def _astray(shared: Outline, part: Part, side: str, there: list[Outline]) -> np.ndarray:
    """(N,) distance in pixels, at most `LOST`, from the moved points of an outline to the other key's outlines."""
    moved, ways = part.carried(side, shared.points), turned(part.motion_from(side), shared.normals)
    least = np.full(len(moved), LOST)
    for outline in there:
        if len(outline.points) and len(moved):
            near = outline.nearest(moved, ways, 2.0)
            gap, normal = moved - outline.points[near], outline.normals[near]
            off = np.hypot((gap * normal).sum(1), np.maximum(np.linalg.norm(gap, axis=1) - SAMPLED, 0))
            least = np.minimum(least, np.where((ways * normal).sum(1) > 0.5, off, LOST))
    return least


def _ranked(over: np.ndarray, first: Graph, last: Graph, parts: list[Part]) -> np.ndarray:
    """Parts from the lowest up: repeatedly the part with the least evidence for lying above the remaining ones."""
    size = [
        sum(first.regions[k].size for k in part.first) + sum(last.regions[k].size for k in part.last) for part in parts
    ]
    net = over - over.T
    left = list(range(1, len(parts)))
    rank = np.zeros(len(parts), np.int64)
    for place in range(1, len(parts)):
        lowest = min(left, key=lambda k: (sum(max(net[k, j], 0) for j in left), -size[k]))
        rank[lowest] = place
        left.remove(lowest)
    return rank


def _apart(graph: Graph, ground: set[int]) -> np.ndarray:
    """(H·fine, W·fine) bool: line that is nearest to the background."""
    return graph.cel.line & np.isin(graph.near, list(ground))


def _gathered(
    owners: np.ndarray, graph: Graph, other: Graph, parts: list[Part], side: str, still: np.ndarray
) -> np.ndarray:
    """Line that no part is near enough to claim goes to the part next to it, unless it stands still.

    A sharp corner's tip is such line. What is larger than a tip, and does not go where that part goes, is the line of
    something that lies behind it and is hidden otherwise: it is left to the ground, and no part is drawn thicker by it.
    """
    stray = graph.cel.line & (owners == 0)
    if not stray.any() or (owners == 0).all():
        return owners
    width = line_width(graph)
    gap, index = cv2.distanceTransformWithLabels(
        (owners == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    stray &= ~still | (gap <= width)  # the outer edge of a line is none that stands still
    table = np.zeros(int(index.max()) + 1, np.int16)
    table[index[owners != 0]] = owners[owners != 0]
    taken = np.where(stray & (gap < max(STRAY, STRAY_BOLD * graph.bold) * graph.cel.fine), table[index], owners)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(stray.astype(np.uint8), connectivity=4)
    for piece in np.flatnonzero(stats[:, cv2.CC_STAT_AREA] > width**2):
        if piece == 0:
            continue
        x, y, width, height = stats[piece, :4]
        spot = np.s_[y : y + height, x : x + width]
        mine = pieces[spot] == piece
        rows, columns = np.nonzero(mine)
        points = (np.stack([columns + x, rows + y], 1) + 0.5) / graph.cel.fine
        for k in np.unique(taken[spot][mine]):
            own = taken[spot][rows, columns] == k
            follows = float((other.labels_at(parts[k].carried(side, points[own])) >= other.cel.areas).mean())
            if k and follows < FOLLOWS:
                taken[spot][rows[own], columns[own]] = 0
    return taken


def _owners(graph: Graph, other: Graph, parts: list[Part], side: str, rank: np.ndarray) -> np.ndarray:
    """Areas belong to their part; a line to the uppermost part that it runs along, and that takes it along."""
    cel = graph.cel
    there = "last" if side == "first" else "first"
    table = np.zeros(len(cel.paints) + 1, np.int16)
    for k, part in enumerate(parts):
        for label in getattr(part, side):
            table[label] = k
    owners = np.where(cel.line, 0, table[cel.labels]).astype(np.int16)
    line = cel.line & (cel.labels >= 0)
    if not line.any():
        return owners
    size = max(line_width(graph), 1)
    beyond = max(line_width(other), 1)
    out, borne = owners.copy(), np.zeros_like(owners)
    for k in sorted((k for k in range(1, len(parts)) if not parts[k].wheel), key=lambda k: rank[k]):
        spot, wide = _widened(cel, getattr(parts[k], side), size)
        if spot is None:
            continue
        along = wide & line[spot]
        out[spot][along] = k
        more, lines = _widened(other.cel, getattr(parts[k], there), beyond)
        if more is None:
            continue
        lands = _landing(lines & other.cel.line[more], more, parts[k], side, spot, along, cel.fine)
        borne[spot][along & lands] = k
    if beyond < size / 2:  # the other key's lines are areas
        return np.where(borne > 0, borne, out)
    foreign = _foreign(np.where(line & (borne == 0), out, 0), other, parts, side, rank)
    inner = (graph.gap * cel.fine < size / 2) & (table[graph.near] == out)
    return np.where(borne > 0, borne, np.where(_through(foreign, inner, size), 0, out))


def _foreign(claimed: np.ndarray, other: Graph, parts: list[Part], side: str, rank: np.ndarray) -> np.ndarray:
    """(H·fine, W·fine) bool: line that its part would take to where the other key shows plainly what lies behind it."""
    there = "last" if side == "first" else "first"
    below = np.full(len(other.cel.paints) + 1, len(parts) + 1)
    for k, part in enumerate(parts):
        for label in getattr(part, there):
            below[label] = rank[k]
    below[other.cel.areas :] = len(parts) + 1
    rows, columns = np.nonzero(claimed)
    owner = claimed[rows, columns]
    points = (np.stack([columns, rows], 1) + 0.5) / other.cel.fine
    out = np.zeros(claimed.shape, bool)
    clear = other.gap_to_line > CLEAR
    for k in np.unique(owner):
        if not getattr(parts[k], there) or parts[k].bend is not None:
            continue
        mine = owner == k
        landed = np.floor(parts[k].carried(side, points[mine]) * other.cel.fine).astype(np.int64)
        height, width = claimed.shape
        inside = ((landed >= 0) & (landed < (width, height))).all(1)
        x, y = landed.clip(0, (width - 1, height - 1)).T
        out[rows[mine], columns[mine]] = inside & clear[y, x] & (below[other.cel.labels[y, x]] < rank[k])
    return out


def _through(foreign: np.ndarray, inner: np.ndarray, width: int) -> np.ndarray:
    """The pieces of foreign line that are larger than the tip of a line `width` subpixels wide and reach the inner half
    of the line: where a part changes its shape a little, the outer half alone is foreign."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(foreign.astype(np.uint8), connectivity=4)
    taken = (stats[:, cv2.CC_STAT_AREA] > width**2) & (np.bincount(pieces[inner], minlength=count) > 0)
    return foreign & taken[pieces]


def _widened(cel: Cel, labels: set[int], size: int) -> tuple[tuple[slice, slice] | None, np.ndarray]:
    """Where (slices) and which (bool) subpixels lie in areas or within `size` of them; None without areas."""
    mine = np.isin(cel.labels, list(labels))
    rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
    if len(rows) == 0:
        return None, mine
    spot = np.s_[max(rows[0] - size, 0) : rows[-1] + size + 1, max(columns[0] - size, 0) : columns[-1] + size + 1]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * size + 1, 2 * size + 1))
    return spot, cv2.dilate(mine[spot].astype(np.uint8), kernel).astype(bool)


def _landing(
    mask: np.ndarray,
    origin: tuple[slice, slice],
    part: Part,
    side: str,
    spot: tuple[slice, slice],
    along: np.ndarray,
    fine: int,
) -> np.ndarray:
    """Which subpixels `along` a part, of `spot`, it takes to where `mask`, which begins at `origin`, is set, or near
    it."""
    slack = cv2.dilate(mask.astype(np.uint8), np.ones((fine // 2 * 2 + 1,) * 2, np.uint8))
    out = np.zeros(along.shape, bool)
    rows, columns = np.nonzero(along)
    points = (np.stack([columns + spot[1].start, rows + spot[0].start], 1) + 0.5) / fine
    landed = np.floor(part.carried(side, points) * fine).astype(np.int64) - (origin[1].start, origin[0].start)
    height, width = slack.shape
    inside = ((landed >= 0) & (landed < (width, height))).all(1)
    x, y = landed.clip(0, (width - 1, height - 1)).T
    out[rows, columns] = inside & (slack[y, x] > 0)
    return out
