"""Unmix anti-aliased pixels into shares of the surrounding colours, and distribute these over subpixels."""

from __future__ import annotations

import cv2
import numpy as np

FLAT = 3.0
"""Neighbours that differ by no more than this many levels belong to one region."""
KNOWN = 16.0
"""A mixture explains a colour to within this many levels."""
NEAR = 2
"""Search radius in pixels for the colours mixed in a pixel."""
EVEN = 1.0
"""Levels by which a group must explain a pixel better than earlier groups, which use nearer areas."""
GROUPS = (
    (0,), (1,), (2,), (3,), (4,), (0, 1), (0, 3), (1, 3), (0, 2), (1, 2), (2, 3), (0, 4), (1, 4), (3, 4),
    (0, 1, 3), (0, 2, 3), (0, 1, 4), (0, 3, 4), (0, 1, 2),
)  # fmt: skip
"""Groups of a pixel's candidates (three areas, two lines) that are tried together."""


def mixtures(
    colours: np.ndarray, pure: np.ndarray, areas: int, paints: np.ndarray, lines: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per pixel up to three labels (H, W, 3; -1 for none) with their shares (H, W, 3), and the residual in levels.

    `lines`: the number of lines' colours, if they have several.
    """
    ids = np.full((*pure.shape, 3), -1, np.int32)
    shares = np.zeros((*pure.shape, 3), np.float32)
    ids[..., 0], shares[..., 0] = pure, pure >= 0
    unexplained = np.where(pure < 0, np.float32(255), np.float32(0))
    ys, xs = np.nonzero(pure < 0)
    if len(ys) == 0 or len(paints) == 0:
        return ids, shares, unexplained
    found = candidates(pure, areas, paints, ys, xs, lines)
    best = np.full(len(ys), np.inf)
    difference = np.full(len(ys), 255.0)
    target = colours[ys, xs]
    table = np.concatenate([paints, np.zeros((1, 4), np.float32)])
    for group in GROUPS:
        chosen = found[:, group]
        weight, left = shares_in(target, table[chosen])
        cost = left + 3.0 * (len(group) - 1)
        cost[(chosen < 0).any(1)] = np.inf
        better = cost < best - EVEN
        best[better], difference[better] = cost[better], left[better]
        rows, columns = ys[better], xs[better]
        ids[rows, columns] = -1
        shares[rows, columns] = 0
        ids[rows, columns, : len(group)] = chosen[better]
        shares[rows, columns, : len(group)] = weight[better]
    unexplained[ys, xs] = difference
    return ids, shares, unexplained


def candidates(
    pure: np.ndarray, areas: int, paints: np.ndarray, ys: np.ndarray, xs: np.ndarray, lines: int = 0
) -> np.ndarray:
    """(N, 5): a mixed pixel's three nearest areas, the image's first ink, and another nearby ink; -1 for none. Where
    lines have several colours, the two nearest of these instead, and other inks are areas."""
    reach = [(dy, dx) for dy in range(-NEAR - 1, NEAR + 2) for dx in range(-NEAR - 1, NEAR + 2) if dy or dx]
    reach.sort(key=lambda step: step[0] ** 2 + step[1] ** 2)
    padded = np.pad(pure, NEAR + 1, constant_values=-1)
    out = np.full((len(ys), 5), -1, np.int32)
    if len(paints) > areas:  # a thin line may have no pure pixel nearby
        out[:, 3] = areas
    for dy, dx in reach:
        seen = padded[ys + NEAR + 1 + dy, xs + NEAR + 1 + dx]
        area = (seen >= 0) & ((seen < areas) | (seen >= areas + lines if lines else False))
        for slot in range(3):
            new = area & (out[:, slot] < 0)
            for other in range(slot):
                new &= out[:, other] != seen
            out[new, slot] = seen[new]
            area &= ~new
        line = (seen > areas) & (out[:, 4] < 0)
        out[line, 4] = seen[line]
    if lines:
        out[:, 3:] = _nearest_lines(pure, areas, lines)[ys, xs]
    return out


def _nearest_lines(pure: np.ndarray, areas: int, lines: int) -> np.ndarray:
    """(H, W, 2): the two colours of lines that are nearest to every pixel."""
    away = [cv2.distanceTransform((pure != areas + k).astype(np.uint8), cv2.DIST_L2, 5) for k in range(lines)]
    return areas + np.argsort(np.stack(away, 2), axis=2, kind="stable")[..., :2]


def shares_in(target: np.ndarray, paints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares (N, K) >= 0 that sum to 1 of paints (N, K, 4) in colours (N, 4), and the largest residual."""
    count = paints.shape[1]
    base = paints[:, -1]
    if count == 1:
        weight = np.ones((len(target), 1), np.float32)
    elif count == 2:
        way = paints[:, 0] - base
        share = ((target - base) * way).sum(1) / np.maximum((way**2).sum(1), 1e-3)
        share = share.clip(0, 1)
        weight = np.stack([share, 1 - share], 1)
    else:
        a, b, c = paints[:, 0] - base, paints[:, 1] - base, target - base
        aa, bb, ab = (a * a).sum(1), (b * b).sum(1), (a * b).sum(1)
        ac, bc = (a * c).sum(1), (b * c).sum(1)
        det = aa * bb - ab**2
        safe = np.maximum(det, 1e-3)
        first, second = (bb * ac - ab * bc) / safe, (aa * bc - ab * ac) / safe
        weight = np.stack([first, second, 1 - first - second], 1)
        weight = weight.clip(0, 1)
        weight /= weight.sum(1, keepdims=True)
        weight[det < 25.0] = (1, 0, 0)
    left = np.abs((weight[..., None] * paints).sum(1) - target).max(1)
    return weight.astype(np.float32), left


def laid_out(pure: np.ndarray, ids: np.ndarray, shares: np.ndarray, areas: int, fine: int) -> np.ndarray:
    """The subpixel labels: each pixel's shares as a number of subpixels, on the side where the neighbours have the
    label."""
    labels = np.repeat(np.repeat(pure, fine, 0), fine, 1)
    ys, xs = np.nonzero(pure < 0)
    if len(ys) == 0:
        return labels
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    own, weight = ids[ys, xs], shares[ys, xs]
    lean = _lean(ids, shares, ys, xs, own)
    own_line = own >= areas
    # Areas take their subpixels first, each from its own side; the rest between them is line.
    rank = np.argsort(-(weight + (own < 0) * -9 - own_line * 5), axis=1, kind="stable")
    own, weight = np.take_along_axis(own, rank, 1), np.take_along_axis(weight, rank, 1)
    lean = np.take_along_axis(lean, rank[..., None], 1)
    block = np.full((len(ys), fine * fine), -1, np.int32)
    used = np.zeros(len(ys), np.int64)
    total = np.cumsum(weight, 1)
    for slot in range(3):
        want = np.rint(total[:, slot] * fine * fine).astype(np.int64)
        score = lean[:, slot] @ offsets.T
        score[block >= 0] = -np.inf
        place = np.argsort(np.argsort(-score, axis=1, kind="stable"), axis=1)
        take = (place < (want - used)[:, None]) & (own[:, slot] >= 0)[:, None] & (block < 0)
        block = np.where(take, own[:, slot : slot + 1], block)
        used = np.maximum(used, want)
    first = own[:, :1]
    block = np.where(block < 0, first, block)
    height, width = pure.shape
    grid = labels.reshape(height, fine, width, fine).transpose(0, 2, 1, 3).copy()
    grid[ys, xs] = block.reshape(-1, fine, fine)
    return grid.transpose(0, 2, 1, 3).reshape(height * fine, width * fine)


def _lean(ids: np.ndarray, shares: np.ndarray, ys: np.ndarray, xs: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(N, 3, 2): the direction (y, x) in the pixel of each of its labels, from the neighbours' shares."""
    padded_ids = np.pad(ids, ((1, 1), (1, 1), (0, 0)), mode="edge")
    padded = np.pad(shares, ((1, 1), (1, 1), (0, 0)), mode="edge")
    lean = np.zeros((len(ys), 3, 2), np.float32)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy == 0 and dx == 0:
                continue
            seen, weight = padded_ids[ys + 1 + dy, xs + 1 + dx], padded[ys + 1 + dy, xs + 1 + dx]
            has = ((own[:, :, None] == seen[:, None]) * weight[:, None]).sum(2)
            way = np.array([dy, dx], np.float32) / (dy * dy + dx * dx)
            lean += has[..., None] * way
    return lean
