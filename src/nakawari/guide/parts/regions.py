"""A key drawing cut into regions of one colour and lines, finer than its pixels.

Anti-aliased pixels are mixtures of the colours round them. Each is taken apart into shares, and its shares are laid
out over `fine` x `fine` subpixels, so that an edge lies where it was drawn to a fraction of a pixel and every
subpixel is of one colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

FLAT = 3.0
"""Neighbours that differ by no more than this many levels belong to one region."""
THIN = 0.9
"""Mean distance to the border, in pixels, up to which a long region is a line."""
HAIR = 0.75
"""The same for any region, however short."""
LINE = 48.0
"""Levels from an ink within which the pixels of a thin line lie, few of which are wholly covered."""
NEAR = 2
"""How far from a mixed pixel, in pixels, the colours that mix in it are looked for."""


KNOWN = 16.0
"""A mixture explains a colour to within this many levels."""
RINGING = 36.0
"""A colour this near to an area beside it is that area's, overshot by a sharp resampling, not an ink."""
ALIASED = 0.0005
"""Share of mixed pixels below which a drawing is taken for aliased."""
MOST_INKS = 6
SAMPLED = 1500
"""How many unexplained pixels the inks are found from."""
GROUPS = (
    (0,), (1,), (2,), (3,), (4,), (0, 1), (0, 3), (1, 3), (0, 2), (1, 2), (2, 3), (0, 4), (1, 4), (3, 4),
    (0, 1, 3), (0, 2, 3), (0, 1, 4), (0, 3, 4), (0, 1, 2),
)  # fmt: skip
"""Which of a pixel's candidates (three areas, two lines) are tried together."""


@dataclass(frozen=True)
class Cel:
    """A key drawing as labels.

    Args:
        fine: subpixels along a pixel's side.
        labels: (H·fine, W·fine) int32; 0 ... areas - 1 are areas, what follows are lines.
        paints: (N, 4) float32, premultiplied RGBA in [0, 255] of every label.
        areas: how many labels are areas.
        known: (H, W) bool, where the shares explain the pixel's colour.
        hard: whether no pixel is a mixture: edges are not anti-aliased.
    """

    fine: int
    labels: np.ndarray
    paints: np.ndarray
    areas: int
    known: np.ndarray
    hard: bool = False

    @property
    def line(self) -> np.ndarray:
        """(H·fine, W·fine) bool: where a line is."""
        return self.labels >= self.areas


def premultiplied(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3 or 4) as float32 (H, W, 4), colour multiplied by alpha, in [0, 255]."""
    flat = pixels.astype(np.float32)
    if flat.shape[2] == 3:
        return np.concatenate([flat, np.full_like(flat[..., :1], 255)], 2)
    flat[..., :3] *= flat[..., 3:] / 255
    return flat


def cut_up(keys: Sequence[np.ndarray], fine: int) -> list[Cel]:
    """The regions and lines of keys of one scene, uint8 (H, W, 3 or 4) each; they share their inks."""
    colours = [premultiplied(key) for key in keys]
    found = [_areas(own) for own in colours]
    known = [paints for _, paints in found]
    found = [_areas(own, np.concatenate(known)) for own in colours]
    support: list[tuple[float, np.ndarray]] = []
    for own, (pure, paints) in zip(colours, found, strict=True):
        left = _mixtures(own, pure, len(paints), paints)[2]
        for count, ink in _inks(own, pure, paints, left):
            twin = next((k for k, (_, other) in enumerate(support) if np.abs(other - ink).max() <= KNOWN), None)
            if twin is None:
                support.append((count, ink))
            else:
                support[twin] = (support[twin][0] + count, support[twin][1])
    support.sort(key=lambda item: -item[0])
    inks = _unmixed([ink for _, ink in support], np.concatenate([paints for _, paints in found]))[:MOST_INKS]
    return [_cel(own, pure, paints, inks, fine) for own, (pure, paints) in zip(colours, found, strict=True)]


def _cel(colours: np.ndarray, pure: np.ndarray, paints: np.ndarray, inks: np.ndarray, fine: int) -> Cel:
    areas = len(paints)
    if len(inks):
        paints = np.concatenate([paints, inks])
        rest = pure < 0
        gap = np.abs(colours[rest][:, None] - inks).max(2)
        pure = pure.copy()
        pure[rest] = np.where(gap.min(1) <= 2 * FLAT, areas + gap.argmin(1), -1)
    ids, shares, left = _mixtures(colours, pure, areas, paints)
    labels = _laid_out(pure, ids, shares, areas, fine)
    labels = _filled(labels)
    labels, paints, areas = _marks(labels, paints, areas, fine)
    mixed = float((shares.max(2) < 0.98).mean())
    return Cel(fine, labels, paints, areas, left < KNOWN, hard=mixed < ALIASED)


def _filled(labels: np.ndarray) -> np.ndarray:
    """Every subpixel without a label takes the nearest one's; there must be one."""
    lost = labels < 0
    if not lost.any() or lost.all():
        return labels
    _, index = cv2.distanceTransformWithLabels(lost.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(index.max()) + 1, labels.dtype)
    table[index[~lost]] = labels[~lost]
    return table[index]


