"""Connected regions of one colour in a picture."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .mixtures import FLAT


def components_of(colours: np.ndarray) -> np.ndarray:
    """(H, W) the region of every pixel of a picture (H, W, 4)."""
    height, width = colours.shape[:2]
    index = np.arange(height * width).reshape(height, width)
    across = np.abs(np.diff(colours, axis=1)).max(2) <= FLAT
    down = np.abs(np.diff(colours, axis=0)).max(2) <= FLAT
    first = np.concatenate([index[:, :-1][across], index[:-1][down]])
    last = np.concatenate([index[:, 1:][across], index[1:][down]])
    graph = coo_matrix((np.ones(len(first), bool), (first, last)), shape=(index.size, index.size))
    return connected_components(graph, directed=False)[1].reshape(height, width)


def solid(components: np.ndarray, count: int) -> np.ndarray:
    """The components with a 2 x 2 block or a straight run of three."""
    c = components
    block = c[:-1, :-1][(c[:-1, :-1] == c[1:, 1:]) & (c[:-1, :-1] == c[:-1, 1:]) & (c[:-1, :-1] == c[1:, :-1])]
    rows = c[:, 1:-1][(c[:, :-2] == c[:, 1:-1]) & (c[:, 1:-1] == c[:, 2:])]
    columns = c[1:-1][(c[:-2] == c[1:-1]) & (c[1:-1] == c[2:])]
    found = np.zeros(count, bool)
    for kind in (block, rows, columns):
        found[kind] = True
    return found


def depths(components: np.ndarray) -> np.ndarray:
    """(H, W) distance of every pixel to the border of its region."""
    c = np.pad(components, 1, mode="edge")
    edge = np.zeros(components.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge |= c[dy : dy + edge.shape[0], dx : dx + edge.shape[1]] != components
    return cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3) + 0.5


def filled(labels: np.ndarray) -> np.ndarray:
    """Fill every subpixel without a label with the nearest label; at least one must exist."""
    lost = labels < 0
    if not lost.any() or lost.all():
        return labels
    _, index = cv2.distanceTransformWithLabels(lost.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(index.max()) + 1, labels.dtype)
    table[index[~lost]] = labels[~lost]
    return table[index]
