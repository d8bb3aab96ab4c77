"""Spacing: the fractions of a gap at which the in-betweens are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import UsageError

Shares = tuple[float, ...]
"""One fraction for each in-between of a gap, increasing, each above 0 and below 1."""

_CURVES: dict[str, Callable[[float], float]] = {
    "even": lambda t: t,
    "ease-in": lambda t: t * t,
    "ease-out": lambda t: t * (2 - t),
    "ease": lambda t: t * t * (3 - 2 * t),
}
SPACINGS = tuple(_CURVES)
"""`ease-in` begins slowly, `ease-out` ends slowly, `ease` does both."""


def parse_spacing(text: str) -> str | Shares:
    """One of `SPACINGS`, or shares as `"0.1,0.3,0.7"`; anything else raises `UsageError`."""
    word = text.strip().lower()
    if word in _CURVES:
        return word
    try:
        shares = tuple(float(piece) for piece in word.split(","))
    except ValueError as error:
        raise UsageError(
            f"The spacing {text!r} is not known; give {', '.join(SPACINGS)}, or fractions such as 0.1,0.3,0.7."
        ) from error
    rising = all(low < high for low, high in zip((0.0, *shares), (*shares, 1.0), strict=True))
    if not rising:
        raise UsageError(
            f"The fractions {text!r} do not increase between 0 and 1; give them in order, such as 0.1,0.3,0.7."
        )
    return shares


def eased(name: str, times: Sequence[float]) -> Shares:
    """The shares of in-betweens at `times` (0 to 1) between their keys, with one of `SPACINGS`."""
    return tuple(_CURVES[name](time) for time in times)


def even(count: int) -> Shares:
    """Evenly spaced fractions."""
    return tuple(place / (count + 1) for place in range(1, count + 1))


def spaced_gaps(spacings: Sequence[str | Shares], times: Sequence[Sequence[float]]) -> tuple[Shares, ...]:
    """The shares of every gap.

    Args:
        spacings: as `parse_spacing` gives them, one for all gaps or one for each.
        times: per gap the times of its in-betweens between their keys (0 to 1), at which curves are evaluated.

    Raises:
        UsageError: the number of spacings is not that of the gaps, or that of fractions not that of in-betweens.
    """
    if len(spacings) not in (1, len(times)):
        raise UsageError(f"There are {len(times)} gaps but {len(spacings)} spacings; give one, or one for each gap.")
    found = []
    for gap, own in enumerate(times):
        spacing = spacings[gap % len(spacings)]
        if not isinstance(spacing, str) and len(spacing) != len(own):
            raise UsageError(
                f"Gap {gap + 1} has {len(own)} in-betweens but its spacing has {len(spacing)} fractions; make them "
                "equal, or leave --between out."
            )
        found.append(eased(spacing, own) if isinstance(spacing, str) else spacing)
    return tuple(found)


def nearest_grid(shares: Sequence[float], most: int) -> tuple[int, tuple[int, ...]]:
    """The nearest even grid to some fractions, for a model that draws at fixed times.

    Args:
        shares: n of them.
        most: maximum number of in-betweens that the model draws at once; a grid has up to this many, or 2 n + 1.

    Returns: the number of steps N of the grid, and for each fraction its place, increasing, in 1 ... N - 1. Of equally
        near grids (to a thousandth of the gap), it is the coarsest.
    """
    if not shares:
        return 1, ()
    steps = range(len(shares) + 1, max(most + 1, 2 * (len(shares) + 1)) + 1)
    grids = [(count, _places(shares, count)) for count in steps]

    def error(grid: tuple[int, tuple[int, ...]]) -> float:
        count, places = grid
        return round(max(abs(share - place / count) for share, place in zip(shares, places, strict=True)), 3)

    return min(grids, key=lambda grid: (error(grid), grid[0]))


def _places(shares: Sequence[float], steps: int) -> tuple[int, ...]:
    """The nearest place of each fraction, moved if two would coincide with each other or with a key."""
    places: list[int] = []
    for number, share in enumerate(shares):
        room = steps - (len(shares) - number)
        lowest = places[-1] + 1 if places else 1
        places.append(min(max(round(share * steps), lowest), room))
    return tuple(places)
