"""Check `aggregates.json` against the samples: an edited number is refused."""

from __future__ import annotations

from pathlib import Path

from ..errors import NakawariError
from .schema import FORMAT, Aggregates, Difference, Entry
from .statistics import Interval
from .verdicts import RULE

MEAN = 1e-6
"""Tolerance of a mean against its samples, which are written with six decimals."""
BOUND = 1e-5
"""Tolerance of a bound: another processor may sum the resamples in another order."""


def check(path: Path, written: Aggregates, found: Aggregates) -> None:
    """Check a file against its samples.

    For older files only means and counts are checked, as their intervals or verdicts follow another rule.

    Raises:
        NakawariError: a number differs; the message names it.
    """
    whole = written.format >= FORMAT
    judged = whole and written.rule == RULE
    entries = {entry.name: entry for entry in found.entries}
    for entry in written.entries:
        wrong = _wrong_entry(entry, entries[entry.name], whole)
        if wrong:
            raise NakawariError(f"{path}: the {wrong} of {entry.name} is not that of its samples; evaluate again.")
    differences = {_key(item): item for item in found.paired}
    for item in written.paired:
        other = differences.get(_key(item))
        if other is None or _wrong_difference(item, other, whole, judged):
            raise NakawariError(
                f"{path}: the difference of {item.entry} from {item.against} in {item.metric} is not that of their "
                "samples; evaluate again."
            )
    if whole and (written.reference, written.levels) != (found.reference, found.levels):
        raise NakawariError(f"{path}: the reference or the levels are not those of the rows; evaluate again.")


def _wrong_entry(entry: Entry, other: Entry, whole: bool) -> str | None:
    """The first field of a row that does not follow from its files, as text."""
    for row, metrics in entry.results.items():
        for metric, levels in metrics.items():
            for level, item in levels.items():
                again = other.results.get(row, {}).get(metric, {}).get(level)
                if again is None or not _same_interval(item, again, whole):
                    return (
                        f"mean {metric}"
                        if (row, level) == (next(iter(entry.results)), "all")
                        else (f"mean {metric} ({row}, {level})")
                    )
    if whole and (entry.cost, entry.costs) != (other.cost, other.costs):
        return "cost"
    if entry.fidelity and (
        (other.fidelity is None and whole)
        or (other.fidelity is not None and not _same_interval(entry.fidelity.interval, other.fidelity.interval, whole))
    ):
        return "fidelity"
    return None


def _wrong_difference(item: Difference, other: Difference, whole: bool, judged: bool) -> bool:
    counts = (item.wins, item.losses, item.ties) != (other.wins, other.losses, other.ties)
    found = _near(item.p, other.p, BOUND) and _near(item.p_equal, other.p_equal, BOUND)
    return (
        counts
        or (judged and (item.verdict != other.verdict or not found))
        or not _same_interval(item.difference, other.difference, whole)
    )


def _same_interval(ours: Interval, theirs: Interval, whole: bool) -> bool:
    same = ours.count == theirs.count and _near(ours.mean, theirs.mean, MEAN)
    bounds = _near(ours.low, theirs.low, BOUND) and _near(ours.high, theirs.high, BOUND)
    return same and (bounds or not whole)


def _near(ours: float | None, theirs: float | None, room: float) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return abs(ours - theirs) <= room * max(1.0, abs(theirs))


def _key(item: Difference) -> tuple[str, ...]:
    return item.entry, item.against, item.row, item.metric, item.level
