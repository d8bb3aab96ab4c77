"""How sure an in-between is: a number for the frame and one for every pixel, from the keys and the frame alone.

Optical flow between the keys says what is found again in the other; flow from the frame to both keys says whether what
was drawn looks like them, and lies on the way. A logistic regression over a handful of such figures, fitted on clips
that no score is made on (`benchmarks/confidence.py`), turns them into the probability that the frame is not visibly
wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import read_json
from .drawn import Pair

FIT = Path(__file__).parents[1] / "assets" / "confidence.json"
"""The fitted numbers: for `frame` and `pixel` the figures' names, means, deviations, weights and the constant."""
_SIDE = 256  # pixels of the longer side at which everything is looked at
_CHANGED, _ASTRAY = 12.0, 1.5  # levels of 255 and pixels from which on a pixel counts as lost
_BOX = 15  # pixels of the square whose mean is the worst of a frame
_NEAR = 5  # pixels of the square whose mean speaks for a pixel
_GREY = 127.0
_LEAST = 1e-3  # figures are taken as logarithms of themselves and this

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Confidence:
    """Of one in-between.

    Args:
        frame: probability in [0, 1] that the in-between is not visibly wrong.
        pixels: (H, W) uint8, of every pixel, 255 for 1.
    """

    frame: float
    pixels: NDArray[np.uint8]


class Keys:
    """Two keys, uint8 (H, W, 3 or 4), looked at once for all in-betweens of their gap."""

    def __init__(self, pair: Pair) -> None:
        self._size = pair[0].shape[1], pair[0].shape[0]
        self._keys = [_small(key) for key in pair]
        self._grey = [_luma(key) for key in self._keys]
        self._edges = [_gradient(grey) for grey in self._grey]
        ways = _flow(*self._grey), _flow(*self._grey[::-1])
        changed = np.abs(self._keys[0] - self._keys[1]).mean(axis=2)
        self._changed = changed
        astray = [np.linalg.norm(a + _along(b, a), axis=2) > _ASTRAY for a, b in (ways, ways[::-1])]
        self._lost = [(one & (changed > _CHANGED)).astype(np.float32) for one in astray]

    def figures(self, frame: NDArray[np.uint8], share: float) -> tuple[dict[str, float], dict[str, Plane]]:
        """What the regressions read of an in-between at a share of the way: of the frame, and of every pixel, (h, w).

        `lost`: share of pixels that change and are not found again; `torn`: levels by which the worst square is unlike
        both keys; `bent`: distance from the straight way, in diagonals; `soft`: share of the keys' edges that is gone;
        `edges`: levels of change from pixel to pixel in the keys; `changed`: levels between the keys.
        """
        drawn = _small(frame)
        grey = _luma(drawn)
        ways = [_flow(grey, key) for key in self._grey]
        apart = [np.abs(drawn - _along(key, way)).mean(axis=2) for key, way in zip(self._keys, ways, strict=True)]
        bent = np.linalg.norm(ways[0] * (1 - share) + ways[1] * share, axis=2)
        edges = float(np.mean(self._edges))
        unlike = np.minimum(*apart)
        lost = (self._lost[0] + self._lost[1]) / 2
        frame_figures = {
            "lost": float(lost.mean()),
            "torn": float(_mean(unlike, _BOX).max()),
            "bent": float(bent.mean() / np.hypot(*bent.shape)),
            "soft": max(0.0, 1 - float(_gradient(grey).mean()) / (edges + 1e-3)),
            "edges": edges,
        }
        planes = {"lost": lost, "torn": unlike, "bent": bent, "changed": self._changed}
        return frame_figures, {name: _mean(plane, _NEAR) for name, plane in planes.items()}

    def judge(self, frame: NDArray[np.uint8], share: float) -> Confidence:
        """The confidence of an in-between, uint8 (H, W, 3 or 4), at a share of the way."""
        import cv2

        whole, pixels = self.figures(frame, share)
        plane = cv2.resize(_sure("pixel", pixels).astype(np.float32), self._size, interpolation=cv2.INTER_LINEAR)
        return Confidence(float(_sure("frame", whole)), np.rint(plane.clip(0, 1) * 255).astype(np.uint8))


def scaled(figures: dict[str, Any], names: list[str]) -> NDArray[np.float64]:
    """Figures of these names as a regression reads them, in the last axis."""
    return np.stack([np.log(np.maximum(np.asarray(figures[name], np.float64), 0) + _LEAST) for name in names], axis=-1)


@cache
def _fit() -> dict[str, Any]:
    return read_json(FIT)


def _sure(kind: str, figures: dict[str, Any]) -> NDArray[np.float64]:
    fit = _fit()[kind]
    own = (scaled(figures, fit["figures"]) - fit["mean"]) / fit["deviation"]
    return 1 / (1 + np.exp(own @ np.array(fit["weights"]) + fit["constant"]))


def _small(picture: NDArray[np.uint8]) -> Plane:
    """(h, w, 3), over mid-grey, its longer side at most 256."""
    import cv2

    flat = picture.astype(np.float32)
    if picture.shape[2] == 4:
        matte = flat[..., 3:] / 255
        flat = flat[..., :3] * matte + _GREY * (1 - matte)
    height, width = flat.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    return flat if size == (width, height) else cv2.resize(flat, size, interpolation=cv2.INTER_AREA)


def _luma(picture: Plane) -> NDArray[np.uint8]:
    import cv2

    return np.rint(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)).clip(0, 255).astype(np.uint8)


def _flow(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Plane:
    import cv2

    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(one, other, None)


def _along(picture: Plane, flow: Plane) -> Plane:
    import cv2

    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    places = x + flow[..., 0], y + flow[..., 1]
    return cv2.remap(picture, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _gradient(grey: NDArray[np.uint8]) -> Plane:
    import cv2

    return np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))


def _mean(plane: Plane, side: int) -> Plane:
    import cv2

    return cv2.blur(plane.astype(np.float32), (side, side))