def _areas(colours: np.ndarray, known: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels of pixels that lie in areas of one colour, -1 elsewhere; the paint of every label.

    `known` are paints (N, 4) of areas of the other keys, too.
    """
    components = _components(colours)
    count = int(components.max()) + 1
    sizes = np.bincount(components.ravel(), minlength=count)
    means = np.stack([np.bincount(components.ravel(), c.ravel(), count) for c in np.moveaxis(colours, 2, 0)], 1)
    means /= sizes[:, None]
    depth = _mean_depth(components, count, sizes)
    whole = _solid(components, count) & (sizes >= 5)
    is_area = whole & ((depth > THIN) | ((depth > HAIR) & (sizes < 100 * depth**2)))
    thin = whole & ~is_area
    # A narrow strip in the colour of an area is a glimpse of such an area, not a line, unless lines own that colour.
    pool = means[is_area] if known is None else np.concatenate([means[is_area], known])
    weight = sizes[is_area] if known is None else np.concatenate([sizes[is_area], np.full(len(known), 40)])
    loose, loose_sizes = means[~is_area], sizes[~is_area]
    for k in np.flatnonzero(thin):
        alike = np.abs(pool - means[k]).max(1, initial=0) <= FLAT
        rivals = np.abs(loose - means[k]).max(1) <= LINE
        if alike.any() and loose_sizes[rivals].sum() < weight[alike].sum():
            is_area[k] = True
    order = np.flatnonzero(is_area)
    table = np.full(count, -1, np.int32)
    table[order] = np.arange(len(order))
    return table[components], means[order].astype(np.float32)


def _inks(
    colours: np.ndarray, pure: np.ndarray, paints: np.ndarray, left: np.ndarray
) -> list[tuple[float, np.ndarray]]:
    """The paints (4,) of lines, with how many pixels each explains.

    They are colours that, mixed with the areas round them, explain most of what areas alone cannot.
    """
    ys, xs = np.nonzero(left > KNOWN)
    step = max(1, len(ys) // SAMPLED)
    ys, xs, far = ys[::step], xs[::step], left[ys, xs][::step]
    round_them = _candidates(pure, len(paints), paints, ys, xs)[:, :2]
    pool = colours[ys, xs]
    table = np.concatenate([paints, np.full((1, 4), 1e4, np.float32)])
    near = table[round_them]
    true = np.abs(near - pool[:, None]).max(2).min(1) > RINGING
    pool, near, far = pool[true], near[true], far[true]
    inks: list[tuple[float, np.ndarray]] = []
    while len(inks) < MOST_INKS and len(pool) >= 3:
        tries = _tries(pool, far)
        taken = np.array([ink for _, ink in inks], np.float32).reshape(-1, 4)
        tries = tries[np.abs(tries[:, None] - taken).max(2).min(1, initial=255) > RINGING]
        if len(tries) == 0:
            break
        explained = [_explained(pool, ink, near) for ink in tries]
        best = int(
            np.argmax(
                [
                    found.sum() + 0.2 * (np.abs(pool - ink).max(1) < 1).sum()
                    for ink, found in zip(tries, explained, strict=True)
                ]
            )
        )
        if explained[best].sum() < max(3, 0.003 * len(ys)):
            break
        inks.append((float(explained[best].sum() * step), tries[best]))
        keep = ~explained[best]
        pool, near, far = pool[keep], near[keep], far[keep]
    return inks


def _unmixed(inks: list[np.ndarray], paints: np.ndarray) -> np.ndarray:
    """Inks (N, 4) without those that are a stronger one mixed with an area: a line beside no area."""
    kept: list[np.ndarray] = []
    for ink in inks:
        alone = bool((np.abs(paints - ink).max(1) <= FLAT).any())
        target = np.broadcast_to(ink, paints.shape)
        mixed = any(
            (_shares(target, np.stack([np.broadcast_to(other, paints.shape), paints], 1))[1] < KNOWN / 2).any()
            for other in kept
        )
        if alone or not mixed:
            kept.append(ink)
    return np.array(kept, np.float32).reshape(-1, 4)


def _tries(pool: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Colours that may be an ink: the commonest, the most foreign and the darkest of those unexplained."""
    values, counts = np.unique(np.rint(pool).astype(np.int32), axis=0, return_counts=True)
    common = values[np.argsort(-counts, kind="stable")[:8]]
    dark = pool[np.argsort(pool[:, :3].sum(1) - pool[:, 3] * 3, kind="stable")[:2]]
    return np.concatenate([common, pool[np.argsort(-far, kind="stable")[:4]], dark]).astype(np.float32)


def _explained(pool: np.ndarray, ink: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Which colours (N, 4) the ink makes, alone or mixed with one or both of the areas (N, 2, 4) round them."""
    inks = np.broadcast_to(ink, (len(pool), 1, 4))
    found = np.zeros(len(pool), bool)
    for areas in (near[:, :1], near[:, 1:], near):
        weight, left = _shares(pool, np.concatenate([inks, areas], 1))
        found |= (left < KNOWN / 2) & (weight[:, 0] > 0.05)
    return found


def _marks(labels: np.ndarray, paints: np.ndarray, areas: int, fine: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Patches of an ink that are no part of the network of lines become areas: an eye, a spoke, a narrow limb.

    The first ink draws the lines if what it draws is thin; of every other ink, and of a first one that is not thin,
    each patch is an area.
    """
    fresh: list[np.ndarray] = []
    taken = np.full(labels.shape, -1, np.int32)
    for ink in range(areas, len(paints)):
        mask = (labels == ink).astype(np.uint8)
        # A thin line may be laid out with gaps: its pieces are one patch.
        whole = cv2.dilate(mask, np.ones((fine // 2 * 2 + 1,) * 2, np.uint8))
        count, patches, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=4)
        patches[mask == 0] = 0
        stats[:, cv2.CC_STAT_AREA] = np.bincount(patches.ravel(), minlength=count)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
        mean = np.bincount(patches.ravel(), depth.ravel(), count) / np.maximum(stats[:, cv2.CC_STAT_AREA], 1) / fine
        for k in range(1, count):
            size = stats[k, cv2.CC_STAT_AREA] / fine**2
            network = ink == areas and (mean[k] <= THIN + 0.2 and size > 60 * mean[k] ** 2)
            if size >= 4 and not network and mean[k] > 0.3:
                x, y, width, height = stats[k, :4]
                spot = np.s_[y : y + height, x : x + width]
                taken[spot][patches[spot] == k] = areas + len(fresh)
                fresh.append(paints[ink])
    if not fresh:
        return labels, paints, areas
    moved = np.where(labels >= areas, labels + len(fresh), labels)
    labels = np.where(taken >= 0, taken, moved)
    paints = np.concatenate([paints[:areas], np.array(fresh, np.float32), paints[areas:]])
    return labels, paints, areas + len(fresh)


def _components(colours: np.ndarray) -> np.ndarray:
    height, width = colours.shape[:2]
    index = np.arange(height * width).reshape(height, width)
    across = np.abs(np.diff(colours, axis=1)).max(2) <= FLAT
    down = np.abs(np.diff(colours, axis=0)).max(2) <= FLAT
    first = np.concatenate([index[:, :-1][across], index[:-1][down]])
    last = np.concatenate([index[:, 1:][across], index[1:][down]])
    graph = coo_matrix((np.ones(len(first), bool), (first, last)), shape=(index.size, index.size))
    return connected_components(graph, directed=False)[1].reshape(height, width)


def _solid(components: np.ndarray, count: int) -> np.ndarray:
    """Which components hold a 2 x 2 block, or a straight run of three."""
    c = components
    block = c[:-1, :-1][(c[:-1, :-1] == c[1:, 1:]) & (c[:-1, :-1] == c[:-1, 1:]) & (c[:-1, :-1] == c[1:, :-1])]
    rows = c[:, 1:-1][(c[:, :-2] == c[:, 1:-1]) & (c[:, 1:-1] == c[:, 2:])]
    columns = c[1:-1][(c[:-2] == c[1:-1]) & (c[1:-1] == c[2:])]
    found = np.zeros(count, bool)
    for kind in (block, rows, columns):
        found[kind] = True
    return found


def _mean_depth(components: np.ndarray, count: int, sizes: np.ndarray) -> np.ndarray:
    """Mean distance of a component's pixels to what is not in it."""
    c = np.pad(components, 1, mode="edge")
    edge = np.zeros(components.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge |= c[dy : dy + edge.shape[0], dx : dx + edge.shape[1]] != components
    inside = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3) + 0.5
    return np.bincount(components.ravel(), inside.ravel(), count) / sizes


def _mixtures(
    colours: np.ndarray, pure: np.ndarray, areas: int, paints: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per pixel up to three labels (H, W, 3; -1 for none) with their shares (H, W, 3), and the levels left over."""
    ids = np.full((*pure.shape, 3), -1, np.int32)
    shares = np.zeros((*pure.shape, 3), np.float32)
    ids[..., 0], shares[..., 0] = pure, pure >= 0
    unexplained = np.where(pure < 0, np.float32(255), np.float32(0))
    ys, xs = np.nonzero(pure < 0)
    if len(ys) == 0 or len(paints) == 0:
        return ids, shares, unexplained
    candidates = _candidates(pure, areas, paints, ys, xs)
    best = np.full(len(ys), np.inf)
    difference = np.full(len(ys), 255.0)
    target = colours[ys, xs]
    table = np.concatenate([paints, np.zeros((1, 4), np.float32)])
    for group in GROUPS:
        chosen = candidates[:, group]
        weight, left = _shares(target, table[chosen])
        cost = left + 3.0 * (len(group) - 1)
        cost[(chosen < 0).any(1)] = np.inf
        better = cost < best
        best[better], difference[better] = cost[better], left[better]
        rows, columns = ys[better], xs[better]
        ids[rows, columns] = -1
        shares[rows, columns] = 0
        ids[rows, columns, : len(group)] = chosen[better]
        shares[rows, columns, : len(group)] = weight[better]
    unexplained[ys, xs] = difference
    return ids, shares, unexplained


def _candidates(pure: np.ndarray, areas: int, paints: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """(N, 5): a mixed pixel's three nearest areas, the picture's first ink, and another ink near; -1 for none."""
    reach = [(dy, dx) for dy in range(-NEAR - 1, NEAR + 2) for dx in range(-NEAR - 1, NEAR + 2) if dy or dx]
    reach.sort(key=lambda step: step[0] ** 2 + step[1] ** 2)
    padded = np.pad(pure, NEAR + 1, constant_values=-1)
    out = np.full((len(ys), 5), -1, np.int32)
    if len(paints) > areas:  # a line may be too thin to have a pure pixel near
        out[:, 3] = areas
    for dy, dx in reach:
        seen = padded[ys + NEAR + 1 + dy, xs + NEAR + 1 + dx]
        area = (seen >= 0) & (seen < areas)
        for slot in range(3):
            new = area & (out[:, slot] < 0)
            for other in range(slot):
                new &= out[:, other] != seen
            out[new, slot] = seen[new]
            area &= ~new
        line = (seen > areas) & (out[:, 4] < 0)
        out[line, 4] = seen[line]
    return out


def _shares(target: np.ndarray, paints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares (N, K) >= 0 that sum to 1 of paints (N, K, 4) in colours (N, 4), and the largest difference left."""
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


def _laid_out(pure: np.ndarray, ids: np.ndarray, shares: np.ndarray, areas: int, fine: int) -> np.ndarray:
    """The subpixel labels: each pixel's shares as so many subpixels, on the side where the neighbours have them."""
    labels = np.repeat(np.repeat(pure, fine, 0), fine, 1)
    ys, xs = np.nonzero(pure < 0)
    if len(ys) == 0:
        return labels
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    own, weight = ids[ys, xs], shares[ys, xs]
    lean = _lean(ids, shares, ys, xs, own)
    own_line = own >= areas
    # Areas choose their subpixels first, each from its own side; the line is what is left between them.
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
    """(N, 3, 2): towards which side (y, x) of the pixel each of its labels lies, from the neighbours' shares."""
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
