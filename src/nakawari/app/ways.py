"""Point tracks: validated, saved with the work, and shown."""

from __future__ import annotations

import math
from typing import Any

from ..errors import UsageError
from .strip import preview_url
from .work import Asked, Work

MOST_WAYS, MOST_POINTS = 200, 64
_FORM = "a way is a list of [x, y] in pixels of the keys, starting with the position in the first key"


def take_ways(work: Work, data: Any) -> int:
    """Save the tracks of a gap, `{"gap": 1, "ways": [[[x, y], ...], ...]}`; returns their number.

    Raises:
        UsageError: another form, a gap that does not exist, or a point outside the keys.
    """
    if not isinstance(data, dict):
        raise UsageError(f"Give an object with gap and ways; {_FORM}.")
    with work.changing() as asked:
        gap = _gap(data.get("gap"), asked)
        size = asked.keys[0].width, asked.keys[0].height
        asked.tracks[str(gap)] = _ways(data.get("ways"), size)
        return len(asked.tracks[str(gap)])


def _gap(value: Any, asked: Asked) -> int:
    gaps = asked.gaps()
    if type(value) is not int or not 1 <= value <= gaps:
        there = f"the gaps are 1 to {gaps}" if gaps else "there are no gaps, as there are fewer than two keys"
        raise UsageError(f"This gap does not exist; {there}.")
    return value


def _ways(value: Any, size: tuple[int, int]) -> list[list[list[float]]]:
    if not isinstance(value, list) or len(value) > MOST_WAYS:
        raise UsageError(f"Give a list of at most {MOST_WAYS} ways; {_FORM}.")
    return [_way(way, size) for way in value]


def _way(value: Any, size: tuple[int, int]) -> list[list[float]]:
    if not isinstance(value, list) or not 2 <= len(value) <= MOST_POINTS:
        raise UsageError(f"A way must have 2 to {MOST_POINTS} points; {_FORM}.")
    return [_point(point, size) for point in value]


def _point(value: Any, size: tuple[int, int]) -> list[float]:
    if not isinstance(value, list) or len(value) != 2 or not all(type(one) in (int, float) for one in value):
        raise UsageError(f"A point must be two numbers; {_FORM}.")
    if not all(math.isfinite(one) and 0 <= one <= side for one, side in zip(value, size, strict=True)):
        raise UsageError(f"A point is outside the keys, which are {size[0]}x{size[1]}; give one inside.")
    return [float(one) for one in value]


def ways_value(work: Work, gap: int) -> dict[str, Any] | None:
    """Both keys of a gap and its tracks for the component; None if the gap does not exist."""
    asked = work.asked()
    if not 1 <= gap <= asked.gaps():
        return None
    ends = asked.keys[gap - 1], asked.keys[gap % len(asked.keys)]
    return {
        "gap": gap,
        "size": [ends[0].width, ends[0].height],
        "keys": [preview_url(work, key) for key in ends],
        "names": [key.name for key in ends],
        "ways": asked.tracks.get(str(gap), []),
    }


def gap_choices(asked: Asked) -> list[tuple[str, int]]:
    """(label, gap counted from 1) of every gap to be drawn."""
    keys = [key.name for key in asked.keys]
    drawn = [gap for gap in range(asked.gaps()) if not asked.is_apart(gap)]
    ends = {gap: f"{keys[gap]} to {keys[(gap + 1) % len(keys)]}" for gap in drawn}
    return [(f"{asked.name_of(gap).capitalize()}: {ends[gap]}", gap + 1) for gap in drawn]
