"""A part's shape in a key as signed distances: to the border of its area, and to the outer border of its line.

Distances of two keys can be averaged, which places an edge to a fraction of a subpixel, and go on where something
covers the part. So lines come out whole, and as thick as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

MARGIN = 6
"""Pixels round a part within which its distances are known."""
FAR = 8.0
"""Pixels up to which distances are told apart."""
UNSURE = 0.02
"""What a distance counts where something covers the part."""
EVEN = 1.2
"""Subpixels over which distances are evened out: labels are whole subpixels."""
TORN = 1.0
"""Pixels by which two keys' distances may differ and still be averaged."""


@dataclass(frozen=True)
class Shape:
    """One part as one key shows it.

    Args:
        corner: (x, y) subpixels of the key at which `field` begins.
        field: (h, w, 3) float32: distance in pixels to the area and to the area with its line, negative inside; and
            how sure they are, 0 ... 1.
        inks: (h, w) int16 codes of the line at or nearest to each subpixel; None where the part has none.
    """

    corner: tuple[int, int]
    field: np.ndarray
    inks: np.ndarray | None

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in subpixels of the key."""
        left, top = self.corner
        return left, top, left + self.field.shape[1], top + self.field.shape[0]

    def seen(self, back: np.ndarray, box: tuple[int, int, int, int], fine: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Field and inks in a box of the in-between, through a motion (3, 3) from there back to the key."""
        shift = (-self.corner[0] / fine, -self.corner[1] / fine)
        own = np.array([(1, 0, shift[0]), (0, 1, shift[1]), (0, 0, 1)]) @ back
        field = seen_through(self.field, own, box, fine, cv2.INTER_LINEAR, (FAR, FAR, 1.0))
        return field, None if self.inks is None else seen_through(self.inks, own, box, fine, cv2.INTER_NEAREST, None)


def seen_through(
    values: np.ndarray,
    back: np.ndarray,
    box: tuple[int, int, int, int],
    fine: int,
    way: int,
    outside: float | tuple[float, ...] | None,
) -> np.ndarray:
    """Values at subpixels as seen from a box of subpixels through a motion (3, 3) from there, in pixels.

    `way` is OpenCV's interpolation; beyond the values lies `outside`, or what is nearest if that is None.
    """
    left, top, right, bottom = box
    linear = back[:2, :2]
    # subpixel i lies at (i + 0.5) / fine pixels
    offset = linear @ np.array([left + 0.5, top + 0.5]) + back[:2, 2] * fine - 0.5
    matrix = np.concatenate([linear, offset[:, None]], 1)
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    return cv2.warpAffine(
        values, matrix, (right - left, bottom - top), flags=way | cv2.WARP_INVERSE_MAP, borderMode=border,
        borderValue=0 if outside is None else outside,
    )  # fmt: skip


def shape_of(area: np.ndarray, line: np.ndarray, above: np.ndarray, codes: np.ndarray, fine: int) -> Shape | None:
    """The shape of a part from where its area and its line are and what lies above it, all (H·fine, W·fine) bool.

    `codes` are the labels there. None where the key does not show the part.
    """
    own = area | line
    rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
    if len(rows) == 0:
        return None
    edge = MARGIN * fine
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    corner = int(columns[0]) - edge, int(rows[0]) - edge
    area, line, above = (_framed(mask, box, edge, fill) for mask, fill in ((area, False), (line, False), (above, True)))
    own = area | line
    covered = np.minimum(_distance(above) / fine, 1) if above.any() else np.ones(own.shape, np.float32)
    sure = UNSURE + (1 - UNSURE) * covered
    both = [cv2.GaussianBlur(_signed(mask, above & ~mask) / fine, (0, 0), EVEN) for mask in (area, own)]
    field = np.stack([*(d.clip(-FAR, FAR) for d in both), sure], 2).astype(np.float32)
    return Shape(corner, field, _inks(line, _framed(codes, box, edge, 0)))


def _framed(values: np.ndarray, box: tuple[slice, slice], edge: int, fill: object) -> np.ndarray:
    """A box of an array with an edge round it; what lies beyond the array is `fill`."""
    rows, columns = box
    pad = [
        (max(edge - where.start, 0), max(where.stop + edge - size, 0))
        for where, size in zip((rows, columns), values.shape, strict=True)
    ]
    inner = values[max(rows.start - edge, 0) : rows.stop + edge, max(columns.start - edge, 0) : columns.stop + edge]
    return np.pad(inner, pad, constant_values=fill)


def _distance(mask: np.ndarray) -> np.ndarray:
    """Subpixels from every place to the nearest that is set."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)


def _signed(mask: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Subpixels to a mask's border, negative inside; a border with what is unknown is none."""
    outer = ~mask & ~unknown
    to_mask = _distance(mask) if mask.any() else np.full(mask.shape, 1e3, np.float32)
    to_outer = _distance(outer) if outer.any() else np.full(mask.shape, 1e3, np.float32)
    return np.where(mask, 0.5 - to_outer, np.where(outer, to_mask - 0.5, (to_mask - to_outer) / 2)).astype(np.float32)


def _inks(line: np.ndarray, codes: np.ndarray) -> np.ndarray | None:
    if not line.any():
        return None
    _, index = cv2.distanceTransformWithLabels((~line).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(index.max()) + 1, np.int16)
    table[index[line]] = codes[line]
    return table[index]


def blended(fields: list[np.ndarray], shares: list[float]) -> np.ndarray:
    """Distances (h, w, 2) of one or two fields (h, w, 3), the first of which decides where they tear apart."""
    if len(fields) == 1:
        return fields[0][..., :2]
    one, two = fields
    weights = [share * field[..., 2:] for share, field in zip(shares, fields, strict=True)]
    mean = (weights[0] * one[..., :2] + weights[1] * two[..., :2]) / (weights[0] + weights[1])
    torn = (np.abs(one[..., :2] - two[..., :2]) > TORN) & (np.minimum(one[..., 2:], two[..., 2:]) > 0.5)
    return np.where(torn, one[..., :2], mean)
