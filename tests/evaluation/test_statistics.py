import numpy as np
import pytest
from scipy import stats

from nakawari.evaluation.statistics import bca_bounds, mean_interval, paired, resampled_means


def test_the_interval_covers_the_truth_at_the_stated_rate():
    generator = np.random.default_rng(1)
    repetitions, samples, truth = 400, 60, 0.3
    # Differences of two correlated variants whose difficulty is skewed, as PSNR differences are.
    difficulty = generator.gamma(2.0, 1.5, (repetitions, samples))
    difference = truth + 0.2 * (difficulty - 3.0) + generator.normal(0, 0.4, (repetitions, samples))
    for level in (0.95, 0.8):
        low, high = bca_bounds(difference, level, resamples=1000).T
        covered = ((low <= truth) & (truth <= high)).mean()
        spread = 3 * np.sqrt(level * (1 - level) / repetitions)
        print(f"stated {level}, covered {covered:.3f}, allowed within {spread:.3f} (+0.015 for 60 samples)")
        assert level - spread - 0.015 <= covered <= level + spread


def test_bounds_agree_with_scipy():
    values = np.random.default_rng(3).gamma(2.0, 2.0, 80)
    ours = mean_interval(values, resamples=9000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9000, method="BCa", random_state=0).confidence_interval
    print(f"ours {ours.low:.4f} {ours.high:.4f}, scipy {theirs.low:.4f} {theirs.high:.4f}")
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.04 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.04 * width)
    assert ours.mean == values.mean()


def test_the_same_values_give_the_same_interval_and_rows_do_not_disturb_each_other():
    values = np.random.default_rng(0).normal(size=(3, 40))
    assert mean_interval(values[1]) == mean_interval(values[1].tolist())
    np.testing.assert_allclose(resampled_means(values, 50)[1], resampled_means(values[1], 50), atol=1e-12)


def test_paired_differences_count_wins_and_state_the_direction():
    reference = np.random.default_rng(0).normal(28, 5, 50)
    gain = np.random.default_rng(1).normal(0.4, 0.1, 50)
    gain[:5] = 0
    better = paired(reference + gain, reference, higher_is_better=True)
    assert (better.wins, better.losses, better.ties, better.better) == (45, 0, 5, True)
    assert better.difference.low < gain.mean() < better.difference.high
    assert better.difference.high - better.difference.low < 0.12  # pairing removes the spread of 5 dB
    worse = paired(reference + gain, reference, higher_is_better=False)
    assert (worse.wins, worse.losses, worse.better) == (0, 45, False)
    unsure = paired(reference + gain - gain.mean(), reference, higher_is_better=True)
    assert unsure.better is None
    assert unsure.to_dict()["difference"]["count"] == 50


def test_degenerate_values():
    one = mean_interval([3.0])
    assert (one.low, one.mean, one.high, one.count) == (3.0, 3.0, 3.0, 1)
    assert paired([1.0, 2.0], [1.0, 2.0], higher_is_better=True).better is None
    for bad in ([], [1.0, float("nan")], [[1.0]]):
        with pytest.raises(ValueError, match="finite"):
            mean_interval(bad)
    with pytest.raises(ValueError, match="same samples"):
        paired([1.0], [1.0, 2.0], higher_is_better=True)
