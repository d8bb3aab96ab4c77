"""When a difference is called better, worse or equal, and when nothing is said.

The rule was chosen by simulation (`benchmarks/false_verdicts.py`): whatever the number of films and whether what they
add is normal, heavy-tailed or as skewed as an exponential distribution, at most 7 % of tables may hold a false verdict,
with one comparison, 24 or 144.

- A p-value counts as `true_size` of itself, because tests of means err more often than they say where differences are
  skewed, and the more so the smaller p is. No test of a mean holds for every distribution (Bahadur & Savage 1956).
- Comparisons that are shown together are corrected by Holm's method. One whose films are so few that no outcome could
  be found is *too few films*, and does not count as shown (Tarone 1990): `fewest_films` says how many that are.
- *Better*, *worse*: p is at most `ALPHA`, and the interval excludes 0.
- *Equal*: that the difference is as large as matters has a p of at most `ALPHA_EQUAL`, and the interval lies within.
  Both errors are possible in one table, so their levels add up.
- Else *undecided*.

Sources: Holm 1979, "A simple sequentially rejective multiple test procedure"; Tarone 1990, "A modified Bonferroni
method for discrete data".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from .statistics import Paired

RULE = 2
"""Written beside verdicts: those of another rule are made anew, not held against this one."""
ALPHA = 0.05
ALPHA_EQUAL = 0.01
POWER = 0.73

Verdict = Literal["better", "worse", "equal", "undecided", "too few films"]


def true_size(p: float) -> float:
    """How often so small a p-value occurs without a difference, where differences are as skewed as they may be.

    The power was fitted to exponential distributions, 7 to 160 films and p from 0.02 to 0.00002.
    """
    return p**POWER


def fewest_films(together: int = 1) -> int:
    """How many films a difference needs to be found among so many that are shown together."""
    return next(films for films in range(2, 1000) if _could_be_found(films, together, ALPHA))


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
    films = [pair.difference.films or 0 for pair in pairs]
    differ = _adjusted([pair.p for pair in pairs], films, ALPHA)
    same = _adjusted([pair.p_equal for pair in pairs], films, ALPHA_EQUAL)
    return [_verdict(*one) for one in zip(pairs, differ, same, higher_is_better, matters, strict=True)]


def _could_be_found(films: int, together: int, alpha: float) -> bool:
    """Whether the smallest p that so many films can have, where all signs are alike, is small enough."""
    return true_size(2.0 ** (1 - films)) * together <= alpha


def _adjusted(p: Sequence[float | None], films: Sequence[int], alpha: float) -> list[float | None]:
    """True sizes after Holm's correction; None where there is no p, or films are too few for any outcome to be found.

    Which count as shown together depends on how many films they have, never on what was found.
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
