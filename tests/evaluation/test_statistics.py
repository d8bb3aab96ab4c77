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
    assert (better.wins, better.losses, better.ties) == (45, 0, 5)
    assert better.p < 2e-5  # none of 50,000 ways to flip the signs goes as far
    assert better.difference.low < gain.mean() < better.difference.high
    assert better.difference.high - better.difference.low < 0.12  # pairing removes the spread of 5 dB
    worse = paired(reference + gain, reference, higher_is_better=False)
    assert (worse.wins, worse.losses) == (0, 45)
    unsure = paired(reference + gain - gain.mean(), reference, higher_is_better=True)
    assert unsure.p > 0.9
    assert unsure.to_dict()["difference"]["count"] == 50


def test_degenerate_values():
    one = mean_interval([3.0])
    assert (one.low, one.mean, one.high, one.count) == (None, 3.0, None, 1)
    assert paired([1.0, 2.0], [1.0, 2.0], higher_is_better=True).p == 1.0
    assert paired([1.0], [2.0], higher_is_better=True).p is None
    for bad in ([], [1.0, float("nan")], [[1.0]]):
        with pytest.raises(ValueError, match="finite"):
            mean_interval(bad)
    with pytest.raises(ValueError, match="same samples"):
        paired([1.0], [1.0, 2.0], higher_is_better=True)


def _clustered(generator, repetitions, truth):
    """40 films of 1 to 5 samples each, with a film effect shared by its samples. -> values, films."""
    sizes = 1 + np.arange(40) % 5
    films = np.repeat([f"film{index}" for index in range(40)], sizes)
    shared = np.repeat(generator.normal(0, 1.0, (repetitions, 40)), sizes, axis=1)
    return truth + shared + generator.normal(0, 0.5, (repetitions, len(films))), list(films)


def test_drawing_films_covers_the_truth_where_drawing_samples_does_not():
    repetitions, truth, level = 400, 0.3, 0.95
    values, films = _clustered(np.random.default_rng(2), repetitions, truth)
    covered = {}
    for name, given in (("films", films), ("samples", None)):
        low, high = bca_bounds(values, level, resamples=1000, films=given).T
        covered[name] = ((low <= truth) & (truth <= high)).mean()
    spread = 3 * np.sqrt(level * (1 - level) / repetitions)
    print(f"stated {level}, covered {covered}, allowed within {spread:.3f} (+0.015 for 40 films)")
    assert level - spread - 0.015 <= covered["films"] <= level + spread
    assert covered["samples"] < level - spread - 0.015


def test_films_of_one_sample_are_the_plain_bootstrap():
    values = np.random.default_rng(5).gamma(2.0, 2.0, 30)
    plain = mean_interval(values)
    assert mean_interval(values, films=[str(index) for index in range(30)]) == plain
    assert plain.films == 30
    one = mean_interval(values, films=["only"] * 30)  # nothing is known of other films
    assert (one.low, one.high, one.films) == (plain.low, plain.high, 1)


def test_the_order_and_the_names_of_films_change_nothing_but_the_draw():
    values = np.random.default_rng(6).normal(size=12)
    films = ["a", "b", "c", "d"] * 3
    means = resampled_means(values, 50, films=films)
    sums, draws = values.reshape(3, 4).sum(0), np.random.default_rng(0).integers(0, 4, (50, 4))
    np.testing.assert_allclose(means, sums[draws].sum(1) / 12)
    with pytest.raises(ValueError, match="3 films for 12 values"):
        mean_interval(values, films=films[:3])
