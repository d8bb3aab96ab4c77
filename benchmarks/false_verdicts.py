"""How often a verdict is given on data without a difference, by number of films: by the old rule and by the new one.

    python benchmarks/false_verdicts.py

Films of 1 to 5 samples (one film: 20). What a film adds is shared by its samples, and each sample adds noise of half
that spread. Four shapes of what films add, all of mean 0 and variance 1: normal; skewed (gamma, shape 2); very skewed
(exponential: one film in a few moves far); heavy-tailed (Student's t, 3 degrees of freedom).

`before`: the BCa interval (2,000 resamples, normal quantiles) excludes 0. `after`: `nakawari.evaluation.verdicts`.
`covered`: how often the interval that is printed holds the truth. `held`: how many verdicts stay the same when the
bootstrap is seeded otherwise, before and after, where the true difference is at the edge of being found.

By p-values alone, over more repetitions, for the present `ALPHA` and the earlier one: `together`: at least one false
verdict among 24 or 144 independent comparisons that are shown together; `found`: how often a true difference of 1 (one
standard deviation between films) is found alone and among 24.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import t

from nakawari.evaluation.statistics import _Clusters, p_value, paired, resampled_means
from nakawari.evaluation.verdicts import ALPHA, MIN_FILMS, verdicts
from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages

FILMS = (1, 2, 4, 6, 8, 9, 10, 13, 16, 20, 40, 80)
ADDED: dict[str, Callable[[np.random.Generator, Any], np.ndarray]] = {
    "normal": lambda random, size: random.normal(size=size),
    "skewed": lambda random, size: (random.gamma(2.0, 1.0, size) - 2) / np.sqrt(2),
    "very skewed": lambda random, size: random.exponential(1.0, size) - 1,
    "heavy-tailed": lambda random, size: random.standard_t(3, size) / np.sqrt(3),
}
SHAPES = tuple(ADDED)
TOGETHER = (24, 144)
EARLIER = (0.02, 8)
"""The largest p and the fewest films of the rule before this one, which erred too often in whole tables."""


def draw(shape: str, films: int, random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Differences without a difference: (n,) values, and the film of each."""
    added = ADDED[shape](random, films)
    sizes = np.array([20]) if films == 1 else 1 + np.arange(films) % 5
    values = np.repeat(added, sizes)
    names = np.repeat([f"film{index}" for index in range(films)], sizes)
    return values + random.normal(0, 0.5, len(values)), list(names)


def before(values: np.ndarray, films: Sequence[str], seed: int = 0) -> bool:
    """Whether the earlier rule gave a verdict: a plain BCa interval of 2,000 resamples excludes 0."""
    means = np.sort(resampled_means(values, 2000, seed, films))
    below = ((means < values.mean()).mean() + (means <= values.mean()).mean()) / 2
    fall = _Clusters.of(values, films).jackknife()
    acceleration = (fall**3).sum() / (6 * (fall**2).sum() ** 1.5)
    z = ndtri(np.clip(below, 1 / 2000, 1 - 1 / 2000)) + ndtri(np.array([0.025, 0.975]))
    bias = ndtri(np.clip(below, 1 / 2000, 1 - 1 / 2000))
    places = np.clip(np.round(ndtr(bias + z / (1 - acceleration * z)) * 1999).astype(int), 0, 1999)
    return bool(means[places[0]] > 0 or means[places[1]] < 0)


def after(values: np.ndarray, films: Sequence[str], seed: int = 0) -> tuple[bool, bool]:
    """Whether the rule gives a verdict, and whether the interval holds 0."""
    pair = paired(values, np.zeros_like(values), higher_is_better=True, films=films, seed=seed)
    gap = pair.difference
    holds = gap.low is not None and gap.high is not None and gap.low <= 0 <= gap.high
    return verdicts([pair], [True], [None])[0] in ("better", "worse"), holds


def draw_many(shape: str, films: int, count: int, random: np.random.Generator) -> Drawn:
    """Data sets without a difference: sums of each film's samples (count, films), and how many samples each has."""
    sizes = 1.0 + np.arange(films) % 5
    added = ADDED[shape](random, (count, films))
    return Drawn((added + random.normal(0, 0.5, added.shape) / np.sqrt(sizes)) * sizes, sizes)


