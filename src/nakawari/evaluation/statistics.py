"""Means and differences with intervals, by the bootstrap over films.

Samples from one film are correlated, so films are resampled instead of samples (cluster bootstrap); if
every sample is its own film, this is the plain bootstrap over samples.

Sources: Efron & Tibshirani 1993, chapters 13 (percentile interval) and 14 (BCa, bias-corrected and accelerated);
Davison & Hinkley 1997, section 3.8 (resampling of groups); Hall 1992 (t for skewed values); Hesterberg 2015, section
4.1.3 (quantiles expanded for few draws); Pagano & Tritchler 1983 (exact sign-flip test).
Everything is seeded: the same values give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 10_000
LEVEL = 0.95
_MANY = 64
_STEPS = 1 << 15
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that covers the true mean at `level`; a single value has no interval (None).

    `count`: number of samples; `films`: number of films, which are resampled (None: unknown in an older
    record). With a single film its samples are resampled instead, and the interval
    applies only to this film.
    """

    mean: float
    low: float | None
    high: float | None
    count: int
    level: float = LEVEL
    films: int | None = None

    @property
    def span(self) -> tuple[float, float]:
        """Both bounds; twice the mean if there is no interval."""
        return (self.mean if self.low is None else self.low), (self.mean if self.high is None else self.high)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class Paired:
    """Paired comparison of two variants on the same samples.

    Args:
        difference: mean of variant minus reference, with its interval, in the metric's unit.
        wins, losses, ties: samples on which the variant is better, worse, equal.
        p: see `p_value`; None for one film.
        p_equal: see `p_equal`; None for one film, or without an equivalence margin.
    """

    difference: Interval
    wins: int
    losses: int
    ties: int
    p: float | None
    p_equal: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class _Clusters:
    """Sums of the values of every film, (..., G), and its number of samples, (G,)."""

    sums: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, films: Sequence[str] | None) -> _Clusters:
        """Values (..., n) by film; every sample is a film if no films, or only one, are given."""
        if films is None or len(set(films)) < 2:
            return cls(values, np.ones(values.shape[-1]))
        order = {film: index for index, film in enumerate(dict.fromkeys(films))}
        belongs = np.eye(len(order))[[order[film] for film in films]]
        return cls(values @ belongs, belongs.sum(0))

    def jackknife(self) -> np.ndarray:
        """Decrease of the mean without each film, (..., G), centred."""
        total, count = self.sums.sum(-1, keepdims=True), self.sizes.sum()
        means = (total - self.sums) / (count - self.sizes)
        return means.mean(-1, keepdims=True) - means


@lru_cache(maxsize=4)
def _draws(count: int, resamples: int, seed: int) -> np.ndarray:
    """Multiplicity of each of `count` films in each resample, (count, resamples), below 256."""
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    times = np.zeros((resamples, count), dtype=np.uint8)
    np.add.at(times, (np.arange(resamples)[:, None], drawn), 1)
    return np.ascontiguousarray(times.T)


