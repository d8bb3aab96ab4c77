"""Previews of a finished cut: all levels over the background as a video, and a contact sheet for each level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..files import atomic_path
from ..media import contact_sheet, open_video, write_gif

ROW = 9
"""Maximum number of drawings in a row of a contact sheet."""
WHITE = 255


def composed(
    ground: np.ndarray | None, levels: Sequence[tuple[Sequence[int | None], Mapping[int, np.ndarray]]], duration: int
) -> Iterator[np.ndarray]:
    """The frames of a cut, uint8 (H, W, 3), one by one; a frame equal to the previous one is the same array.

    Args:
        ground: the background below all levels, (H, W, 3 or 4); white if there is none.
        levels: bottom first: the drawing shown on every frame, and the drawings, (H, W, 3 or 4), sRGB. Images of
            different sizes are centred on the largest.
        duration: frames.
    """
    pictures = [picture for _, drawings in levels for picture in drawings.values()]
    pictures += [ground] if ground is not None else []
    size = (max(p.shape[0] for p in pictures), max(p.shape[1] for p in pictures)) if pictures else (2, 2)
    paper = np.full((*size, 3), WHITE, np.uint8)
    bottom = paper if ground is None else _over(paper, ground)
    before: list[int | None] = []
    frame = bottom
    for row in range(duration):
        now = [shown[row] for shown, _ in levels]
        if now != before:
            frame = bottom
            for number, (_, drawings) in zip(now, levels, strict=True):
                frame = frame if number is None else _over(frame, drawings[number])
        before = now
        yield frame


def _over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Composite `above` (H, W, 3 or 4) over the centre of `below` (H', W', 3), which is at least as large."""
    top, left = (below.shape[0] - above.shape[0]) // 2, (below.shape[1] - above.shape[1]) // 2
    place = (slice(top, top + above.shape[0]), slice(left, left + above.shape[1]))
    result = below.copy()
    if above.shape[2] == 3:
        result[place] = above
        return result
    alpha = above[..., 3:].astype(np.float32) / 255
    result[place] = np.rint(above[..., :3] * alpha + below[place] * (1 - alpha)).astype(np.uint8)
    return result


def write_preview(path: Path, frames: Iterator[np.ndarray], rate: float) -> None:
    """Write an MP4, frame by frame, or a GIF, by the suffix."""
    if path.suffix == ".gif":
        write_gif(path, list(frames), rate)
        return
    with atomic_path(path) as temporary, open_video(temporary, rate, pixel_format="yuv420p", quality=12) as write:
        for frame in frames:
            write(np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge"))


def level_sheet(
    title: str, drawings: Sequence[np.ndarray], captions: Sequence[str], keys: Sequence[bool]
) -> np.ndarray:
    """The contact sheet (H, W, 3) of a level: its drawings in order, with the existing ones marked."""
    starts = range(0, len(drawings), ROW)
    rows = [drawings[start : start + ROW] for start in starts]
    return contact_sheet(
        rows,
        [title, *[""] * (len(rows) - 1)],
        [captions[start : start + ROW] for start in starts],
        [keys[start : start + ROW] for start in starts],
    )
