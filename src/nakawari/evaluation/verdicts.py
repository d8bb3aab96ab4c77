"""When a difference is called better, worse or equal, and when nothing is said.

The rule was chosen by simulation (`benchmarks/false_verdicts.py`): on data without any difference, whatever the number
of films and whether the differences are normal, skewed or heavy-tailed, a verdict may be given in 7 % of cases at most,
and any at all in 7 % of tables of 24 comparisons.

- Fewer than `MIN_FILMS` films: no verdict, unless every sample is equal. (The signs of 8 films can be flipped in 256
  ways, so that p is 2 / 256 at least: more than `ALPHA`.)
- *Equal*: the whole interval lies within the smallest difference of its metric that matters.
- *Better*, *worse*: the interval excludes 0, and the p-value is at most `ALPHA` after Holm's correction over every
  comparison that is shown together. `ALPHA` is below the usual 5 % because with skewed differences a test errs more
  often than it says, most of all where many comparisons ask for small p-values.
- Else *undecided*.

Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from .statistics import Paired

MIN_FILMS = 9
ALPHA = 0.006

Verdict = Literal["better", "worse", "equal", "undecided", "too few films"]


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted for being looked at together, in the same order."""
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(1.0, np.maximum.accumulate([p[i] * (len(p) - rank) for rank, i in enumerate(order)]))
    found = np.empty(len(p))
    found[order] = adjusted
    return found.tolist()


def verdicts(
    pairs: Sequence[Paired], higher_is_better: Sequence[bool], matters: Sequence[float | None]
) -> list[Verdict]:
    """One verdict for each comparison; all of them count as looked at together.

    Args:
        pairs: comparisons.
        higher_is_better: the direction of each one's metric.
        matters: the smallest difference of each one's metric that matters; None: every difference does.
    """
    countable = [pair.p if pair.p is not None and _enough(pair) else None for pair in pairs]
    adjusted = iter(holm([p for p in countable if p is not None]))
    surprise = [None if p is None else next(adjusted) for p in countable]
    return [_verdict(*one) for one in zip(pairs, surprise, higher_is_better, matters, strict=True)]


def _enough(pair: Paired) -> bool:
    return (pair.difference.films or 0) >= MIN_FILMS


def _verdict(pair: Paired, p: float | None, higher_is_better: bool, matters: float | None) -> Verdict:
    gap = pair.difference
    if pair.wins == pair.losses == 0:
        return "equal"
    if p is None or gap.low is None or gap.high is None:
        return "too few films"
    if matters is not None and -matters < gap.low and gap.high < matters:
        return "equal"
    if p <= ALPHA and (gap.low > 0 or gap.high < 0):
        return "better" if (gap.mean > 0) == higher_is_better else "worse"
    return "undecided"
