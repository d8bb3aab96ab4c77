"""Means with intervals and differences with intervals, by the bootstrap over films.

Samples that were cut from one film resemble each other, so films are drawn and not samples (cluster bootstrap); where
every sample is a film of its own, this is the plain bootstrap over samples.

Sources: Efron & Tibshirani 1993, chapters 13 (percentile interval) and 14 (BCa, bias-corrected and accelerated);
Davison & Hinkley 1997, section 3.8 (whole groups drawn). Everything is seeded: the same values give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that covers the true mean at `level`; `low` = `high` = `mean` for a single value.

    `count`: how many samples; `films`: how many films they were cut from, which is what was drawn. One film cannot tell
    how films differ: its own samples are drawn then, and the interval speaks of this film alone.
    """

    mean: float
    low: float
    high: float
    count: int
    level: float = LEVEL
    films: int = 1

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Paired:
    """How much better a variant is than another on the same samples.

    Args:
        difference: mean of variant minus reference, with its interval, in the metric's unit.
        wins, losses, ties: samples on which the variant is better, worse, equal.
        better: True or False when the interval lies on one side of 0, None when it holds 0.
    """

    difference: Interval
    wins: int
    losses: int
    ties: int
    better: bool | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "difference": self.difference.to_dict()}


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


def resampled_means(
    values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0, films: Sequence[str] | None = None
) -> np.ndarray:
    """Means of `resamples` draws of whole films with replacement: (..., n) -> (..., resamples).

    All rows see the same draws.
    """
    clusters = _Clusters.of(values, films)
    generator = np.random.default_rng(seed)
    count = len(clusters.sizes)
    parts = []
    step = max(1, _CHUNK // count)
    for start in range(0, resamples, step):
        drawn = generator.integers(0, count, (min(step, resamples - start), count))
        # How often each film is drawn: the resampled means are then one matrix product.
        times = np.zeros((len(drawn), count))
        np.add.at(times, (np.arange(len(drawn))[:, None], drawn), 1.0)
        parts.append((clusters.sums @ times.T) / (times @ clusters.sizes))
    return np.concatenate(parts, axis=-1)


def bca_bounds(
    values: np.ndarray,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    films: Sequence[str] | None = None,
) -> np.ndarray:
    """BCa bounds of the means along the last axis: (..., n) -> (..., 2); n >= 2."""
    from scipy.special import ndtr, ndtri

    means = np.sort(resampled_means(values, resamples, seed, films), axis=-1)
    mean = values.mean(-1, keepdims=True)
    below = ((means < mean).mean(-1) + (means <= mean).mean(-1)) / 2
    bias = ndtri(np.clip(below, 1 / resamples, 1 - 1 / resamples))[..., None]
    fall = _Clusters.of(values, films).jackknife()
    power = (fall**2).sum(-1, keepdims=True) ** 1.5
    acceleration = np.divide((fall**3).sum(-1, keepdims=True), 6 * power, out=np.zeros_like(power), where=power > 0)
    z = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
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
    if np.ptp(array) == 0:
        return Interval(mean, mean, mean, array.size, level, count)
    low, high = bca_bounds(array, level, resamples, seed, films)
    return Interval(mean, float(low), float(high), array.size, level, count)


def paired(
    values: ArrayLike,
    reference: ArrayLike,
    *,
    higher_is_better: bool,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    films: Sequence[str] | None = None,
) -> Paired:
    """Compare two variants sample by sample; both are one-dimensional, in the same order of samples.

    `films`: as for `mean_interval`.

    Raises:
        ValueError: different lengths, no values, or one that is not finite.
    """
    first, second = (np.asarray(array, dtype=np.float64) for array in (values, reference))
    if first.shape != second.shape:
        raise ValueError(f"paired values must be of the same samples, got {first.shape} and {second.shape}")
    change = first - second
    difference = mean_interval(change, level, resamples, seed, films)
    gain = change if higher_is_better else -change
    sure = difference.low > 0 or difference.high < 0
    return Paired(
        difference=difference,
        wins=int((gain > 0).sum()),
        losses=int((gain < 0).sum()),
        ties=int((gain == 0).sum()),
        better=bool((difference.mean > 0) == higher_is_better) if sure else None,
    )
