"""Choose between the parts and optical flow, region by region.

Where the parts and a flow warp of the keys draw different pictures, one of them is wrong. Each method can draw the
in-between from either key alone, and where its two pictures differ, it contradicts itself: a mouth that opens is not a
part that moves, and a flow loses what moves far. A region belongs to the method that contradicts itself less. If
both are sure, several things look alike and were matched differently, and the flow is right: it takes the shorter way.
Regions are connected over the frames of a gap, so that a thing is drawn by one method all the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ..guide.flow import Surface, both_ways, seen_at, surfaces
from ..guide.led import uncovered
from ..guide.parts import PartsDrawing
from ..guide.parts.check import RIGHT, over_grey
from ..guide.parts.drawing import FLOW_HELPS, as_key
from ..guide.parts.regions import premultiplied
from ..guide.warp import drawn_along, off_picture
from .drawn import Pair

LESS = 1.5
"""By what factor flow must contradict itself less than the parts do."""
SURE = 0.2
"""Contradiction of a flow, as a share of its difference to the parts, up to which it is sure."""
_SQUARE = np.ones((3, 3), np.uint8)

Levels = NDArray[np.float32]


@dataclass(frozen=True)
class _Half:
    """One in-between by flow: the motion (1, 2, h, w) from key to key, its picture and those from each key alone, over
    grey, (h, w, 3)."""

    motion: Tensor
    picture: Levels
    alone: tuple[Levels, Levels]


def by_region(pair: Pair, drawing: PartsDrawing) -> list[NDArray[np.uint8]]:
    """The frames of a drawing by parts, uint8 (H, W, 3 or 4) as its keys, with regions that optical flow draws better.

    Only the frame nearest to the middle is compared first; if flow draws nothing there, the frames are unchanged.
    """
    if drawing.flow < FLOW_HELPS or not drawing.frames:
        return drawing.frames
    with torch.inference_mode():
        flow = _Flow(drawing.stage.keys)
        middle = int(np.argmin(np.abs(np.array(drawing.times) - 0.5)))
        regions = _of_flow(drawing, flow, [middle])
        if not regions.any():
            return drawing.frames
        if len(drawing.frames) > 1:
            regions = _of_flow(drawing, flow, range(len(drawing.frames)))
        keys = premultiplied(pair[0]), premultiplied(pair[1])
        return [
            _joined(frame, region, keys, flow.at(time).motion, time)
            for frame, region, time in zip(drawing.frames, regions, drawing.times, strict=True)
        ]


class _Flow:
    """Optical flow between two keys, premultiplied (h, w, 4)."""

    def __init__(self, keys: tuple[Levels, Levels]) -> None:
        self._keys = tuple(_tensor(over_grey(key)) for key in keys)
        flows = both_ways(*self._keys)
        self._surfaces: tuple[Surface, Surface] = surfaces(*self._keys, flows, trusted=True)

    def at(self, time: float) -> _Half:
        motion, _ = seen_at(self._surfaces, time)
        first, last = (_levels(key) for key in _warped(*self._keys, motion, time))
        return _Half(motion, first + time * (last - first), (first, last))


def _of_flow(drawing: PartsDrawing, flow: _Flow, places: range | list[int]) -> NDArray[np.bool_]:
    """(frames, h, w): the regions of some frames that flow draws better."""
    height, width = drawing.stage.keys[0].shape[:2]
    between, by_flow, by_parts = _Differences(), _Differences(), _Differences()
    for place in places:
        frame = cv2.resize(premultiplied(drawing.frames[place]), (width, height), interpolation=cv2.INTER_AREA)
        half = flow.at(drawing.times[place])
        between.add(over_grey(frame), half.picture)
        by_flow.add(*half.alone)
    differ = np.stack([cv2.dilate((one > RIGHT).astype(np.uint8), _SQUARE) for one in between.levels])
    labels, count = ndimage.label(differ, np.ones((3, 3, 3), bool))
    if not count:
        return np.zeros(labels.shape, bool)
    for place in places:
        by_parts.add(*drawing.alone(place))
    index = np.arange(1, count + 1)
    flow_apart = by_flow.mean(labels, index)
    wrong_parts = by_parts.beyond_edges(labels, index) & (LESS * flow_apart < by_parts.mean(labels, index))
    sure_flow = between.beyond_edges(labels, index) & (flow_apart < SURE * between.mean(labels, index))
    return np.isin(labels, index[wrong_parts | sure_flow])


class _Differences:
    """Differences of two pictures of every frame, (h, w, 3) each."""

    def __init__(self) -> None:
        self.levels: list[Levels] = []
        self._beyond: list[NDArray[np.bool_]] = []

    def add(self, one: Levels, other: Levels) -> None:
        self.levels.append(np.abs(one - other).max(2))
        self._beyond.append(_beyond_edges(one, other))

    def mean(self, labels: NDArray[np.int32], index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean levels in every region."""
        return np.asarray(ndimage.mean(np.stack(self.levels), labels, index))

    def beyond_edges(self, labels: NDArray[np.int32], index: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the pictures differ in a region by more than soft or shifted edges."""
        return np.asarray(ndimage.maximum(np.stack(self._beyond), labels, index)) > 0


def _beyond_edges(one: Levels, other: Levels) -> NDArray[np.bool_]:
    """(h, w): where two pictures (h, w, 3) differ by more than edges that are soft or a pixel aside."""
    out = np.zeros(one.shape[:2], bool)
    for a, b in ((one, other), (other, one)):
        least, most = cv2.erode(b, _SQUARE), cv2.dilate(b, _SQUARE)
        out |= np.maximum(a - most, least - a).max(2) > RIGHT
    return out


def _joined(
    frame: NDArray[np.uint8], region: NDArray[np.bool_], keys: tuple[Levels, Levels], motion: Tensor, time: float
) -> NDArray[np.uint8]:
    """A frame with regions (h, w) drawn from the keys, premultiplied (H, W, 4), along a motion (1, 2, h, w)."""
    if not region.any():
        return frame
    height, width = frame.shape[:2]
    if region.shape != (height, width):
        scale = motion.new_tensor([width / region.shape[1], height / region.shape[0]])[:, None, None]
        motion = functional.interpolate(motion, (height, width), mode="bilinear", align_corners=False) * scale
        region = cv2.resize(region.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    first, last = (_levels(key) for key in _warped(_tensor(keys[0]), _tensor(keys[1]), motion, time))
    return np.where(region[..., None], as_key(first + time * (last - first), frame), frame)


def _warped(first: Tensor, last: Tensor, motion: Tensor, time: float) -> tuple[Tensor, Tensor]:
    """Two keys (1, C, H, W) in [-1, 1] at a time, along the motion (1, 2, H, W) from the first to the last."""
    ways = -time * motion, (1 - time) * motion
    gone = off_picture(ways[0], first.shape[-2:]) - off_picture(ways[1], first.shape[-2:])
    return uncovered(drawn_along(first, ways[0]), drawn_along(last, ways[1]), gone)


def _tensor(levels: Levels) -> Tensor:
    """(H, W, C) in [0, 255] as (1, C, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(levels)).permute(2, 0, 1)[None] / 127.5 - 1


def _levels(picture: Tensor) -> Levels:
    """The inverse of `_tensor`."""
    return ((picture[0] + 1) * 127.5).permute(1, 2, 0).numpy()
