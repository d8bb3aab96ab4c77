"""Fit pictures to the size of a protocol, keeping the aspect ratio unless `stretch` is set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .scored import Box, Frames

Fit = Literal["pad", "crop", "stretch"]
Filter = Literal["lanczos", "area"]
Size = tuple[int, int]
"""Width, height."""


@dataclass(frozen=True)
class Placement:
    """The position of a picture in a frame of another size.

    Args:
        size: width and height of the frame.
        scaled: width and height of the whole picture after resizing.
        offset: x and y of the scaled picture's corner in the frame; negative if it is cropped.
        source: width and height of the picture.
    """

    size: Size
    scaled: Size
    offset: tuple[int, int]
    source: Size

    @property
    def content(self) -> Box:
        """The part of the frame that shows the picture: x, y, width, height; the rest is padding and is not scored."""
        x, y = max(self.offset[0], 0), max(self.offset[1], 0)
        return x, y, min(self.scaled[0], self.size[0]), min(self.scaled[1], self.size[1])

    def box(self, box: Box, source: Size) -> Box | None:
        """A box in pixels of a picture of size `source`, in pixels of the content; None if it was cropped away."""
        factors = self.scaled[0] / source[0], self.scaled[1] / source[1]
        edges = []
        for axis in (0, 1):
            shift = self.offset[axis] - self.content[axis]
            low = round(box[axis] * factors[axis]) + shift
            high = round((box[axis] + box[axis + 2]) * factors[axis]) + shift
            edges.append((max(low, 0), min(high, self.content[axis + 2])))
        (left, right), (top, bottom) = edges
        return (left, top, right - left, bottom - top) if right > left and bottom > top else None


def place(source: Size, size: Size | None, fit: Fit) -> Placement:
    """The placement of a picture of size `source` in a frame of `size`; None leaves the picture unchanged.

    `pad` shows the whole picture with a border, `crop` fills the frame and crops the picture, both centred;
    `stretch` changes the aspect ratio. A side that differs by less than one pixel is fitted exactly in all three.
    """
    if size is None:
        return Placement(source, source, (0, 0), source)
    ratios = size[0] / source[0], size[1] / source[1]
    ratio = min(ratios) if fit == "pad" else max(ratios)
    scaled = [side * ratio for side in source]
    exact = fit == "stretch" or all(abs(side - target) < 1 for side, target in zip(scaled, size, strict=True))
    width, height = size if exact else (max(1, round(scaled[0])), max(1, round(scaled[1])))
    return Placement(size, (width, height), ((size[0] - width) // 2, (size[1] - height) // 2), source)


def resize(frame: Frames, size: Size, resample: Filter = "lanczos") -> Frames:
    """A frame (H, W, 3) at another size, antialiased, by Pillow; unchanged if it has that size."""
    from PIL import Image

    if (frame.shape[1], frame.shape[0]) == size:
        return frame
    kernel = {"lanczos": Image.Resampling.LANCZOS, "area": Image.Resampling.BOX}[resample]
    return np.asarray(Image.fromarray(np.ascontiguousarray(frame)).resize(size, kernel))


def fit_frame(frame: Frames, placement: Placement, resample: Filter = "lanczos") -> Frames:
    """A picture (H, W, 3) in its frame; a border repeats the picture's edge pixels."""
    scaled = resize(frame, placement.scaled, resample)
    cut_x, cut_y = (max(-offset, 0) for offset in placement.offset)
    _, _, width, height = placement.content
    return frame_around(scaled[cut_y : cut_y + height, cut_x : cut_x + width], placement)


def frame_around(shown: Frames, placement: Placement) -> Frames:
    """Add the border of repeated edge pixels to a picture: the inverse of `content`."""
    x, y, width, height = placement.content
    border = ((y, placement.size[1] - y - height), (x, placement.size[0] - x - width), (0, 0))
    return np.pad(shown, border, mode="edge")


def content(frames: Frames, placement: Placement) -> Frames:
    """Frames (..., H, W, 3) cropped to the picture."""
    x, y, width, height = placement.content
    return frames[..., y : y + height, x : x + width, :]
