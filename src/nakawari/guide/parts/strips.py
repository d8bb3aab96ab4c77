"""Strips of shade beside a line: too narrow for an area, and not told from a line by their width."""

from __future__ import annotations

import cv2
import numpy as np

from .hues import is_shade

LEAST = 8
"""Minimum number of pixels."""
BROAD = 0.5
"""Minimum share of them in squares of 2 x 2: of what is one pixel wide, any column is a mixture of two colours."""
SIDE = 0.2
"""Minimum share of the pixels around a strip that are of its lit colour, and the same for its line."""
INKY = 0.5
"""Brightness of a line, relative to the strip's, at most."""


def strips(
    colours: np.ndarray, components: np.ndarray, means: np.ndarray, thin: np.ndarray, is_area: np.ndarray
) -> list[int]:
    """Which components are shades of an area on one side, with a line on the other.

    Args:
        colours: (H, W, 4) the picture.
        components: (H, W) the component of every pixel.
        means: (N, 4) the colour of every component.
        thin, is_area: (N,) bool, which of them may be one, and which are areas.
    """
    found = []
    for k in np.flatnonzero(thin):
        rows, columns = np.nonzero(components == k)
        if len(rows) < LEAST:
            continue
        spot = np.s_[max(rows.min() - 2, 0) : rows.max() + 3, max(columns.min() - 2, 0) : columns.max() + 3]
        mine = (components[spot] == k).astype(np.uint8)
        if cv2.morphologyEx(mine, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)).sum() < BROAD * len(rows):
            continue
        around = (cv2.dilate(mine, np.ones((5, 5), np.uint8)) > 0) & (mine == 0)
        near = components[spot][around]
        lit = [
            a
            for a in np.unique(near[is_area[near]])
            if is_shade(means[k], means[a]) and means[a][:3].sum() > means[k][:3].sum()
        ]
        dark = colours[spot][around][:, :3].sum(1) < INKY * means[k][:3].sum()
        if min(np.isin(near, lit).mean(), dark.mean()) >= SIDE:
            found.append(int(k))
    return found
