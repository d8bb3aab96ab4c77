"""Detect keys of different scenes, and draw replacements for their in-betweens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..data import cuts

Pixels = NDArray[np.uint8]
OnCut = Literal["draw", "hold", "fade"]
ON_CUT: tuple[OnCut, ...] = ("draw", "hold", "fade")
_GREY = 127.0


def across(pair: tuple[Pixels, Pixels], shares: Sequence[float], how: OnCut) -> list[Pixels]:
    """The frames between two keys (H, W, C) of different scenes: `hold` the nearer key, `fade` a cross-fade."""
    if how == "hold":
        return [pair[int(share >= 0.5)].copy() for share in shares]
    return [_faded(pair, share) for share in shares]


def _faded(pair: tuple[Pixels, Pixels], share: float) -> Pixels:
    first, last = (key.astype(np.float32) for key in pair)
    if first.shape[2] == 3:
        return np.rint(first + share * (last - first)).astype(np.uint8)
    weights = first[..., 3:] * (1 - share), last[..., 3:] * share
    matte = weights[0] + weights[1]
    colour = (first[..., :3] * weights[0] + last[..., :3] * weights[1]) / np.maximum(matte, 1e-3)
    return np.rint(np.concatenate([colour, matte], axis=2)).clip(0, 255).astype(np.uint8)


def is_cut(one: Pixels, other: Pixels) -> bool:
    """Whether two keys (H, W, 3 or 4) are of different scenes, by the cut detector of footage."""
    first, last = (cuts.reduced(picture) for picture in _flat(one, other))
    return cuts.is_cut(cuts.unlikeness(first, last), before=None, after=None)


def _flat(one: Pixels, other: Pixels) -> tuple[Pixels, Pixels]:
    """Two frames without alpha, (H, W, 3): a transparent one over the other if that is opaque, otherwise over grey."""
    if one.shape[2] == 3:
        return one, other
    opaque = [frame[..., 3].min() == 255 for frame in (one, other)]
    grounds = (other if opaque[1] else None, one if opaque[0] else None)
    return _over(one, grounds[0]), _over(other, grounds[1])


def _over(frame: Pixels, ground: Pixels | None) -> Pixels:
    matte = frame[..., 3:].astype(np.float32) / 255
    below = _GREY if ground is None else ground[..., :3].astype(np.float32)
    return np.rint(frame[..., :3] * matte + below * (1 - matte)).astype(np.uint8)