@dataclass(frozen=True)
class Drawn:
    """See `draw_many`."""

    sums: np.ndarray
    sizes: np.ndarray

    def moved(self, by: float) -> Drawn:
        """The same with a true difference."""
        return Drawn(self.sums + by * self.sizes, self.sizes)

    def found(self, limit: float) -> float:
        """The share of data sets whose `p_value` is at most `limit`; Student's t is never above it and comes first."""
        clusters = _Clusters(self.sums, self.sizes)
        count = len(self.sizes)
        error = np.sqrt((clusters.jackknife() ** 2).sum(-1) * (count - 1) / count)
        far = 2 * t.sf(np.abs(self.sums.sum(-1) / self.sizes.sum()) / error, count - 1) <= limit
        return sum(self._p(sums) <= limit for sums in self.sums[far]) / len(self.sums)

    def _p(self, sums: np.ndarray) -> float:
        values = np.repeat(sums / self.sizes, self.sizes.astype(int))
        films = np.repeat(np.arange(len(self.sizes)), self.sizes.astype(int))
        return p_value(values, [str(film) for film in films]) or 0.0


def by_p_values(shape: str, films: int, repetitions: int) -> dict[str, Any]:
    """What p-values alone say, for the present rule and for the earlier one."""
    null = draw_many(shape, films, repetitions, np.random.default_rng([SHAPES.index(shape), films, 1]))
    true = Drawn(null.sums[: repetitions // 50], null.sizes).moved(1.0)
    found: dict[str, Any] = {}
    for name, alpha, least in (("now", ALPHA, MIN_FILMS), ("earlier", *EARLIER)):
        enough = films >= least
        for count in TOGETHER:
            share = null.found(alpha / count) if enough else 0.0
            found[f"together_{count}_{name}"] = 1 - (1 - share) ** count
        found[f"found_{name}"] = true.found(alpha) if enough else 0.0
        found[f"found_in_24_{name}"] = true.found(alpha / 24) if enough else 0.0
    return found


def measure(shape: str, films: int, repetitions: int) -> dict[str, Any]:
    """One row of the table, in shares of 1."""
    random = np.random.default_rng([SHAPES.index(shape), films])
    null = [draw(shape, films, random) for _ in range(repetitions)]
    now = [after(*one) for one in null]
    # The edge: a difference that is found about half of the time.
    edge = [(values + 2.2 / np.sqrt(films), names) for values, names in null[: repetitions // 8]]
    held = [
        float(np.mean([rule(*one, seed=1) == rule(*one, seed=2) for one in edge]))
        for rule in (before, lambda *words, seed: after(*words, seed)[0])
    ]
    return {
        "shape": shape,
        "films": films,
        "before": float(np.mean([before(*one) for one in null])),
        "after": float(np.mean([given for given, _ in now])),
        "covered": float(np.mean([holds for _, holds in now])),
        "held_before": held[0],
        "held_after": held[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--tables", type=int, default=200_000, help="data sets for figures by p-values alone")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/false-verdicts.json"))
    given = parser.parse_args()
    rows, start = [], time.perf_counter()
    for shape in SHAPES:
        for films in FILMS:
            row = measure(shape, films, given.repetitions)
            if films >= EARLIER[1]:
                row |= by_p_values(shape, films, given.tables)
            rows.append(row)
            print(
                shape, films, *(f"{name} {row[name]:.1%}" for name in row if name not in ("shape", "films")), flush=True
            )
    tables = [row for row in rows if row["films"] >= MIN_FILMS]
    record = {
        "rule": {"min_films": MIN_FILMS, "alpha": ALPHA},
        "earlier": dict(zip(("alpha", "min_films"), EARLIER, strict=True)),
        "repetitions": given.repetitions,
        "tables": given.tables,
        "seconds": round(time.perf_counter() - start, 1),
        "worst": max(row["after"] for row in rows),
        "worst_together": {count: max(row[f"together_{count}_now"] for row in tables) for count in TOGETHER},
        "rows": rows,
    }
    write_json(given.output, record | {"packages": packages(), "git": git_revision(), "machine": machine()})


if __name__ == "__main__":
    main()
