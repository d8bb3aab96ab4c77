"""Verdicts on differences: better, worse, equal or undecided.

The rule was chosen by simulation (`benchmarks/false_verdicts.py`): for any number of films, and for film effects that
are normal, heavy-tailed or as skewed as an exponential distribution, at most 7 % of tables may hold a false verdict,
with one comparison, 24 or 144.

- A p-value is replaced by its `true_size`, because tests of means exceed their nominal error rate if differences are
  skewed, more so for smaller p. No test of a mean holds for every distribution (Bahadur & Savage 1956).
- Comparisons shown together are corrected by Holm's method. One with so few films that no outcome could
  be significant is *too few films*, and is not counted (Tarone 1990): see `fewest_films`.
- *Better*, *worse*: p is at most `ALPHA`, and the interval excludes 0.
- *Equal*: a difference as large as the margin has a p of at most `ALPHA_EQUAL`, and the interval lies within the
margin.
  Both errors are possible in one table, so their levels add up.
- Otherwise *undecided*.

Sources: Holm 1979, "A simple sequentially rejective multiple test procedure"; Tarone 1990, "A modified Bonferroni
method for discrete data".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from .statistics import Paired

RULE = 2
"""Recorded with verdicts: those of another rule are recomputed instead of checked."""
ALPHA = 0.05
ALPHA_EQUAL = 0.01
POWER = 0.73

Verdict = Literal["better", "worse", "equal", "undecided", "too few films"]


def true_size(p: float) -> float:
    """The actual error rate of a p-value without a difference, for the most skewed allowed differences.

    The power was fitted to exponential distributions, 7 to 160 films and p from 0.02 to 0.00002.
    """
    return p**POWER


def fewest_films(together: int = 1) -> int:
    """Minimum number of films for a significant difference among `together` comparisons."""
    return next(films for films in range(2, 1000) if _could_be_found(films, together, ALPHA))


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted for multiple comparisons, in the same order."""
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(1.0, np.maximum.accumulate([p[i] * (len(p) - rank) for rank, i in enumerate(order)]))
    found = np.empty(len(p))
    found[order] = adjusted
    return found.tolist()


def verdicts(
    pairs: Sequence[Paired], higher_is_better: Sequence[bool], matters: Sequence[float | None]
) -> list[Verdict]:
    """One verdict for each comparison, corrected for all of them together.

    Args:
        pairs: comparisons.
        higher_is_better: the direction of each one's metric.
        matters: the equivalence margin of each one's metric; None: no margin.
    """
    films = [pair.difference.films or 0 for pair in pairs]
    differ = _adjusted([pair.p for pair in pairs], films, ALPHA)
    same = _adjusted([pair.p_equal for pair in pairs], films, ALPHA_EQUAL)
    return [_verdict(*one) for one in zip(pairs, differ, same, higher_is_better, matters, strict=True)]


def _could_be_found(films: int, together: int, alpha: float) -> bool:
    """Whether the smallest possible p of `films` films, with all signs equal, is small enough."""
    return true_size(2.0 ** (1 - films)) * together <= alpha


def _adjusted(p: Sequence[float | None], films: Sequence[int], alpha: float) -> list[float | None]:
    """True sizes after Holm's correction; None without p, or with too few films for any significant outcome.

    Which comparisons are counted depends only on their number of films, not on the results.
    """
    given = [value is not None for value in p]
    for together in range(1, sum(given) + 1):
        counted = [there and _could_be_found(count, together, alpha) for there, count in zip(given, films, strict=True)]
        if sum(counted) <= together:
            break
    else:
        return [None] * len(p)
    adjusted = iter(
        holm([true_size(value) for value, use in zip(p, counted, strict=True) if use and value is not None])
    )
    return [next(adjusted) if use else None for use in counted]


def _verdict(
    pair: Paired, differ: float | None, same: float | None, higher_is_better: bool, matters: float | None
) -> Verdict:
    gap = pair.difference
    if pair.wins == pair.losses == 0:
        return "equal"
    if differ is None or gap.low is None or gap.high is None:
        return "too few films"
    if same is not None and matters is not None and same <= ALPHA_EQUAL and -matters < gap.low and gap.high < matters:
        return "equal"
    if differ <= ALPHA and (gap.low > 0 or gap.high < 0):
        return "better" if (gap.mean > 0) == higher_is_better else "worse"
    return "undecided"
