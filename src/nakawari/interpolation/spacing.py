"""At which shares of the way between two keys the in-betweens stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import UsageError

Shares = tuple[float, ...]
"""One for each in-between of a gap, rising, each above 0 and below 1."""

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
            f"The spacing {text!r} is not known; give {', '.join(SPACINGS)}, or shares of the way such as 0.1,0.3,0.7."
        ) from error
    rising = all(low < high for low, high in zip((0.0, *shares), (*shares, 1.0), strict=True))
    if not rising:
        raise UsageError(f"The shares {text!r} do not rise between 0 and 1; write them in order, such as 0.1,0.3,0.7.")
    return shares


def eased(name: str, times: Sequence[float]) -> Shares:
    """The shares of in-betweens at `times` (0 to 1) between their keys, with one of `SPACINGS`."""
    return tuple(_CURVES[name](time) for time in times)


def even(count: int) -> Shares:
    """Evenly spaced, as shares or as times."""
    return tuple(place / (count + 1) for place in range(1, count + 1))


def spaced_gaps(spacings: Sequence[str | Shares], times: Sequence[Sequence[float]]) -> tuple[Shares, ...]:
    """The shares of every gap.

    Args:
        spacings: as `parse_spacing` gives them, one for all gaps or one for each.
        times: per gap when its in-betweens stand between their keys (0 to 1); curves are read there.

    Raises:
        UsageError: another number of spacings than of gaps, or of shares than of in-betweens.
    """
    if len(spacings) not in (1, len(times)):
        raise UsageError(f"There are {len(times)} gaps but {len(spacings)} spacings; give one, or one for each gap.")
    found = []
    for gap, own in enumerate(times):
        spacing = spacings[gap % len(spacings)]
        if not isinstance(spacing, str) and len(spacing) != len(own):
            raise UsageError(
                f"Gap {gap + 1} has {len(own)} in-betweens but its spacing has {len(spacing)} shares; make them equal, "
                "or leave --between out."
            )
        found.append(eased(spacing, own) if isinstance(spacing, str) else spacing)
    return tuple(found)


def nearest_grid(shares: Sequence[float], most: int) -> tuple[int, tuple[int, ...]]:
    """The even grid that comes nearest to some shares, for a model whose in-betweens have fixed places.

    Args:
        shares: n of them.
        most: the most in-betweens that the model makes at once; a grid has up to so many, or 2 n + 1.

    Returns: the number of steps N of the grid, and for each share its place, rising, in 1 ... N - 1. Of grids that are
        as near (to a thousandth of the way), it is the coarsest.
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
    """Each share's nearest place, moved where two would meet, or a key."""
    places: list[int] = []
    for number, share in enumerate(shares):
        room = steps - (len(shares) - number)
        lowest = places[-1] + 1 if places else 1
        places.append(min(max(round(share * steps), lowest), room))
    return tuple(places)
