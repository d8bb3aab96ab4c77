"""Baseline rows: trivial floors, a flow anchor, and the autoencoder's reconstruction as upper bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..media import to_uint8
from .contestants import Contestant, Role, Task, keys_of
from .protocol import Protocol
from .scored import Frames


def copy_nearest(start: Frames, end: Frames, t: float) -> Frames:
    """The key that is nearer in time; the start key at t = 0.5."""
    return start if t <= 0.5 else end


def average(start: Frames, end: Frames, t: float) -> Frames:
    """The keys blended by time, rounded to 8 bits."""
    mixed = (1 - t) * start.astype(np.float64) + t * end.astype(np.float64)
    return mixed.round().astype(np.uint8)


def dis_both_ways(start: Frames, end: Frames, t: float) -> Frames:
    """DIS optical flow in each direction, each key warped backward to time `t`, the two blended by time.

    Frames are (H, W, 3) uint8. The flow towards a key is sampled at the pixel of the in-between (no splatting),
    the standard approximation: the start key is sampled at x + t flow(end->start)(x), the end key at
    x + (1 - t) flow(start->end)(x). OpenCV's DIS (Kroeger et al. 2016), medium preset, on grey images.
    """
    return mix_warped(start, end, *dis_flows(start, end), t)


def dis_flows(start: Frames, end: Frames) -> tuple[np.ndarray, np.ndarray]:
    """DIS flow start -> end and end -> start, each (H, W, 2) float32 in pixels."""
    import cv2

    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in (start, end)]
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return method.calc(grey[0], grey[1], None), method.calc(grey[1], grey[0], None)


def mix_warped(start: Frames, end: Frames, forward: np.ndarray, backward: np.ndarray, t: float) -> Frames:
    """The keys warped along given flows to time `t` and blended by time, rounded to 8 bits; the keys at t = 0 and 1."""
    first = _warp(start, t * backward).astype(np.float64)
    last = _warp(end, (1 - t) * forward).astype(np.float64)
    return ((1 - t) * first + t * last).round().astype(np.uint8)


def _warp(frame: Frames, displacement: np.ndarray) -> Frames:
    """A frame sampled at every pixel plus its displacement (H, W, 2) in pixels; the border repeats."""
    import cv2

    height, width = frame.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        frame, x + displacement[..., 0], y + displacement[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


class Floor(Contestant):
    """A row from a function of the keys and a time: `between(start, end, t)` returns one frame (H, W, 3) uint8."""

    def __init__(self, name: str, between: Callable[[Frames, Frames, float], Frames], role: Role = "floor") -> None:
        super().__init__(name, role)
        self.between = between

    def draw(self, tasks: Sequence[Task], protocol: Protocol, seed: int) -> list[Frames]:
        return [self._clip(task) for task in tasks]

    def _clip(self, task: Task) -> Frames:
        start, end = task.keys
        last = task.num_frames - 1
        return np.stack([start, *(self.between(start, end, k / last) for k in range(1, last)), end])


class GuideAlone(Contestant):
    """A model's motion guide without the model: the warped keys, blended by time."""

    def __init__(self, name: str, pipeline: Any) -> None:
        super().__init__(name, "anchor")
        self.pipeline = pipeline

    def draw(self, tasks: Sequence[Task], protocol: Protocol, seed: int) -> list[Frames]:
        start, end = (key.to(self.pipeline.device) for key in keys_of(tasks))
        with torch.no_grad():
            condition = self.pipeline.condition(start, end, num_frames=tasks[0].num_frames)
        height, width = condition.size
        return [to_uint8((clip[..., :height, :width] + 1) / 2, low=0) for clip in condition.guide.blend()]


class RoundTrip(Contestant):
    """The autoencoder's reconstruction of keys and truths, as upper bound.

    It draws exactly the true frames, for any number of frames in the protocol.
    """

    def __init__(self, name: str, pipeline: Any) -> None:
        super().__init__(name, "ceiling")
        self.pipeline = pipeline

    def num_frames(self, task: Task) -> int:
        return len(task.truth) + 2

    def draw(self, tasks: Sequence[Task], protocol: Protocol, seed: int) -> list[Frames]:
        start, end = (key.to(self.pipeline.device) for key in keys_of(tasks))
        true = torch.from_numpy(np.stack([task.truth for task in tasks])).movedim(-1, -3).float() / 127.5 - 1
        frames = torch.cat([start[:, None], true.to(start.device), end[:, None]], dim=1)
        with torch.no_grad():
            condition = self.pipeline.condition(start, end, num_frames=frames.shape[1])
            made = self.pipeline.decode(self.pipeline.encode(frames, condition), condition)
        return [to_uint8((clip + 1) / 2, low=0) for clip in made]


def standard_floors() -> list[Contestant]:
    """The baselines of every table, which need no model."""
    return [
        Floor("copy of the nearest key", copy_nearest),
        Floor("average of the keys", average),
        Floor("DIS flow, both ways", dis_both_ways, "anchor"),
    ]


def companions(name: str, pipeline: Any) -> list[Contestant]:
    """The baselines of one model: its guide alone if it has one, and its autoencoder's reconstruction."""
    guide = [GuideAlone(f"{name}: guide alone", pipeline)] if pipeline.guide is not None else []
    return [*guide, RoundTrip(f"{name}: autoencoder", pipeline)]
