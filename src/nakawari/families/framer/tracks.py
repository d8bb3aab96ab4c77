"""Tracks, the positions of points in every frame: reading, interpolating and checking them.

A *drag* is the list of points that a user gives, (N, 2) as x, y in pixels of the output, the first at the start key,
the last at the end key. *Tracks* are the model's input, (F, P, 2): every drag at every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import NakawariError, UsageError
from ...files import read_json

Drag = NDArray[np.float64]
Tracks = NDArray[np.floating]

_FORM = 'write it as "x,y x,y ..." in pixels, first the position in the start key'


def parse_drag(text: str) -> Drag:
    """Parse a drag, `"120,80 140,90 200,95"` -> (N, 2).

    Raises:
        UsageError: anything but pairs of finite numbers.
    """
    pairs = text.replace(";", " ").split()
    try:
        points = [[float(value) for value in pair.split(",")] for pair in pairs]
    except ValueError as error:
        raise UsageError(f"The track {text!r} is not a list of points; {_FORM}.") from error
    return _drag(points, repr(text))


def _drag(points: Any, name: str) -> Drag:
    try:
        drag = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The track {name} is not a list of points; {_FORM}.") from error
    if drag.ndim != 2 or drag.shape[0] < 1 or drag.shape[1] != 2:
        raise UsageError(f"The track {name} is not a list of points; {_FORM}.")
    if not np.isfinite(drag).all():
        raise UsageError(f"The track {name} has a coordinate that is not a finite number; {_FORM}.")
    return drag


def read_drags(path: Path | str) -> list[Drag]:
    """Drags from a JSON file: a list of drags, each a list of [x, y] pairs in pixels.

    Raises:
        NakawariError: a missing or broken file.
        UsageError: a file of another form.
    """
    return drags_from(read_json(path), str(path))


def drags_from(value: Any, name: str) -> list[Drag]:
    """Drags from the parsed JSON of a file called `name`.

    Raises:
        UsageError: anything but a list of lists of [x, y] pairs.
    """
    if not isinstance(value, list) or not value:
        raise UsageError(f"{name} holds no tracks; write a list of tracks, each a list of [x, y] pairs in pixels.")
    return [_drag(points, f"{number} of {name}") for number, points in enumerate(value, start=1)]


def interpolate(
    points: NDArray[np.floating],
    num_frames: int,
    times: Sequence[float] | None = None,
    at: Sequence[float] | None = None,
) -> Tracks:
    """Monotone cubic (PCHIP, Fritsch & Carlson 1980) through knots.

    Args:
        points: (N, ..., 2), N >= 2 knots.
        num_frames: number of samples.
        times: times of the knots, N increasing values; None = evenly from 0 to 1.
        at: times of the samples, `num_frames` values; None = evenly from 0 to 1, ends included.

    Returns:
        (num_frames, ..., 2), float64.
    """
    from scipy.interpolate import PchipInterpolator

    knots = np.linspace(0, 1, len(points)) if times is None else np.asarray(times, dtype=np.float64)
    through = PchipInterpolator(knots, np.asarray(points, dtype=np.float64), axis=0)
    return through(np.linspace(0, 1, num_frames) if at is None else np.asarray(at, dtype=np.float64))


def drags_to_tracks(
    drags: Sequence[NDArray[np.floating]], num_frames: int, times: Sequence[float] | None = None
) -> Tracks:
    """Every drag at every frame, (F, P, 2) float64, at `times` from 0 to 1, None for even ones; a drag of one point
    is static.

    A drag with more points than frames is sampled at the frames' times, so some of its points lie between frames.

    Raises:
        UsageError: no drag at all, or one that is not (N, 2) finite numbers.
    """
    if not len(drags):
        raise UsageError("The list of tracks is empty; give at least one, or leave tracks out.")
    checked = [_drag(drag, str(number)) for number, drag in enumerate(drags, start=1)]
    whole = [drag if len(drag) > 1 else np.repeat(drag, 2, axis=0) for drag in checked]
    return np.stack([interpolate(drag, num_frames, at=times) for drag in whole], axis=1)


def check_tracks(tracks: Tracks, num_frames: int, size: tuple[int, int]) -> Tracks:
    """The same tracks, after checking that they fit the clip.

    Args:
        tracks: (F, P, 2), pixels.
        num_frames: F of the clip.
        size: height and width of the output.

    Raises:
        NakawariError: a wrong number of frames, a coordinate that is not finite, a track that is always outside the
        image.
    """
    if tracks.ndim != 3 or tracks.shape[2] != 2 or tracks.shape[0] != num_frames:
        raise NakawariError(
            f"Tracks of shape {tuple(tracks.shape)} do not fit a clip of {num_frames} frames; "
            f"give ({num_frames}, points, 2)."
        )
    if not np.isfinite(tracks).all():
        raise NakawariError("A track has a coordinate that is not a finite number; give pixels of the output.")
    height, width = size
    inside = (tracks >= 0).all(axis=2) & (tracks[..., 0] < width) & (tracks[..., 1] < height)
    if not inside.any(axis=0).all():
        number = int(np.argmin(inside.any(axis=0))) + 1
        raise UsageError(f"Track {number} never enters the image of {width}x{height} pixels; give points inside it.")
    return tracks
