"""False verdicts on data without a difference, by number of films, with earlier rules and the present one.

    python benchmarks/false_verdicts.py

Films of 1 to 5 samples (one film: 20), or of one sample each. A film's effect is shared by its samples, and each
sample adds noise of half that spread. Four distributions of film effects, all of mean 0 and variance 1: normal; skewed
(gamma, shape 2); very skewed (exponential: one film in a few moves far); heavy-tailed (Student's t, 3 degrees of
freedom). A fifth is beyond the rule's assumptions: squares of normal values, with skewness 2.8.

`before`: the BCa interval (2,000 resamples, normal quantiles) excludes 0. `after`: `nakawari.evaluation.verdicts`.
`covered`: how often the printed interval contains the truth. `held`: how many verdicts stay the same when the
bootstrap has another seed, before and after, with a true difference at the detection limit.

From p-values only, with more repetitions, for the present rule and the earlier one: `together`: at least one false
"better" or "worse" among 1, 24 or 144 independent comparisons in one table; `equal`: at least one false
"equal" if every true difference is at the equivalence margin; `found`: how often a true difference of 1 (one standard
deviation between films) is detected alone and among 24.
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
from nakawari.evaluation.verdicts import ALPHA, ALPHA_EQUAL, POWER, fewest_films, verdicts
from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages

FILMS = (1, 2, 4, 6, 7, 8, 10, 13, 17, 20, 30, 40, 80)
ADDED: dict[str, Callable[[np.random.Generator, Any], np.ndarray]] = {
    "normal": lambda random, size: random.normal(size=size),
    "skewed": lambda random, size: (random.gamma(2.0, 1.0, size) - 2) / np.sqrt(2),
    "very skewed": lambda random, size: random.exponential(1.0, size) - 1,
    "heavy-tailed": lambda random, size: random.standard_t(3, size) / np.sqrt(3),
    "beyond": lambda random, size: (random.normal(size=size) ** 2 - 1) / np.sqrt(2),
}
SHAPES = tuple(ADDED)
BEYOND = "beyond"
TOGETHER = (1, 24, 144)
EARLIER = (0.006, 9)
"""Maximum p and minimum number of films of the previous rule, which had too many errors in tables of 144."""


def draw(shape: str, films: int, random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Sample differences with mean 0: (n,) values, and the film of each."""
    added = ADDED[shape](random, films)
    sizes = np.array([20]) if films == 1 else 1 + np.arange(films) % 5
    values = np.repeat(added, sizes)
    names = np.repeat([f"film{index}" for index in range(films)], sizes)
    return values + random.normal(0, 0.5, len(values)), list(names)


def before(values: np.ndarray, films: Sequence[str], seed: int = 0) -> bool:
    """Whether the earlier rule gives a verdict: a plain BCa interval of 2,000 resamples excludes 0."""
    means = np.sort(resampled_means(values, 2000, seed, films))
    below = ((means < values.mean()).mean() + (means <= values.mean()).mean()) / 2
    fall = _Clusters.of(values, films).jackknife()
    acceleration = (fall**3).sum() / (6 * (fall**2).sum() ** 1.5)
    z = ndtri(np.clip(below, 1 / 2000, 1 - 1 / 2000)) + ndtri(np.array([0.025, 0.975]))
    bias = ndtri(np.clip(below, 1 / 2000, 1 - 1 / 2000))
    places = np.clip(np.round(ndtr(bias + z / (1 - acceleration * z)) * 1999).astype(int), 0, 1999)
    return bool(means[places[0]] > 0 or means[places[1]] < 0)


def after(values: np.ndarray, films: Sequence[str], seed: int = 0) -> tuple[bool, bool]:
    """Whether the rule gives a verdict, and whether the interval contains 0."""
    pair = paired(values, np.zeros_like(values), higher_is_better=True, films=films, seed=seed)
    gap = pair.difference
    holds = gap.low is not None and gap.high is not None and gap.low <= 0 <= gap.high
    return verdicts([pair], [True], [None])[0] in ("better", "worse"), holds


def draw_many(shape: str, sizes: np.ndarray, count: int, random: np.random.Generator) -> Drawn:
    """Data sets without a difference: sums of each film's samples (count, films), and their numbers of samples."""
    added = ADDED[shape](random, (count, len(sizes)))
    noise = 0.5 if sizes.max() > 1 else 0.0
    return Drawn((added + random.normal(0, noise, added.shape) / np.sqrt(sizes)) * sizes, sizes)


