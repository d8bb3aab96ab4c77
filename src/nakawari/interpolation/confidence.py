"""The confidence of an in-between, for the frame and for every pixel, from the keys and the frame alone.

Optical flow between the keys shows which parts match; flow from the frame to both keys shows whether the
frame resembles them and lies on the path between them. A logistic regression over a few such measures, fitted on clips
that are not used for evaluation (`benchmarks/confidence.py`), maps them to the probability that the frame is not
visibly wrong.
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
"""The fitted parameters: for `frame` and `pixel` the measures' names, means, deviations, weights and the constant."""
_SIDE = 256  # longer side in pixels of the working copy
_CHANGED, _ASTRAY = 12.0, 1.5  # change in levels of 255 and flow error in pixels from which a pixel counts as lost
_BOX = 15  # side in pixels of the squares of which the worst counts for a frame
_NEAR = 5  # side in pixels of the square averaged for a pixel
_GREY = 127.0
_LEAST = 1e-3  # offset before taking the logarithm of a measure

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Confidence:
    """The confidence of one in-between.

    Args:
        frame: probability in [0, 1] that the in-between is not visibly wrong.
        pixels: (H, W) uint8, the same of every pixel, 255 for 1.
    """

    frame: float
    pixels: NDArray[np.uint8]


class Keys:
    """Two keys, uint8 (H, W, 3 or 4), analysed once for all in-betweens of their gap."""

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
        """The inputs of the regressions for an in-between at a fraction of the gap: for the frame, and per pixel, (h,
        w).

        `lost`: share of pixels that change and have no match; `torn`: difference in levels of the worst square to
        both keys; `bent`: distance from the straight path, in pixels; `astray`: mean distance of edges from it, in
        pixels times levels; `soft`: share of the keys' edges that is lost; `edges`: mean gradient of the keys in
        levels; `changed`: mean difference of the keys in levels.
        """
        drawn = _small(frame)
        grey = _luma(drawn)
        ways = [_flow(grey, key) for key in self._grey]
        apart = [np.abs(drawn - _along(key, way)).mean(axis=2) for key, way in zip(self._keys, ways, strict=True)]
        bent = np.linalg.norm(ways[0] * (1 - share) + ways[1] * share, axis=2)
        gradient, edges = _gradient(grey), float(np.mean(self._edges))
        # In flat areas the flow is arbitrary, and no error shows there.
        astray = bent * np.maximum.reduce([gradient, *self._edges])
        unlike = np.minimum(*apart)
        lost = (self._lost[0] + self._lost[1]) / 2
        frame_figures = {
            "lost": float(lost.mean()),
            "torn": float(_mean(unlike, _BOX).max()),
            "astray": float(astray.mean()),
            "soft": max(0.0, 1 - float(gradient.mean()) / (edges + 1e-3)),
            "edges": edges,
        }
        planes = {"lost": lost, "torn": unlike, "bent": bent, "changed": self._changed}
        return frame_figures, {name: _mean(plane, _NEAR) for name, plane in planes.items()}

    def judge(self, frame: NDArray[np.uint8], share: float) -> Confidence:
        """The confidence of an in-between, uint8 (H, W, 3 or 4), at a fraction of the gap."""
        import cv2

        whole, pixels = self.figures(frame, share)
        plane = cv2.resize(_sure("pixel", pixels).astype(np.float32), self._size, interpolation=cv2.INTER_LINEAR)
        return Confidence(float(_sure("frame", whole)), np.rint(plane.clip(0, 1) * 255).astype(np.uint8))


def scaled(figures: dict[str, Any], names: list[str]) -> NDArray[np.float64]:
    """The measures of these names, normalised for a regression, along the last axis."""
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
