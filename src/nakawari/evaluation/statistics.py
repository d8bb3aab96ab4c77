"""Means with intervals and differences with intervals, by the bootstrap over films.

Samples that were cut from one film resemble each other, so films are drawn and not samples (cluster bootstrap); where
every sample is a film of its own, this is the plain bootstrap over samples.

Sources: Efron & Tibshirani 1993, chapters 13 (percentile interval) and 14 (BCa, bias-corrected and accelerated);
Davison & Hinkley 1997, section 3.8 (whole groups drawn); Hall 1992 (t for skewed values); Hesterberg 2015, section
4.1.3 (quantiles expanded for few draws); Pagano & Tritchler 1983 (every way to flip signs, counted at once).
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

    `count`: how many samples; `films`: how many films they were cut from, which is what was drawn (None: an older
    record that does not say). One film cannot tell how films differ: its own samples are drawn then, and the interval
    speaks of this film alone.
    """

    mean: float
    low: float | None
    high: float | None
    count: int
    level: float = LEVEL
    films: int | None = None

    @property
    def span(self) -> tuple[float, float]:
        """Both bounds; twice the mean where there is no interval."""
        return (self.mean if self.low is None else self.low), (self.mean if self.high is None else self.high)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Paired:
    """How much better a variant is than another on the same samples.

    Args:
        difference: mean of variant minus reference, with its interval, in the metric's unit.
        wins, losses, ties: samples on which the variant is better, worse, equal.
        p: see `p_value`; None for one film.
        p_equal: see `p_equal`; None for one film, or where it is not said which difference matters.
    """

    difference: Interval
    wins: int
    losses: int
    ties: int
    p: float | None
    p_equal: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Clusters:
    """Sums of the values of every film, (..., G), and how many samples each has, (G,)."""

    sums: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, films: Sequence[str] | None) -> _Clusters:
        """Values (..., n) by film; every sample on its own where no films, or only one, are given."""
        if films is None or len(set(films)) < 2:
            return cls(values, np.ones(values.shape[-1]))
        order = {film: index for index, film in enumerate(dict.fromkeys(films))}
        belongs = np.eye(len(order))[[order[film] for film in films]]
        return cls(values @ belongs, belongs.sum(0))

    def jackknife(self) -> np.ndarray:
        """How far the mean falls when one film is left out, (..., G), centred."""
        total, count = self.sums.sum(-1, keepdims=True), self.sizes.sum()
        means = (total - self.sums) / (count - self.sizes)
        return means.mean(-1, keepdims=True) - means


@lru_cache(maxsize=4)
def _draws(count: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of `count` films is drawn in each resample, (count, resamples); never 256 times."""
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    times = np.zeros((resamples, count), dtype=np.uint8)
    np.add.at(times, (np.arange(resamples)[:, None], drawn), 1)
    return np.ascontiguousarray(times.T)


def resampled_means(
    values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0, films: Sequence[str] | None = None
) -> np.ndarray:
    """Means of `resamples` draws of whole films with replacement: (..., n) -> (..., resamples).

    All rows see the same draws.
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

    The normal quantiles are expanded to those of Student's t times sqrt(n / (n - 1)), n films: without it an interval
    over few films is too narrow, because a resample is as spread as its own few films are.
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
    """How surprising these differences are where the truth is 0, two-sided: the largest of three tests over films.

    Student's t of the mean over its jackknife error (films left out one by one); the same with what skewed differences
    add to it (Hall 1992); and the signs of whole films flipped in every way; above 64 films flipping says what t says,
    and is left out. `benchmarks/false_verdicts.py` measures how often each p occurs. None for fewer than two films.
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
    """How surprising so small a mean is where the truth is as far from 0 as `matters`, on the side where it is less so.

    Two one-sided tests (Schuirmann 1987), each by `p_value`, which is two-sided: it errs to the safe side.
    """
    array = np.asarray(values, dtype=np.float64)
    sides = [p_value(array - edge, films) for edge in (-matters, matters)]
    if None in sides:
        return None
    return max(side for side in sides if side is not None) if abs(array.mean()) < matters else 1.0


def _without_skew(score: float, spread: np.ndarray) -> float:
    """Student's t of a mean of films without what skewed differences add to it: the mean and its error go together.

    It rises with `score`, which Johnson's quadratic does not: far from 0 that one finds nothing in what is plain.
    `spread`: how far each film moves the mean, centred. Source: Hall 1992, the cubic transformation of t.
    """
    count = len(spread)
    skew = (spread**3).mean() / ((spread**2).sum() / (count - 1)) ** 1.5 / count**0.5
    return float(score + skew / 3 * score**2 + skew**2 / 27 * score**3 + skew / 6)


def _flipped(sums: np.ndarray) -> float:
    """The share of all ways to flip the signs of films that take their total at least as far from 0 as it is.

    Totals are counted on a grid of `_STEPS` steps; those that rounding may have moved below count as far.
    """
    count, sizes = len(sums), np.abs(sums)
    steps = np.rint(sizes * (_STEPS / sizes.sum())).astype(int)
    reach = int(steps.sum())
    ways = np.zeros(reach + 1)  # by the sum of the films that keep a plus
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

    `films`: as for `mean_interval`; `matters`: the smallest difference that does.

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
