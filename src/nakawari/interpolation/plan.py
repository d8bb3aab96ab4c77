"""The number of in-betweens of each gap, and the passes in which a model draws them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise

from ..errors import UsageError
from .spacing import Shares, even, nearest_grid

MAX_BETWEEN = 1000
"""Maximum number of in-betweens of one gap."""


def parse_counts(text: str) -> tuple[int, ...]:
    """`"7"` or `"3,7,5"` as counts, each 0 to `MAX_BETWEEN`; anything else raises `UsageError`."""
    try:
        counts = tuple(int(piece) for piece in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"The counts of in-betweens {text!r} are not whole numbers; give one for all gaps (7) "
            "or one for each gap (3,7,5)."
        ) from error
    for count in counts:
        if not 0 <= count <= MAX_BETWEEN:
            raise UsageError(f"{count} in-betweens in one gap are not possible; give 0 to {MAX_BETWEEN}.")
    return counts


def gap_counts(counts: tuple[int, ...], keys: int, *, loop: bool) -> tuple[int, ...]:
    """One count per gap between `keys` key drawings; a single count applies to all gaps, `loop` adds one more gap.

    Raises `UsageError` when there are fewer than two keys or the number of counts is not that of the gaps.
    """
    if keys < 2:
        raise UsageError(f"In-betweens need two or more key drawings, not {keys or 'none'}; add key drawings.")
    gaps = keys - 1 + loop
    if len(counts) == 1:
        return counts * gaps
    if len(counts) != gaps:
        closing = " with the loop" if loop else ""
        raise UsageError(
            f"{keys} key drawings{closing} have {gaps} gap{'s' * (gaps > 1)}, but {len(counts)} counts of in-betweens "
            f"were given; give one count, or {gaps}."
        )
    return counts


@dataclass(frozen=True)
class Pass:
    """One call of the model inside a gap.

    Places are counted in grid steps: 0 is the gap's first key, n + 1 its second, 1 ... n its in-betweens.

    Args:
        level: 0 draws between the key drawings, 1 between drawings of level 0, and so on.
        start, end: the places of the two drawings that serve as keys.
        places: the places of the frames that this pass draws.
    """

    level: int
    start: int
    end: int
    places: tuple[int, ...]


@dataclass(frozen=True)
class GapPlan:
    """The plan of one gap.

    Args:
        passes: sorted by level; places as in `Pass`.
        shares: fraction of the gap of every place, 0 for the first key, 1 for the second; the model draws at the
            places between.
        kept: the places of the requested in-betweens; others are only intermediate results.
    """

    passes: tuple[Pass, ...]
    shares: tuple[float, ...]
    kept: tuple[int, ...]

    @property
    def drawn(self) -> int:
        """Number of frames that the model draws."""
        return len(self.shares) - 2

    def times(self, spec: Pass) -> tuple[float, ...] | None:
        """The times (0 to 1) of all frames of a pass, its keys included; None if they are even."""
        places = (spec.start, *spec.places, spec.end)
        first, last = self.shares[spec.start], self.shares[spec.end]
        times = tuple((self.shares[place] - first) / (last - first) for place in places)
        regular = all(abs(time - number / (len(times) - 1)) < 1e-9 for number, time in enumerate(times))
        return None if regular else times


def plan_spaced(count: int, shares: Shares | None, max_between: int, *, any_time: bool) -> GapPlan:
    """The plan of a gap with `count` in-betweens at the fractions `shares`, None for even ones.

    Args:
        max_between: maximum number of in-betweens that the model draws at once, 1 or more.
        any_time: whether the model draws at any time. Otherwise it draws the nearest even grid,
            from which the requested in-betweens are taken.
    """
    if shares is None or any_time:
        own = even(count) if shares is None else shares
        return GapPlan(tuple(plan_gap(count, max_between)), (0.0, *own, 1.0), tuple(range(1, count + 1)))
    steps, kept = nearest_grid(shares, max_between)
    grid = tuple(place / steps for place in range(steps + 1))
    passes = plan_gap(steps - 1, max_between)
    return GapPlan(tuple(passes), grid, kept)


def plan_gap(count: int, max_between: int) -> list[Pass]:
    """The passes that draw `count` evenly spaced in-betweens if the model draws at most `max_between` (>= 1) at once.

    If the count fits, there is one pass. Otherwise a first pass draws a few frames that divide the gap into equal
    parts, and every part is filled in the same way with the drawn frames as keys. The number of parts is a
    divisor of count + 1, so that every drawn frame is exactly on the even grid; among those the plan
    with the fewest passes is taken. If count + 1 has no such divisor (it may be prime), the gap is split into halves,
    one
    a step longer than the other: with a model that draws at fixed times, the middle frame is then half a grid
    step early, which is the minimum.

    Passes are sorted by level, so the keys of every pass are drawn before it.
    """
    if count == 0:
        return []
    passes = _passes(0, count + 1, max_between + 1, 0)
    return sorted(passes, key=lambda item: (item.level, item.start))


def _passes(start: int, steps: int, limit: int, level: int) -> list[Pass]:
    places = list(accumulate(_split(steps, limit)[1], initial=start))
    passes = [Pass(level, start, start + steps, tuple(places[1:-1]))]
    for left, right in pairwise(places):
        if right - left > 1:
            passes += _passes(left, right - left, limit, level + 1)
    return passes


@cache
def _split(steps: int, limit: int) -> tuple[tuple[float, int], tuple[int, ...]]:
    """The best division of `steps` grid steps if one pass makes at most `limit` parts: (misplacement, passes),
    parts."""
    if steps <= limit:
        return (0, int(steps > 1)), (1,) * steps
    cuts = [(steps // parts,) * parts for parts in range(2, limit + 1) if steps % parts == 0]
    if steps % 2:
        cuts.append((steps // 2, steps - steps // 2))
    return min(((_cost(cut, limit), cut) for cut in cuts), key=lambda item: item[0])


def _cost(cut: tuple[int, ...], limit: int) -> tuple[float, int]:
    """Worst misplacement in grid steps, summed over levels, and the total number of passes of `cut`."""
    inner = [_split(part, limit)[0] for part in cut]
    uneven = 0.5 * (max(cut) != min(cut))
    return uneven + max(misplaced for misplaced, _ in inner), 1 + sum(passes for _, passes in inner)
