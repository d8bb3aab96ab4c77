"""How often a verdict is given on data without a difference, by number of films: by the old rule and by the new one.

    python benchmarks/false_verdicts.py

Films of 1 to 5 samples (one film: 20). What a film adds is shared by its samples, and each sample adds noise of half
that spread. Four shapes of what films add, all of mean 0 and variance 1: normal; skewed (gamma, shape 2); very skewed
(exponential: one film in a few moves far); heavy-tailed (Student's t, 3 degrees of freedom).

`before`: the BCa interval (2,000 resamples, normal quantiles) excludes 0. `after`: `nakawari.evaluation.verdicts`.
`together`: at least one false verdict among 24 independent comparisons of one report. `covered`: how often the interval
that is printed holds the truth. `found`: how often a true difference of 1 (one standard deviation between films) is
found by the rule. `held`: how many verdicts stay the same when the bootstrap is seeded otherwise, before and after,
where the true difference is at the edge of being found.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from nakawari.evaluation.statistics import _Clusters, paired, resampled_means
from nakawari.evaluation.verdicts import ALPHA, MIN_FILMS, verdicts
from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages

FILMS = (1, 2, 4, 6, 8, 10, 15, 20, 40, 80)
SHAPES = ("normal", "skewed", "very skewed", "heavy-tailed")
TOGETHER = 24


def draw(shape: str, films: int, random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Differences without a difference: (n,) values, and the film of each."""
    added = {
        "normal": lambda: random.normal(size=films),
        "skewed": lambda: (random.gamma(2.0, 1.0, films) - 2) / np.sqrt(2),
        "very skewed": lambda: random.exponential(1.0, films) - 1,
        "heavy-tailed": lambda: random.standard_t(3, films) / np.sqrt(3),
    }[shape]()
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


def one_report(shape: str, films: int, random: np.random.Generator) -> bool:
    """Whether any of some comparisons that are shown together gets a verdict."""
    drawn = [draw(shape, films, random) for _ in range(TOGETHER)]
    pairs = [paired(v, np.zeros_like(v), higher_is_better=True, films=f, resamples=2000) for v, f in drawn]
    given = verdicts(pairs, [True] * TOGETHER, [None] * TOGETHER)
    return any(verdict in ("better", "worse") for verdict in given)


def measure(shape: str, films: int, repetitions: int) -> dict[str, Any]:
    """One row of the table, in shares of 1."""
    random = np.random.default_rng([SHAPES.index(shape), films])
    null = [draw(shape, films, random) for _ in range(repetitions)]
    now = [after(*one) for one in null]
    true = [after(values + 1.0, names)[0] for values, names in null[: repetitions // 4]]
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
        "together": float(np.mean([one_report(shape, films, random) for _ in range(repetitions // 10)])),
        "found": float(np.mean(true)),
        "held_before": held[0],
        "held_after": held[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/false-verdicts.json"))
    given = parser.parse_args()
    rows, start = [], time.perf_counter()
    print(f"{'shape':<14}{'films':>6}{'before':>9}{'after':>9}{'covered':>9}{'together':>9}{'found':>9}{'held':>16}")
    for shape in SHAPES:
        for films in FILMS:
            row = measure(shape, films, given.repetitions)
            rows.append(row)
            shares = "".join(f"{row[name]:>9.1%}" for name in ("before", "after", "covered", "together", "found"))
            print(f"{shape:<14}{films:>6}{shares}{row['held_before']:>8.1%}{row['held_after']:>8.1%}", flush=True)
    record = {
        "rule": {"min_films": MIN_FILMS, "alpha": ALPHA},
        "repetitions": given.repetitions,
        "seconds": round(time.perf_counter() - start, 1),
        "worst": max(row["after"] for row in rows),
        "rows": rows,
    }
    write_json(given.output, record | {"packages": packages(), "git": git_revision(), "machine": machine()})


if __name__ == "__main__":
    main()