def resampled_means(
    values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0, films: Sequence[str] | None = None
) -> np.ndarray:
    """Means of `resamples` bootstrap samples of whole films: (..., n) -> (..., resamples).

    All rows use the same resamples.
    """
    clusters = _Clusters.of(values, films)
    times = _draws(len(clusters.sizes), resamples, seed)
    step = max(1, _CHUNK // len(times))
    parts = []
    for start in range(0, resamples, step):
        some = times[:, start : start + step].astype(np.float64)
        parts.append((clusters.sums @ some) / (clusters.sizes @ some))
    return np.concatenate(parts, axis=-1)


def bca_bounds(
    values: np.ndarray,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    films: Sequence[str] | None = None,
) -> np.ndarray:
    """BCa bounds of the means along the last axis: (..., n) -> (..., 2); n >= 2.

    The normal quantiles are expanded to those of Student's t times sqrt(n / (n - 1)), n films: without it intervals
    over few films are too narrow.
    """
    from scipy.special import ndtr, ndtri
    from scipy.stats import t

    means = np.sort(resampled_means(values, resamples, seed, films), axis=-1)
    mean = values.mean(-1, keepdims=True)
    below = ((means < mean).mean(-1) + (means <= mean).mean(-1)) / 2
    bias = ndtri(np.clip(below, 1 / resamples, 1 - 1 / resamples))[..., None]
    fall = _Clusters.of(values, films).jackknife()
    power = (fall**2).sum(-1, keepdims=True) ** 1.5
    acceleration = np.divide((fall**3).sum(-1, keepdims=True), 6 * power, out=np.zeros_like(power), where=power > 0)
    count = fall.shape[-1]
    reach = np.sqrt(count / (count - 1)) * t.ppf((1 + level) / 2, count - 1)
    z = bias + reach * np.array([-1.0, 1.0])
    quantiles = ndtr(bias + z / (1 - acceleration * z))
    index = np.clip(np.round(quantiles * (resamples - 1)).astype(int), 0, resamples - 1)
    return np.take_along_axis(means, index, axis=-1)


def mean_interval(
    values: ArrayLike,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    films: Sequence[str] | None = None,
) -> Interval:
    """The mean of one-dimensional, finite `values` with its BCa bootstrap interval.

    `films`: the film of each value; None where each is its own.

    Raises:
        ValueError: no values, one that is not finite, or not one film for each.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError("a mean needs a one-dimensional list of finite values, at least one")
    if films is not None and len(films) != array.size:
        raise ValueError(f"every value needs a film, got {len(films)} films for {array.size} values")
    mean, count = float(array.mean()), array.size if films is None else len(set(films))
    if array.size == 1:
        return Interval(mean, None, None, 1, level, count)
    if np.ptp(array) == 0:
        return Interval(mean, mean, mean, array.size, level, count)
    low, high = bca_bounds(array, level, resamples, seed, films)
    return Interval(mean, float(low), float(high), array.size, level, count)


def p_value(values: ArrayLike, films: Sequence[str] | None = None) -> float | None:
    """The two-sided p-value of these differences for a true mean of 0: the largest of three tests over films.

    Student's t of the mean over its jackknife error (over films); the same with a correction for skewed
    differences (Hall 1992); and an exact sign-flip test of whole films, which is omitted above 64 films, where it
    agrees with t. `benchmarks/false_verdicts.py` measures the distribution of p. None for fewer than two films.
    """
    from scipy.stats import t

    array = np.asarray(values, dtype=np.float64)
    count = array.size if films is None else len(set(films))
    if count < 2:
        return None
    if not array.any():
        return 1.0
    clusters = _Clusters.of(array, films)
    spread = (count - 1) * clusters.jackknife()
    error = np.sqrt((spread**2).sum() / (count - 1) / count)
    if error == 0:
        p = 0.0
    else:
        score = float(array.mean() / error)
        p = max(float(2 * t.sf(abs(one), count - 1)) for one in (score, _without_skew(score, spread)))
    return p if count > _MANY else max(p, _flipped(clusters.sums))


def p_equal(values: ArrayLike, matters: float, films: Sequence[str] | None = None) -> float | None:
    """The p-value of the equivalence test with the margin `matters`, the larger of both sides.

    Two one-sided tests (Schuirmann 1987), each by `p_value`, which is two-sided and therefore conservative.
    """
    array = np.asarray(values, dtype=np.float64)
    sides = [p_value(array - edge, films) for edge in (-matters, matters)]
    if None in sides:
        return None
    return max(side for side in sides if side is not None) if abs(array.mean()) < matters else 1.0


def _without_skew(score: float, spread: np.ndarray) -> float:
    """Student's t of a mean of films, corrected for skewed differences.

    It is monotone in `score`, unlike Johnson's quadratic correction, which fails far from 0.
    `spread`: influence of each film on the mean, centred. Source: Hall 1992, the cubic transformation of t.
    """
    count = len(spread)
    skew = (spread**3).mean() / ((spread**2).sum() / (count - 1)) ** 1.5 / count**0.5
    return float(score + skew / 3 * score**2 + skew**2 / 27 * score**3 + skew / 6)


def _flipped(sums: np.ndarray) -> float:
    """The share of all sign flips of films whose total is at least as far from 0 as the observed one.

    Totals are counted on a grid of `_STEPS` steps; those that rounding may have moved below count as well.
    """
    count, sizes = len(sums), np.abs(sums)
    steps = np.rint(sizes * (_STEPS / sizes.sum())).astype(int)
    reach = int(steps.sum())
    ways = np.zeros(reach + 1)  # by the sum of the films with positive sign
    ways[0] = 1
    for step in steps:
        kept = ways[: reach + 1 - step] / 2
        ways /= 2
        ways[step:] += kept
    far = abs(sums.sum()) * (_STEPS / sizes.sum()) - count
    return float(ways[np.abs(2 * np.arange(reach + 1) - reach) >= far].sum())


def paired(
    values: ArrayLike,
    reference: ArrayLike,
    *,
    higher_is_better: bool,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    films: Sequence[str] | None = None,
    matters: float | None = None,
) -> Paired:
    """Compare two variants sample by sample; both are one-dimensional, in the same order of samples.

    `films`: as for `mean_interval`; `matters`: the equivalence margin.

    Raises:
        ValueError: different lengths, no values, or one that is not finite.
    """
    first, second = (np.asarray(array, dtype=np.float64) for array in (values, reference))
    if first.shape != second.shape:
        raise ValueError(f"paired values must be of the same samples, got {first.shape} and {second.shape}")
    change = first - second
    gain = change if higher_is_better else -change
    return Paired(
        difference=mean_interval(change, level, resamples, seed, films),
        wins=int((gain > 0).sum()),
        losses=int((gain < 0).sum()),
        ties=int((gain == 0).sum()),
        p=p_value(change, films),
        p_equal=None if matters is None else p_equal(change, matters, films),
    )
