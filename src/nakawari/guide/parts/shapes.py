"""A part's shape in a key as signed distance fields: to the border of its area, and to the outer border of its line.

Distances of two keys can be averaged, which gives subpixel edges, and are extrapolated where another part
covers the part. So lines stay complete and keep their width.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

MARGIN = 6
"""Margin in pixels around a part in which its distances are computed."""
FAR = 8.0
"""Maximum distance in pixels; larger ones are clipped."""
UNSURE = 0.02
"""Weight of a distance where another part covers the part."""
UNKNOWN = 1e-4
"""The same beyond the border of the key, where nothing bounds a part."""
EVEN = 1.2
"""Smoothing in subpixels of the distances, since labels are whole subpixels."""
THINNEST, OUTER = 0.1, 3.0
"""Quantile of the widths along a part's line that is surely its own, and how many times as wide the line may be."""
TORN = 1.0
"""Maximum difference in pixels of two keys' distances for averaging."""


@dataclass(frozen=True)
class Shape:
    """The shape of one part in one key.

    Args:
        corner: (x, y) position of `field` in subpixels of the key.
        field: (h, w, 3) float32: distance in pixels to the area and to the area with its line, negative inside; and
            their confidence, 0 ... 1.
        inks: (h, w) int16 codes of the line at or nearest to each subpixel; None if the part has none.
        limits: (height, width) of the key in subpixels if its border cuts the part: what the part is like beyond is
            not known.
    """

    corner: tuple[int, int]
    field: np.ndarray
    inks: np.ndarray | None
    limits: tuple[int, int] | None = None

    @property
    def line(self) -> float:
        """Width in pixels of the line around the area, 0 without."""
        border = (np.abs(self.field[..., 0]) < 0.5) & (self.field[..., 2] > 0.5)
        if self.inks is None or not border.any():
            return 0.0
        widths = self.field[border][:, 0] - self.field[border][:, 1]
        most = OUTER * float(np.quantile(widths, THINNEST)) + 1
        if np.median(widths) > most:  # strokes inside the part, which lie far from the outer border
            widths = widths[widths <= most]
        return float(np.median(widths))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in subpixels of the key."""
        left, top = self.corner
        return left, top, left + self.field.shape[1], top + self.field.shape[0]

    def seen(
        self, back: np.ndarray, box: tuple[int, int, int, int], fine: int, bent: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Field and inks in a box of the in-between, sampled through a motion (3, 3) back to the key, after places are
        `bent` (h, w, 2) pixels aside."""
        shift = (-self.corner[0] / fine, -self.corner[1] / fine)
        own = np.array([(1, 0, shift[0]), (0, 1, shift[1]), (0, 0, 1)]) @ back
        field = seen_through(self.field, own, box, fine, cv2.INTER_LINEAR, (FAR, FAR, 1.0), bent)
        if self.limits is not None:
            key = np.ones(self.limits, np.uint8)
            field[seen_through(key, back, box, fine, cv2.INTER_NEAREST, 0.0, bent) == 0, 2] = UNKNOWN
        return field, None if self.inks is None else seen_through(
            self.inks, own, box, fine, cv2.INTER_NEAREST, None, bent
        )


def seen_through(
    values: np.ndarray,
    back: np.ndarray,
    box: tuple[int, int, int, int],
    fine: int,
    way: int,
    outside: float | tuple[float, ...] | None,
    bent: np.ndarray | None = None,
) -> np.ndarray:
    """Sample values at subpixels for a box of subpixels through a motion (3, 3) in pixels, after a shift of every place
    by `bent` (h, w, 2) pixels.

    `way` is OpenCV's interpolation; values beyond the border are `outside`, or the nearest ones if that is None.
    """
    left, top, right, bottom = box
    linear = back[:2, :2]
    # subpixel i lies at (i + 0.5) / fine pixels
    offset = linear @ np.array([left + 0.5, top + 0.5]) + back[:2, 2] * fine - 0.5
    matrix = np.concatenate([linear, offset[:, None]], 1)
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    if bent is not None:
        columns, rows = np.meshgrid(np.arange(right - left), np.arange(bottom - top))
        places = np.stack([columns, rows], 2) + bent * fine
        x, y = np.moveaxis((places @ linear.T + offset).astype(np.float32), 2, 0)
        return cv2.remap(values, x, y, way, borderMode=border, borderValue=0 if outside is None else outside)
    return cv2.warpAffine(
        values, matrix, (right - left, bottom - top), flags=way | cv2.WARP_INVERSE_MAP, borderMode=border,
        borderValue=0 if outside is None else outside,
    )  # fmt: skip


