"""What stands still, drawn from both keys: what something covers in one, the other may show."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from .shapes import Shape, shape_of

STAYS, GONE = 0.2, 0.2
"""Least share of a piece of line that both keys show for it to be the background's, and the most, of that, of what one
key shows and the other shows to be gone."""
DEEP = 0.5
"""Pixels beyond a line's width from where on a hidden line is area."""

Pair = tuple[np.ndarray, np.ndarray]
"""An array of the first key and one of the last."""


def standing_shape(k: int, owners: Pair, lines: Pair, above: Pair, codes: Pair, fine: int) -> Shape | None:
    """The shape of part k, which stands still, from both keys.

    Args:
        owners: (H·fine, W·fine) the part of every subpixel.
        lines: bool, where lines are.
        above: bool, what may cover the part.
        codes: the paint of every subpixel.
    """
    mine = [owner == k for owner in owners]
    line = [own & drawn for own, drawn in zip(mine, lines, strict=True)]
    area = [own & ~drawn for own, drawn in zip(mine, lines, strict=True)]
    for side in (0, 1):  # line where the other key shows something else was that of what covered the part
        line[side] &= above[1 - side] | mine[1 - side] & ~area[1 - side]
    both, hidden = line[0] | line[1], above[0] & above[1]
    shape = shape_of((area[0] | area[1]) & ~both, both, hidden, np.where(line[0], *codes), fine)
    return None if shape is None else _filled(shape, hidden)


def _filled(shape: Shape, hidden: np.ndarray) -> Shape:
    """A shape that is area, not line, where neither key shows it, farther than a line's width from its border."""
    left, top, right, bottom = shape.box
    height, width = hidden.shape
    x, y = np.arange(left, right).clip(0, width - 1), np.arange(top, bottom).clip(0, height - 1)
    deep = hidden[np.ix_(y, x)] & (shape.field[..., 0] >= 0) & (shape.field[..., 1] < -shape.line - DEEP)
    field = shape.field.copy()
    field[..., 0] = np.where(deep, -DEEP, field[..., 0])
    return replace(shape, field=field)


def ground_of(codes: Pair, lines: Pair, owners: Pair) -> np.ndarray:
    """(H·fine, W·fine) the background's paint, from the key that shows it; where none does, the nearest one's.

    Arguments as of `standing_shape`.
    """
    first, last = owners
    base = codes[0].copy()
    behind = first != 0
    shown = behind & (last == 0)
    base[shown] = codes[1][shown]
    drawn = np.where(shown, lines[1], lines[0])
    both = ~behind & (last == 0) & lines[0] & lines[1]
    still = both | _continued(both, ~behind & lines[0], last != 0) | _continued(both, (last == 0) & lines[1], behind)
    unknown = behind & (last != 0) | (drawn & ~still)
    if unknown.any() and not unknown.all():
        _, index = cv2.distanceTransformWithLabels(
            unknown.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        table = np.zeros(int(index.max()) + 1, np.int16)
        table[index[~unknown]] = base[~unknown]
        base = np.where(unknown, table[index], base)
    return base


def _continued(both: np.ndarray, line: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Line of the background that only one key shows, where the other one's is `hidden`, in one piece with line that
    `both` show, unless the other key shows that some of the piece is gone; all bool."""
    count, pieces = cv2.connectedComponents(line.astype(np.uint8), connectivity=8)
    sizes, known, unseen = (np.bincount(pieces[mask], minlength=count) for mask in (line, both, line & hidden))
    good = (known >= STAYS * sizes) & (sizes - known - unseen <= GONE * known)
    return line & hidden & good[pieces]
