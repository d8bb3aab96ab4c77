"""The contact sheet and the animation of a finished sequence, with its tracks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..media import contact_sheet, overlay_tracks

if TYPE_CHECKING:
    from .drawn import Drawn

ROW = 9
"""Maximum number of frames in one row of the contact sheet."""


def gaps_of(drawn: Drawn, *, loop: bool) -> list[list[int]]:
    """Per gap the numbers of its frames, both keys included; with `loop` the last gap ends at the first frame."""
    starts = [index for index, key in enumerate(drawn.keys) if key is not None]
    ends = [*starts[1:], len(drawn.frames)] if loop else starts[1:]
    return [[*range(start, end), end % len(drawn.frames)] for start, end in zip(starts, ends, strict=False)]


def seen(drawn: Drawn, gap: int, place: int, frame: int, overlay: bool) -> np.ndarray:
    """Frame number `frame`, at `place` of a gap, with the gap's tracks drawn over it, if any."""
    picture = drawn.frames[frame]
    return overlay_tracks(picture, drawn.tracks[gap], place) if overlay and gap in drawn.tracks else picture


def playing(drawn: Drawn, *, loop: bool, overlay: bool) -> list[np.ndarray]:
    """All frames in order; a key between two gaps shows the tracks that begin there, otherwise those that end there."""
    frames = list(drawn.frames)
    gaps = gaps_of(drawn, loop=loop)
    for gap in sorted(drawn.tracks, reverse=True) if overlay else ():
        for place, frame in reversed(list(enumerate(gaps[gap]))):
            if place <= len(gaps[gap]) - 2 or frames[frame] is drawn.frames[frame]:
                frames[frame] = seen(drawn, gap, place, frame, overlay)
    return frames


def sheet(
    drawn: Drawn, names: Sequence[str], numbers: Sequence[int], *, loop: bool, overlay: bool = True
) -> np.ndarray:
    """The contact sheet (H, W, 3): every gap from key to key, in rows of at most `ROW` frames, the keys marked.

    Args:
        names: of the key drawings.
        numbers: of every drawing, as in the names of the files.
    """
    rows, labels, captions, marked = [], [], [], []
    gaps = gaps_of(drawn, loop=loop)
    for gap, frames in enumerate(gaps):
        if len(frames) == 2 and 0 < gap < len(gaps) - 1 and min(len(gaps[gap - 1]), len(gaps[gap + 1])) > 2:
            continue  # the boundary of two pairs: nothing is drawn, and both keys are in the adjacent rows
        parts = -(-len(frames) // ROW)
        title = title_of(drawn, names, gap, len(frames) - 2)
        for part, chunk in enumerate(np.array_split(np.arange(len(frames)), parts)):
            rows.append([seen(drawn, gap, place, frames[place], overlay) for place in chunk])
            labels.append(title if part == 0 else "")
            captions.append([caption(drawn, names, frames[place], numbers[frames[place]]) for place in chunk])
            marked.append([drawn.keys[frames[place]] is not None for place in chunk])
    return contact_sheet(rows, labels, captions, marked)


def caption(drawn: Drawn, names: Sequence[str], frame: int, number: int) -> str:
    """The number of a frame, with the name of its key drawing if it is a key."""
    key = drawn.keys[frame]
    return f"{number}" if key is None else f"{number} {names[key]}"


def title_of(drawn: Drawn, names: Sequence[str], gap: int, count: int) -> str:
    """The title of a gap of `count` in-betweens: its keys, and a possible cut."""
    title = f"{names[gap]} to {names[(gap + 1) % len(names)]}: {count} between"
    return f"{title}; gap {gap + 1}: a cut?" if gap in drawn.cuts else title
