"""Shades: colours of one outlined shape that meet without a line between them, as its lit and its shaded side, or
stripes.

The line around them bounds one thing, and that is what moves. So keys are matched as if it were of one colour, the one
that takes most of it, and it is drawn with all that is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .graph import nearest_areas, rims
from .hues import is_shade
from .regions import Cel, cels_of

OPEN = 0.45
"""Minimum share of the border between two areas that has no line."""
SHORT = 2.0
"""Minimum length of that in pixels."""
LINED = 0.75
"""Minimum share of the rest of their borders that is line."""
REACHES = 0.06
"""Minimum share of an area's border that is line; what a shape encloses without one lies on it and moves on its own."""
SMALL = 16.0
"""Minimum size of such an area in pixels; smaller ones may be mixtures of other colours."""
RIM = 0.02
"""Maximum share of the picture's border that such an area may take; more is background."""
SAME = 6.0
"""Maximum difference in levels of what counts as one paint."""


@dataclass(frozen=True)
class _Key:
    """Areas of a key.

    Args:
        cel: its labels.
        codes: (areas,) which of the paints of both keys each has.
        fit: (areas,) bool: neither background nor enclosed.
        groups: labels of areas of one outlined shape, two or more each.
    """

    cel: Cel
    codes: np.ndarray
    fit: np.ndarray
    groups: list[np.ndarray]


def with_shades(cels: Sequence[Cel]) -> list[Cel]:
    """The cels of two keys, matched as if each outlined shape were of one colour."""
    paints, codes = _named(cels)
    keys = [_key(cel, code) for cel, code in zip(cels, codes, strict=True)]
    targets = _targets(keys, paints)
    changes = [target != code for target, code in zip(targets, codes, strict=True)]
    if not any(change.any() for change in changes):
        return list(cels)
    flat = [_flattened(cel, which, paints[to]) for cel, which, to in zip(cels, changes, targets, strict=True)]
    again = cels_of(flat, cels[0].fine, cels[0].way)
    return [_both(new, old, which) for new, old, which in zip(again, cels, changes, strict=True)]


def _named(cels: Sequence[Cel]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The different paints (N, 4) of the areas of two keys, and per key which one each area has."""
    every = np.concatenate([cel.paints[: cel.areas] for cel in cels])
    twins = (np.abs(every[:, None] - every).max(2) <= SAME).argmax(1)
    used, codes = np.unique(twins, return_inverse=True)
    return every[used], np.split(codes, [cels[0].areas])


def _targets(keys: Sequence[_Key], paints: np.ndarray) -> list[np.ndarray]:
    """Per key which paint each area (areas,) is matched with.

    A shade becomes its paint wherever it is, since what is lit in one key may lie in the shade in the other. Other
    colours become one if a shape has several areas of both, as stripes: an iris may move on its eye.
    """
    sizes = [np.bincount(key.cel.labels.ravel(), minlength=key.cel.areas)[: key.cel.areas] for key in keys]
    total = np.bincount(np.concatenate([key.codes for key in keys]), np.concatenate(sizes), len(paints))
    shade_of, stripes = np.arange(len(paints)), [key.codes.copy() for key in keys]
    for key, own in zip(keys, stripes, strict=True):
        for group in key.groups:
            codes = key.codes[group]
            main = max(sorted(set(codes.tolist())), key=lambda code: total[code])
            for code in sorted(set(codes.tolist()) - {main}):
                if is_shade(paints[code], paints[main]):
                    shade_of[code] = main
                elif min((codes == code).sum(), (codes == main).sum()) > 1:
                    own[group[codes == code]] = main
    while (shade_of[shade_of] != shade_of).any():  # to paints that take more: it ends
        shade_of = shade_of[shade_of]
    return [
        np.where(key.fit | (own != key.codes), shade_of[own], key.codes) for key, own in zip(keys, stripes, strict=True)
    ]


def _flattened(cel: Cel, which: np.ndarray, paints: np.ndarray) -> np.ndarray:
    """A key's pixels (H, W, 4) with some areas (areas,) bool in other paints (areas, 4)."""
    height, width = cel.colours.shape[:2]
    labels = cel.labels.reshape(height, cel.fine, width, cel.fine).transpose(0, 2, 1, 3).reshape(height, width, -1)
    target = cel.paints.copy()
    target[: cel.areas][which] = paints[which]
    flat = cel.colours + (target - cel.paints)[labels].mean(2)
    # Shares are whole subpixels, so that a seam would be left as an edge of a few levels.
    seam = np.append(which, np.zeros(len(target) - len(which), bool))[labels].any(2)
    seam &= np.ptp(target[labels], axis=2).max(2) <= SAME
    flat[seam] = target[labels[seam][:, 0]]
    return flat.clip(0, 255).astype(np.float32)


def _both(new: Cel, old: Cel, which: np.ndarray) -> Cel:
    """A cel of flattened pixels, drawn with those areas (areas,) bool of the old one that were changed."""
    count = len(which)
    labels = np.where(new.labels >= new.areas, new.labels + count, new.labels)
    near = nearest_areas(old)[0]
    shade = which[near] & (new.labels < new.areas)
    paints = np.concatenate([new.paints[: new.areas], old.paints[:count], new.paints[new.areas :]])
    shaded = frozenset(np.unique(labels[shade]).tolist())
    return replace(
        new, labels=labels, paints=paints, areas=new.areas + count, shaded=shaded,
        within=np.where(shade, new.areas + near, labels),
    )  # fmt: skip


def _key(cel: Cel, codes: np.ndarray) -> _Key:
    n = cel.areas
    direct = _borders(np.where(cel.line, n, cel.labels), n)
    line, bare = direct[:n, n], direct[:n, :n]
    whole = line + bare.sum(1)
    fit = (cel.paints[:n, 3] >= 4) & (rims(cel) <= RIM) & (line >= REACHES * np.maximum(whole, 1))
    facing = _borders(nearest_areas(cel)[0], n)[:n, :n]
    sizes = np.bincount(cel.labels.ravel(), minlength=n)[:n] / cel.fine**2
    sure = fit & (sizes >= SMALL)
    open_ = (bare >= OPEN * facing) & (bare > SHORT * cel.fine) & sure[:, None] & sure
    while True:
        count, of = connected_components(coo_matrix(open_), directed=False)
        groups = [np.flatnonzero(of == k) for k in range(count) if (of == k).sum() > 1]
        loose = [g for g in groups if line[g].sum() < LINED * (whole[g].sum() - bare[np.ix_(g, g)].sum())]
        if not loose:
            return _Key(cel, codes, fit, groups)
        for group in loose:
            open_[group] = False


def _borders(labels: np.ndarray, n: int) -> np.ndarray:
    """(n + 1, n + 1): the length in subpixels of the border between each two labels of 0 ... n."""
    out = np.zeros((n + 1, n + 1))
    for a, b in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        differ = a != b
        np.add.at(out, (a[differ], b[differ]), 1.0)
    return out + out.T
