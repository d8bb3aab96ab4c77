"""The reliability of an in-between drawn by parts."""

from __future__ import annotations

import cv2
import numpy as np

from .compose import Board, Stage

UNSEEN = 0.2
"""Trust where neither key shows the content."""
FOLLOWS = 0.5
"""Trust in a part without a match in the other key, which follows its neighbour."""
SPREAD = 5
"""Side in pixels of the square in which a wrong pixel reduces the trust of its neighbours."""


def trust_of(stage: Stage, rights: tuple[np.ndarray, np.ndarray], time: float, board: Board) -> np.ndarray:
    """(H, W) float32 in [0, 1]: reliability of each pixel of the in-between at a time.

    The trust of a part is the agreement of its outlines, reduced where the keys drawn from each other are
    wrong. Content that neither key shows has little trust.

    Args:
        stage: the gap.
        rights: per key (H, W) bool, the pixels drawn correctly from the other.
        time: in (0, 1).
        board: the in-between at this time.
    """
    fine = stage.fine
    drawn = board.parts[fine // 2 :: fine, fine // 2 :: fine]
    sure = [cv2.blur(right.astype(np.float32), (SPREAD, SPREAD)) for right in rights]
    owners = [owner[fine // 2 :: fine, fine // 2 :: fine] for owner in stage.layers.owners]
    out = np.zeros(drawn.shape, np.float32)
    for k, (to_first, to_last) in enumerate(stage.sources(time)):
        here = drawn == k
        if not here.any():
            continue
        ys, xs = np.nonzero(here)
        points = np.stack([xs, ys], 1) + 0.5
        total, seen = np.zeros(len(points)), np.zeros(len(points))
        for side, back in ((0, to_first), (1, to_last)):
            x, y = np.floor(points @ back[:2, :2].T + back[:2, 2]).astype(int).T
            inside = (x >= 0) & (y >= 0) & (x < drawn.shape[1]) & (y < drawn.shape[0])
            x, y = x.clip(0, drawn.shape[1] - 1), y.clip(0, drawn.shape[0] - 1)
            shown = inside & (owners[side][y, x] == k)
            total += np.where(shown, sure[side][y, x], 0)
            seen += shown
        part = stage.parts[k]
        held = 1.0 if part.ground else FOLLOWS + (1 - FOLLOWS) * part.quality
        out[ys, xs] = np.where(seen > 0, held * total / np.maximum(seen, 1), UNSEEN)
    return out.clip(0, 1)
