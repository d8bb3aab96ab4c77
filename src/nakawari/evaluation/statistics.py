"""Means with intervals and differences with intervals, by the bootstrap over samples.

Source: Efron & Tibshirani 1993, chapters 13 (percentile interval) and 14 (BCa, bias-corrected and accelerated).
Everything is seeded: the same values give the same interval.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that covers the true mean at `level`; `low` = `high` = `mean` for a single value."""

    mean: float
    low: float
    high: float
    count: int
    level: float = LEVEL

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


def resampled_means(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Means of `resamples` draws with replacement along the last axis: (..., n) -> (..., resamples).

    All rows see the same draws.
    """
    generator = np.random.default_rng(seed)
    count = values.shape[-1]
    parts = []
    step = max(1, _CHUNK // count)
    for start in range(0, resamples, step):
        drawn = generator.integers(0, count, (min(step, resamples - start), count))
        # How often each value is drawn: the resampled means are then one matrix product.
        weights = np.zeros((len(drawn), count))
        np.add.at(weights, (np.arange(len(drawn))[:, None], drawn), 1.0 / count)
        parts.append(values @ weights.T)
    return np.concatenate(parts, axis=-1)


def bca_bounds(values: np.ndarray, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """BCa bounds of the means along the last axis: (..., n) -> (..., 2); n >= 2."""
    from scipy.special import ndtr, ndtri

    means = np.sort(resampled_means(values, resamples, seed), axis=-1)
    mean = values.mean(-1, keepdims=True)
    below = ((means < mean).mean(-1) + (means <= mean).mean(-1)) / 2
    bias = ndtri(np.clip(below, 1 / resamples, 1 - 1 / resamples))[..., None]
    # The jackknife skewness of a mean is that of the values themselves.
    spread = values - mean
    power = (spread**2).sum(-1, keepdims=True) ** 1.5
    acceleration = np.divide((spread**3).sum(-1, keepdims=True), 6 * power, out=np.zeros_like(power), where=power > 0)
    z = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    quantiles = ndtr(bias + z / (1 - acceleration * z))
    index = np.clip(np.round(quantiles * (resamples - 1)).astype(int), 0, resamples - 1)
    return np.take_along_axis(means, index, axis=-1)


def mean_interval(values: ArrayLike, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean of one-dimensional, finite `values` with its BCa bootstrap interval.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError("a mean needs a one-dimensional list of finite values, at least one")
    mean = float(array.mean())
    if np.ptp(array) == 0:
        return Interval(mean, mean, mean, array.size, level)
    low, high = bca_bounds(array, level, resamples, seed)
    return Interval(mean, float(low), float(high), array.size, level)


def paired(
    values: ArrayLike,
    reference: ArrayLike,
    *,
    higher_is_better: bool,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Paired:
    """Compare two variants sample by sample; both are one-dimensional, in the same order of samples.

    Raises:
        ValueError: different lengths, no values, or one that is not finite.
    """
    first, second = (np.asarray(array, dtype=np.float64) for array in (values, reference))
    if first.shape != second.shape:
        raise ValueError(f"paired values must be of the same samples, got {first.shape} and {second.shape}")
    change = first - second
    difference = mean_interval(change, level, resamples, seed)
    gain = change if higher_is_better else -change
    sure = difference.low > 0 or difference.high < 0
    return Paired(
        difference=difference,
        wins=int((gain > 0).sum()),
        losses=int((gain < 0).sum()),
        ties=int((gain == 0).sum()),
        better=bool((difference.mean > 0) == higher_is_better) if sure else None,
    )