@dataclass(frozen=True)
class Drawn:
    """See `draw_many`."""

    sums: np.ndarray
    sizes: np.ndarray

    def moved(self, by: float) -> Drawn:
        """The same data with a true difference added."""
        return Drawn(self.sums + by * self.sizes, self.sizes)

    def surprising(self, largest: float) -> np.ndarray:
        """Every `p_value` up to `largest`; Student's t, a lower bound, is computed first."""
        clusters = _Clusters(self.sums, self.sizes)
        count = len(self.sizes)
        error = np.sqrt((clusters.jackknife() ** 2).sum(-1) * (count - 1) / count)
        far = 2 * t.sf(np.abs(self.sums.sum(-1) / self.sizes.sum()) / error, count - 1) <= largest
        return np.array([self._p(sums) for sums in self.sums[far]])

    def some(self, share: float) -> Drawn:
        """The first share of the data sets."""
        return Drawn(self.sums[: max(1, round(share * len(self.sums)))], self.sizes)

    def _p(self, sums: np.ndarray) -> float:
        values = np.repeat(sums / self.sizes, self.sizes.astype(int))
        films = np.repeat(np.arange(len(self.sizes)), self.sizes.astype(int))
        return p_value(values, [str(film) for film in films]) or 0.0


def limit(alpha: float, together: int) -> float:
    """Maximum p of the first rejection among `together` comparisons, see `verdicts.true_size`."""
    return (alpha / together) ** (1 / POWER)


def by_p_values(shape: str, films: int, repetitions: int) -> dict[str, Any]:
    """Rates from p-values only, for the present and the earlier rule; errors are the larger of both layouts."""
    layouts = [1.0 + np.arange(films) % 5, np.ones(films)]
    seeds = [np.random.default_rng([SHAPES.index(shape), films, 1 + index]) for index in range(2)]
    nulls = [draw_many(shape, sizes, repetitions, seed) for sizes, seed in zip(layouts, seeds, strict=True)]
    earlier, least = EARLIER
    rules: dict[str, Callable[[int], float]] = {
        "now": lambda together: limit(ALPHA, together),
        "equal": lambda together: limit(ALPHA_EQUAL, together),
        "earlier": lambda together: earlier / together if films >= least else 0.0,
    }
    found: dict[str, Any] = {}
    true = nulls[0].some(0.01).moved(1.0)
    trues = true.surprising(limit(ALPHA, 1))
    for count in TOGETHER:
        some = [null.some(0.1 if count == 1 else 1.0) for null in nulls]
        least_likely = [null.surprising(max(rule(count) for rule in rules.values())) for null in some]
        for name, largest in rules.items():
            shares = [(p <= largest(count)).sum() / len(null.sums) for p, null in zip(least_likely, some, strict=True)]
            found[f"together_{count}_{name}"] = 1 - (1 - max(shares)) ** count
            if name != "equal":
                found[f"found_in_{count}_{name}"] = float((trues <= largest(count)).sum() / len(true.sums))
    return found


def measure(shape: str, films: int, repetitions: int) -> dict[str, Any]:
    """One row of the table, as fractions."""
    random = np.random.default_rng([SHAPES.index(shape), films])
    null = [draw(shape, films, random) for _ in range(repetitions)]
    now = [after(*one) for one in null]
    # The detection limit: a difference that is detected about half of the time.
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
    parser.add_argument("--tables", type=int, default=200_000, help="data sets for the rates from p-values")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/false-verdicts.json"))
    given = parser.parse_args()
    rows, start = [], time.perf_counter()
    for shape in SHAPES:
        for films in FILMS:
            row: dict[str, Any] = {"shape": shape, "films": films}
            if shape != BEYOND:
                row |= measure(shape, films, given.repetitions)
            if films >= fewest_films():
                row |= by_p_values(shape, films, given.tables)
            rows.append(row)
            print(
                shape, films, *(f"{name} {row[name]:.1%}" for name in row if name not in ("shape", "films")), flush=True
            )
    record = {
        "rule": {
            "alpha": ALPHA,
            "alpha_equal": ALPHA_EQUAL,
            "power": POWER,
            "fewest_films": {n: fewest_films(n) for n in TOGETHER},
        },
        "earlier": dict(zip(("alpha", "min_films"), EARLIER, strict=True)),
        "repetitions": given.repetitions,
        "tables": given.tables,
        "seconds": round(time.perf_counter() - start, 1),
        "worst": max(row.get("after", 0.0) for row in rows),
        "worst_together": {
            name: worst([row for row in rows if row["shape"] != BEYOND], name) for name in ("now", "equal")
        },
        "worst_beyond": {
            name: worst([row for row in rows if row["shape"] == BEYOND], name) for name in ("now", "equal")
        },
        "rows": rows,
    }
    write_json(given.output, record | {"packages": packages(), "git": git_revision(), "machine": machine()})


def worst(rows: Sequence[dict[str, Any]], rule: str) -> dict[int, float]:
    """Maximum share of tables with an error, by number of comparisons."""
    return {count: max(row.get(f"together_{count}_{rule}", 0.0) for row in rows) for count in TOGETHER}


if __name__ == "__main__":
    main()