def shape_of(area: np.ndarray, line: np.ndarray, above: np.ndarray, codes: np.ndarray, fine: int) -> Shape | None:
    """The shape of a part from masks of its area, its line and the parts above it, all (H·fine, W·fine) bool.

    `codes` are the labels. None if the key does not show the part.
    """
    own = area | line
    rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
    if len(rows) == 0:
        return None
    edge = MARGIN * fine
    height, width = own.shape
    cut = rows[0] == 0 or columns[0] == 0 or rows[-1] == height - 1 or columns[-1] == width - 1
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    corner = int(columns[0]) - edge, int(rows[0]) - edge
    area, line, above = (_framed(mask, box, edge, fill) for mask, fill in ((area, False), (line, False), (above, True)))
    own = area | line
    covered = np.minimum(_distance(above) / fine, 1) if above.any() else np.ones(own.shape, np.float32)
    sure = UNSURE + (1 - UNSURE) * covered
    both = [cv2.GaussianBlur(signed(mask, above & ~mask) / fine, (0, 0), EVEN) for mask in (area, own)]
    field = np.stack([*(d.clip(-FAR, FAR) for d in both), sure], 2).astype(np.float32)
    return Shape(corner, field, _inks(line, _framed(codes, box, edge, 0)), (height, width) if cut else None)


def _framed(values: np.ndarray, box: tuple[slice, slice], edge: int, fill: object) -> np.ndarray:
    """A box of an array with a margin; values beyond the array are `fill`."""
    rows, columns = box
    pad = [
        (max(edge - where.start, 0), max(where.stop + edge - size, 0))
        for where, size in zip((rows, columns), values.shape, strict=True)
    ]
    inner = values[max(rows.start - edge, 0) : rows.stop + edge, max(columns.start - edge, 0) : columns.stop + edge]
    return np.pad(inner, pad, constant_values=fill)


def _distance(mask: np.ndarray) -> np.ndarray:
    """Distance in subpixels from every position to the mask."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)


def signed(mask: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Signed distance in subpixels to a mask's border, negative inside; borders with unknown areas do not count."""
    outer = ~mask & ~unknown
    to_mask = _distance(mask) if mask.any() else np.full(mask.shape, 1e3, np.float32)
    to_outer = _distance(outer) if outer.any() else np.full(mask.shape, 1e3, np.float32)
    return np.where(mask, 0.5 - to_outer, np.where(outer, to_mask - 0.5, (to_mask - to_outer) / 2)).astype(np.float32)


def relined(near: np.ndarray, width: float, fine: int) -> np.ndarray:
    """Distances (h, w, 2) in pixels from an area that was stretched or bent, with a line of `width` pixels around it:
    distances stretch, too, and lines do not."""
    mask = near[..., 0] < 0
    area = cv2.GaussianBlur(signed(mask, np.zeros_like(mask)) / fine, (0, 0), EVEN)
    return np.stack([area, area - width], 2)


def _inks(line: np.ndarray, codes: np.ndarray) -> np.ndarray | None:
    if not line.any():
        return None
    _, index = cv2.distanceTransformWithLabels((~line).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(index.max()) + 1, np.int16)
    table[index[line]] = codes[line]
    return table[index]


def blended(fields: list[np.ndarray], shares: list[float], most: float) -> np.ndarray:
    """Distances (h, w, 2) blended from one or two fields (h, w, 3); the first decides where they differ by over `most`
    pixels."""
    if len(fields) == 1:
        return fields[0][..., :2]
    one, two = fields
    weights = [share * field[..., 2:] for share, field in zip(shares, fields, strict=True)]
    mean = (weights[0] * one[..., :2] + weights[1] * two[..., :2]) / (weights[0] + weights[1])
    torn = (np.abs(one[..., :2] - two[..., :2]) > most) & (np.minimum(one[..., 2:], two[..., 2:]) > 0.5)
    return np.where(torn, one[..., :2], mean)
