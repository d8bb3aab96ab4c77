"""What is drawn in a part that moves with all that is in it, as one signed distance field for each paint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from .shapes import EVEN, UNKNOWN, seen_through, signed

LITTLE = 0.02
"""Share of a part from which a paint that one key lacks is taken from the other."""
NARROW = 72.0
"""Maximum difference in levels of the paint of one thing in two keys."""
FAR = 1.0
"""Maximum distance in pixels in what is rigid; a paint that a key lacks is that far away in it."""


@dataclass(frozen=True)
class Inside:
    """What one key shows of it.

    Args:
        corner: (x, y) position of the fields in subpixels of the key.
        fields: code of a paint -> (h, w) float32: distance in pixels to where it is, negative inside.
        sure: (h, w) float32, 1 where the key shows the part.
        large: codes of paints that take more than `LITTLE` of it; all if its shape may change.
        far: distance in pixels at which a paint is that it does not have.
    """

    corner: tuple[int, int]
    fields: dict[int, np.ndarray]
    sure: np.ndarray
    large: set[int]
    far: float


@dataclass(frozen=True)
class Mixed:
    """The paints of a box of an in-between, (h, w) each.

    Args:
        codes: of the paint at every subpixel.
        others: of what is next to it.
        share: of the first paint, 0.5 ... 1.
    """

    codes: np.ndarray
    others: np.ndarray
    share: np.ndarray

    def colours(self, paints: np.ndarray) -> np.ndarray:
        """(h, w, 4)"""
        return self.share[..., None] * paints[self.codes] + (1 - self.share[..., None]) * paints[self.others]


def inside_of(own: np.ndarray, codes: np.ndarray, fine: int, *, rigid: bool) -> Inside | None:
    """The inside of a part from the mask of what shows it and the codes of paints, both (H·fine, W·fine); `rigid` if
    what is in it does not change its shape."""
    rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
    if len(rows) == 0:
        return None
    spot = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    mine, inner = own[spot], codes[spot]
    fields, large = {}, set()
    depth = cv2.distanceTransform(np.pad(mine, 1).astype(np.uint8), cv2.DIST_L2, 5)
    far = FAR if rigid else float(depth.max()) / fine
    for code in np.unique(inner[mine]):
        there = mine & (inner == code)
        field = cv2.GaussianBlur(signed(there, ~mine) / fine, (0, 0), EVEN)
        fields[int(code)] = field.clip(-far, far).astype(np.float32)
        if not rigid or there.sum() > LITTLE * mine.sum():
            large.add(int(code))
    return Inside((int(columns[0]), int(rows[0])), fields, mine.astype(np.float32), large, far)


def renamed(one: Inside, other: Inside, paints: np.ndarray) -> Inside:
    """What one key shows with the codes of another: a paint that only one has is the nearest that only the other has.
    The paint of what is narrower than a pixel is not known well."""
    ours, theirs = (sorted(a.fields.keys() - b.fields.keys()) for a, b in ((one, other), (other, one)))
    apart = np.abs(paints[ours][:, None] - paints[theirs]).max(2)
    names = {ours[a]: theirs[b] for a, b in zip(*linear_sum_assignment(apart), strict=True) if apart[a, b] < NARROW}
    fields = {names.get(code, code): field for code, field in one.fields.items()}
    return replace(one, fields=fields, large={names.get(code, code) for code in one.large})


def mixed(
    insides: Sequence[Inside | None],
    shares: Sequence[float],
    backs: Sequence[np.ndarray],
    box: tuple[int, int, int, int],
    fine: int,
    bents: Sequence[np.ndarray | None],
) -> Mixed | None:
    """The paints at every subpixel of a box whose mean distance in the keys is least; None if no key shows the part.

    Args:
        shares: weight of each key.
        backs: motion (3, 3) in pixels from the in-between to each key.
        bents: (h, w, 2) by how many pixels places are bent before, None if not.
    """
    seen = []
    for inside, share, back, bent in zip(insides, shares, backs, bents, strict=True):
        if inside is not None:
            own = np.eye(3)
            own[:2, 2] = [-at / fine for at in inside.corner]
            through = own @ back
            sure = share * np.maximum(
                seen_through(inside.sure, through, box, fine, cv2.INTER_LINEAR, 0.0, bent), UNKNOWN
            )
            near = {
                c: seen_through(f, through, box, fine, cv2.INTER_LINEAR, None, bent) for c, f in inside.fields.items()
            }
            seen.append((sure, near, inside.large, inside.far))
    if not seen:
        return None
    known = sorted(set().union(*(near for _, near, *_ in seen)))
    means = []
    for code in known:
        large = any(code in sizes for _, _, sizes, _ in seen)
        # what one key alone has is missed in the other if it is large, else it is dirt
        of = [(sure, near.get(code, far)) for sure, near, _, far in seen if code in near or not large]
        means.append(sum(sure * near for sure, near in of) / sum(sure for sure, _ in of))
    codes, least = np.array(known, np.int16), np.stack(means)
    order = np.argsort(least, axis=0)[[0, min(1, len(known) - 1)]]
    one, two = np.take_along_axis(least, order, 0)
    return Mixed(*codes[order], (0.5 + 0.5 * fine * (two - one)).clip(0.5, 1))
