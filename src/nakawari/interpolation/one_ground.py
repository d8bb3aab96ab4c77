"""Keys of which one is a transparent cel and the other has an opaque background.

The background is taken from the opaque key: areas of one colour that reach the picture's border. The rest moves as a
transparent cel by its parts; the static background behind it fades in or out over the gap.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .by_parts import frames_by_parts
from .drawn import Pair
from .figures import EVEN, LEAST, MOST, Plane, areas_of_one_colour, colour_of_nearest, matted

_SQUARE = np.ones((3, 3), np.uint8)


def before_one_ground(pair: Pair, shares: Sequence[float]) -> list[Plane] | None:
    """In-betweens, RGBA (H, W, 4), of two keys (H, W, 4) at shares in (0, 1); None if not exactly one is opaque, the
    opaque one has no such background, or parts do not explain the figures."""
    if pair[0].shape[2] != 4 or min(pair[0].shape[:2]) < 16:
        return None
    opaque = [bool(key[..., 3].min() == 255) for key in pair]
    if sum(opaque) != 1:
        return None
    last = opaque[1]
    key = pair[int(last)][..., :3]
    ground = _ground(key)
    if not LEAST <= 1 - float(ground.mean()) <= MOST:
        return None
    # The pixels at its outline are mixed with the background; their matte follows from their colour.
    figure = matted(key, cv2.erode((~ground).astype(np.uint8), _SQUARE).astype(bool))
    cels = (pair[0], figure) if last else (figure, pair[1])
    frames = frames_by_parts(cels, shares)
    if frames is None:
        return None
    behind = _whole(key, ~cv2.dilate((~ground).astype(np.uint8), _SQUARE).astype(bool))
    return [_over(frame, behind, share if last else 1 - share) for frame, share in zip(frames, shares, strict=True)]


def _ground(key: Plane) -> NDArray[np.bool_]:
    """(H, W): areas of one colour that reach the border. Areas enclosed by a figure, such as a white shirt, are
    figure."""
    areas = areas_of_one_colour(key)
    _, labels = cv2.connectedComponents(areas.astype(np.uint8), connectivity=4)
    sides = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.isin(labels, np.unique(sides[sides > 0]))


def _whole(key: Plane, seen: NDArray[np.bool_]) -> NDArray[np.int16]:
    """The background (H, W, 3) with covered areas filled: along the row if both sides have one colour, as at a horizon
    or a wall, otherwise with the nearest visible colour."""
    filled = colour_of_nearest(key, seen)
    places = np.where(seen, np.arange(seen.shape[1]), -1)
    left = np.maximum.accumulate(places, axis=1)
    right = np.where(seen, places, seen.shape[1])
    right = np.minimum.accumulate(right[:, ::-1], axis=1)[:, ::-1]
    rows = np.arange(seen.shape[0])[:, None]
    sides = [key[rows, place.clip(0, seen.shape[1] - 1)].astype(np.int16) for place in (left, right)]
    alike = (left >= 0) & (right < seen.shape[1]) & (np.abs(sides[0] - sides[1]).max(axis=2) <= EVEN)
    return np.where(alike[..., None], sides[0], filled)


def _over(figure: Plane, ground: NDArray[np.int16], there: float) -> Plane:
    """A cel (H, W, 4) composited over a background (H, W, 3) with opacity `there`."""
    front = figure[..., 3:].astype(np.float32) / 255
    back = (1 - front) * there
    whole = front + back
    colour = (figure[..., :3] * front + ground * back) / np.maximum(whole, 1e-6)
    return np.rint(np.dstack([colour, 255 * whole])).astype(np.uint8)
