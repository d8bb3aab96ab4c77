"""The filter by which keys were scaled down, and keys as the mean of what each pixel covers.

Unmixing takes a pixel as the mean of what it covers. Drawings that were made larger and scaled down by a sharper filter
(bicubic, Lanczos) overshoot beside edges: their lines are narrower and darker, and areas have brighter rims. From a
first segmentation follows by how much each pixel differs from the mean, and the next one is of the corrected pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

Filter = Image.Resampling
MEAN = Filter.BOX
SHARP = (Filter.BICUBIC, Filter.LANCZOS)
STEEP = 40.0
"""Minimum difference in levels across an edge beside which overshoot is looked for."""
RIPPLE = 3.0
"""Minimum overshoot in levels."""
OVER = 0.25
"""Maximum overshoot relative to the edge."""
PARALLEL = 0.9
"""Minimum cosine between the colours of an edge and of its overshoot; a thin line beside it has a colour of its own."""
EVEN = 3.0
"""Maximum difference in levels within the area beside the edge."""
RINGING = 0.2
"""Minimum share of overshoot among small differences beside edges. On 11 figures it was 0.26 or more with bicubic
and Lanczos filters, and 0.07 or less with those that do not overshoot."""
FEWEST = 40
"""Minimum number of such differences."""
ALIKE = 20.0
"""Maximum difference in levels that may be overshoot within one area."""
LEFT = 8.0
"""The same after correction."""
TIMES = 6
"""Repetitions of averaging. Even the middle of a limb of five pixels overshoots."""
AROUND = 2
"""Radius in pixels of the neighbourhood that is averaged."""


def rings(colours: np.ndarray) -> bool:
    """Whether a key, premultiplied (H, W, 4), overshoots beside its edges.

    Equal places, as along an upright edge, count once.
    """
    found = []
    for turned in (colours, colours[::-1], colours.swapaxes(0, 1), colours.swapaxes(0, 1)[::-1]):
        before, here, rim, there = turned[:-3], turned[1:-2], turned[2:-1], turned[3:]
        rows, columns = np.nonzero(np.abs(there - rim).max(2) > STEEP)
        before, here, rim, there = (part[rows, columns] for part in (before, here, rim, there))
        found.append(np.stack([rim - here, there - rim], 1)[np.abs(here - before).max(1, initial=0) <= EVEN])
    places = np.rint(np.concatenate(found)).astype(np.int64)
    same = places.reshape(len(places), 8) @ 1009 ** np.arange(8)
    step, edge = places[np.unique(same, return_index=True)[1]].swapaxes(0, 1).astype(float)
    height, contrast = (np.linalg.norm(part, axis=1) for part in (step, edge))
    small = (height >= RIPPLE) & (height < OVER * contrast)
    over = small & ((step * edge).sum(1) < -PARALLEL * height * contrast)
    return bool(small.sum() >= FEWEST and over.sum() >= RINGING * small.sum())


def scaled(fine: np.ndarray, size: tuple[int, int], way: Filter) -> np.ndarray:
    """Subpixels (H·fine, W·fine, 4) as pixels of a size (W, H), by a filter; premultiplied float32, in the range of
    colours."""
    if way == MEAN:
        return cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
    made = np.stack([np.asarray(Image.fromarray(one).resize(size, way)) for one in cv2.split(fine)], 2)
    return in_range(made)


def in_range(colours: np.ndarray) -> np.ndarray:
    """Premultiplied (H, W, 4), with no alpha beyond 0 ... 255 and no colour beyond alpha."""
    alpha = colours[..., 3:].clip(0, 255)
    return np.concatenate([np.minimum(colours[..., :3].clip(0, None), alpha), alpha], 2)


def calmed(colours: np.ndarray, most: float = ALIKE) -> np.ndarray:
    """A key without overshoot: every pixel beside another colour is averaged with those around it that differ by at
    most `most` levels."""
    square = np.ones((2 * AROUND + 1,) * 2, np.uint8)
    spread = np.maximum.reduce(cv2.split(cv2.dilate(colours, square) - cv2.erode(colours, square)))
    ys, xs = np.nonzero(spread > 1)
    padded = np.pad(colours, ((AROUND, AROUND), (AROUND, AROUND), (0, 0)), mode="edge")
    width = padded.shape[1]
    planes = np.ascontiguousarray(padded.reshape(-1, 4).T)
    place = (ys + AROUND) * width + xs + AROUND
    steps = [y * width + x for y in range(-AROUND, AROUND + 1) for x in range(-AROUND, AROUND + 1)]
    for _ in range(TIMES):
        own = planes[:, place]
        total, count = np.zeros_like(own), np.zeros(len(place), np.float32)
        for step in steps:
            other = planes[:, place + step]
            near = (np.abs(other - own) <= most).all(0)
            total += other * near
            count += near
        planes[:, place] = total / count
    out = colours.copy()
    out[ys, xs] = planes[:, place].T
    return out


def filter_of(keys: Sequence[np.ndarray], drawn: Sequence[np.ndarray]) -> Filter:
    """The filter that makes keys (H, W, 4) best of their segments, colours (H·fine, W·fine, 4)."""
    pairs = list(zip(keys, drawn, strict=True))
    off = {
        way: sum(float(np.abs(scaled(fine, key.shape[1::-1], way) - key).mean()) for key, fine in pairs)
        for way in (MEAN, *SHARP)
    }
    return min(off, key=off.__getitem__)


def averaged(key: np.ndarray, drawn: np.ndarray, way: Filter) -> np.ndarray:
    """A key (H, W, 4) that was scaled down by a filter, as if each pixel were the mean of what it covers, given the
    colours (H·fine, W·fine, 4) of its segments."""
    size = key.shape[1::-1]
    return in_range(key + scaled(drawn, size, MEAN) - scaled(drawn, size, way))
