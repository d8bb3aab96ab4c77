"""Tracks over a sequence: parsed for every gap, cut for every pass."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariWarning, UsageError
from ..families.framer.tracks import Drag, Tracks, check_tracks, drags_from, drags_to_tracks, parse_drag
from ..files import read_json
from .plan import Pass
from .settings import Settings
from .spacing import Shares

_NUMBERED = re.compile(r"\s*(\d+)\s*:(.*)")


def parse_tracks(words: Sequence[str], gaps: int) -> dict[int, list[Drag]]:
    """Drags per gap from the options of a command.

    Args:
        words: each `"x,y x,y ..."`, `"GAP: x,y x,y ..."` with gaps counted from 1, or the path of a JSON file: a
            list of tracks, or an object of such lists, `{"GAP": [...]}`.
        gaps: number of gaps; with more than one, the gap must be named.

    Raises:
        NakawariError: a missing or broken file.
        UsageError: anything else, or a gap that does not exist.
    """
    found: dict[int, list[Drag]] = {}
    for word in words:
        for name, drags in _parse(word).items():
            found.setdefault(_gap(name, gaps, word), []).extend(drags)
    return found


def _parse(word: str) -> dict[str, list[Drag]]:
    """Gap as named, "" if unnamed, -> drags."""
    if word.lower().endswith(".json"):
        value = read_json(Path(word))
        named: dict[str, Any] = value if isinstance(value, dict) else {"": value}
        return {name: drags_from(own, word) for name, own in named.items()}
    match = _NUMBERED.fullmatch(word)
    name, points = match.groups() if match else ("", word)
    return {name: [parse_drag(points)]}


def _gap(name: str, gaps: int, word: str) -> int:
    if name == "" and gaps == 1:
        return 0
    if name == "":
        raise UsageError(
            f"The track {word!r} does not name one of the {gaps} gaps; put the number of the gap before it, "
            'as in "2: 120,80 200,95".'
        )
    if not name.isdecimal() or not 1 <= int(name) <= gaps:
        raise UsageError(f"The track {word!r} is for gap {name}, but the gaps are 1 to {gaps}; name one of these.")
    return int(name) - 1


class GapTracks:
    """The positions of the points of one gap at every place of it.

    Args:
        rows: (F, P, 2), at the first key, every in-between and the second key.
        size: height and width of the drawings.
    """

    def __init__(self, rows: Tracks, size: tuple[int, int]) -> None:
        self.rows = np.array(rows, dtype=np.float64)
        self._limits = np.array([size[1], size[0]])

    @classmethod
    def of(cls, drags: Sequence[Drag], shares: Shares, size: tuple[int, int]) -> GapTracks:
        """From drags over a gap whose places are at the fractions `shares`, keys included.

        Raises `UsageError` for a drag that is always outside the image.
        """
        return cls(check_tracks(drags_to_tracks(drags, len(shares), shares), len(shares), size), size)

    def cut(self, spec: Pass) -> Tracks | None:
        """(F, P', 2), the tracks of one pass; points that are always outside the image are dropped, None without
        any."""
        rows = self.rows[_places(spec)]
        seen = self._seen(rows)
        return rows[:, seen] if seen.any() else None

    def _seen(self, rows: Tracks) -> NDArray[np.bool_]:
        return ((rows >= 0) & (rows < self._limits)).all(axis=2).any(axis=0)


def tracks_of_gaps(
    pairs: Mapping[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]], settings: Settings, shares: Mapping[int, Shares]
) -> dict[int, GapTracks]:
    """The tracks of a job, gap by gap; only gaps with tracks.

    Args:
        pairs: gap -> its two keys, RGB (H, W, 3).
        settings: its `drags` and, if `auto_tracks` is set, points matched between the keys as well.
        shares: gap -> the fractions of its places, keys included.
    """
    found = {}
    for gap, (first, last) in pairs.items():
        count, size = len(shares[gap]) - 2, (first.shape[0], first.shape[1])
        rows = [GapTracks.of(drags, shares[gap], size).rows for drags in (settings.drags.get(gap),) if drags]
        if settings.auto_tracks and count:
            rows += _matched(first, last, count, settings.seed + gap, gap)
        if rows:
            found[gap] = GapTracks(np.concatenate(rows, axis=1), size)
    return found


def _matched(first: NDArray[np.uint8], last: NDArray[np.uint8], count: int, seed: int, gap: int) -> list[Tracks]:
    from ..families.framer.matching import automatic_tracks  # imported late: needs OpenCV and torch

    tracks = automatic_tracks(first, last, count + 2, seed=seed)
    if tracks is None:
        warnings.warn(
            f"No points match between the two keys of gap {gap + 1}: it has no automatic tracks.",
            NakawariWarning,
            stacklevel=2,
        )
        return []
    return [tracks]


def _places(spec: Pass) -> list[int]:
    return [spec.start, *spec.places, spec.end]
