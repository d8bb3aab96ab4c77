"""Find clips with the same drawings, encoded, scaled or trimmed differently."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .clips import Frames

_SIZE = (16, 9)
_COARSE = (4, 3)
_ALIKE = 10.0  # maximum difference in levels of 255 of the most different blocks of one drawing
_COUNTED = 8  # number of these blocks: a small figure is enough
_SHARE = 0.8  # minimum share of the shorter clip's drawings that the other clip has
_FEWEST = 3  # minimum number of drawings of a compared clip
_MOST = 64  # maximum number of stored drawings of a clip, spread over it
_MOVES = 3.0  # minimum difference in levels of a clip's drawings: static clips are not compared

_PROBES = 5  # number of drawings used to look up earlier clips

Seen = NDArray[np.float32]


def seen_of(frame: Frames) -> Seen:
    """The signature of a frame (H, W, 3): block averages (16 x 9 x 3) without the mean brightness."""
    import cv2

    small = cv2.resize(np.ascontiguousarray(frame).astype(np.float32), _SIZE, interpolation=cv2.INTER_AREA)
    return (small - small.mean()).astype(np.float32)


class Likeness:
    """An index of the clips so far."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._own: list[NDArray[np.int16]] = []
        self._coarse = np.zeros((0, 3 * _COARSE[0] * _COARSE[1]), np.float32)
        self._owner = np.zeros(0, np.int64)  # the clip of each row of `_coarse`

    def find(self, name: str, drawings: list[Seen]) -> str | None:
        """The first earlier clip with most of these drawings; then add this clip to the index."""
        places = _spread(len(drawings), _MOST)
        if len(places) < _FEWEST:
            return None
        own = np.stack([drawings[place] for place in places]).round().astype(np.int16)
        if np.ptp(own, axis=0).max() < _MOVES:
            return None
        coarse = _coarse(own)
        near = np.zeros(len(self._owner), bool)
        for probe in coarse[_spread(len(coarse), _PROBES)]:
            near |= np.abs(self._coarse - probe).max(axis=1) <= _ALIKE
        found = (index for index in np.unique(self._owner[near]) if self._alike(index, own, coarse))
        twin = next((self._names[index] for index in found), None)
        self._owner = np.concatenate([self._owner, np.full(len(own), len(self._names))])
        self._coarse = np.concatenate([self._coarse, coarse])
        self._names.append(name)
        self._own.append(own)
        return twin

    def _alike(self, index: int, own: NDArray[np.int16], coarse: NDArray[np.float32]) -> bool:
        other, rough = self._own[index], self._coarse[self._owner == index]
        close = np.abs(coarse[:, None] - rough[None]).max(axis=-1) <= _ALIKE
        shorter = min(len(own), len(other))
        if min(close.any(axis=0).sum(), close.any(axis=1).sum()) < _SHARE * shorter:
            return False
        same = np.zeros_like(close)
        for one, two in np.argwhere(close):
            unlike = np.abs(own[one] - other[two]).max(axis=-1).ravel()
            same[one, two] = np.sort(unlike)[-_COUNTED:].mean() <= _ALIKE
        # In both directions: one static drawing must not match many.
        return bool(min(same.any(axis=0).sum(), same.any(axis=1).sum()) >= _SHARE * shorter)


def _spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Up to `wanted` of `count` indices, first and last included."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(int)) if count else np.zeros(0, int)


def _coarse(drawings: NDArray[np.int16]) -> NDArray[np.float32]:
    import cv2

    small = [cv2.resize(one.astype(np.float32), _COARSE, interpolation=cv2.INTER_AREA) for one in drawings]
    return np.stack(small).reshape(len(drawings), -1)
