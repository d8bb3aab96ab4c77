import numpy as np
import pytest
from scipy import stats

from nakawari.evaluation.statistics import p_equal, p_value, paired
from nakawari.evaluation.verdicts import ALPHA, ALPHA_EQUAL, fewest_films, holm, true_size, verdicts


def judged_all(changes, films=None, matters=None, higher=True):
    pairs = [
        paired(values, np.zeros(len(values)), higher_is_better=higher, films=films, matters=matters)
        for values in changes
    ]
    return verdicts(pairs, [higher] * len(pairs), [matters] * len(pairs))


def judged(change, films=None, matters=None, higher=True, others=()):
    return judged_all([change, *others], films, matters, higher)[0]


def noise(count, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, count)


def test_no_verdict_below_the_number_of_films_that_could_tell():
    gain, enough = 3 + noise(40), fewest_films()
    films = [f"film{index % (enough - 1)}" for index in range(40)]
    assert judged(gain, films) == "too few films"
    assert judged(gain, ["one film"] * 40) == "too few films"
    assert judged(gain[: enough - 1]) == "too few films"
    assert judged(gain[:enough]) == "better"
    assert judged(np.array([1.0])) == "too few films"


def test_more_comparisons_need_more_films():
    enough = fewest_films(24)
    assert fewest_films() < enough < fewest_films(144)
    assert judged_all([3 + noise(enough - 1, seed) for seed in range(24)]) == ["too few films"] * 24
    assert judged_all([3 + noise(enough, seed) for seed in range(24)]) == ["better"] * 24


def test_comparisons_that_could_not_be_found_cost_the_others_nothing():
    """Levels with few films beside the whole: only comparisons that can be significant count (Tarone 1990)."""
    values = noise(30)
    values = 0.6 + (values - values.mean()) / values.std(ddof=1)
    p = true_size(p_value(values))
    assert ALPHA / 10 < p < ALPHA
    few = [3 + noise(6, seed) for seed in range(40)]
    assert judged_all([values, *few]) == ["better"] + ["too few films"] * 40
    assert judged_all([values, *[noise(30, seed) for seed in range(40)]])[0] == "undecided"


def test_a_difference_below_what_matters_is_equal():
    tiny = 0.001 + noise(40) / 1000
    assert judged(tiny) == "better"
    assert judged(tiny, matters=0.05) == "equal"
    assert judged(np.zeros(3), matters=0.05) == "equal"  # the same output needs no films
    assert judged(0.05 + noise(40), matters=0.05) == "better"  # as large as what matters
    assert judged(noise(40) * 10, matters=0.05) == "undecided"


def test_the_direction_is_the_metrics():
    assert judged(1 + noise(20), higher=False) == "worse"
    assert judged(-1 - noise(20), higher=False) == "better"


@pytest.mark.parametrize("rare", [1, -1])
def test_equal_is_not_said_of_what_rare_films_change(rare):
    """Most films change little in one direction and a rare one much in the other: the interval often misses it."""
    random, said = np.random.default_rng(6), 0
    for _ in range(200):
        values = rare * (0.05 + (random.exponential(1, 12) - 1) * 0.02)  # truly as large as matters
        said += judged(values, matters=0.05) == "equal"
    assert said / 200 < ALPHA_EQUAL + 3 * np.sqrt(ALPHA_EQUAL / 200)


def test_p_of_equality_is_that_of_the_nearer_edge():
    values = 0.02 + noise(40) / 10
    assert p_equal(values, 0.05) == max(p_value(values - 0.05), p_value(values + 0.05)) == p_value(values - 0.05)
    assert p_equal(values, 0.01) == 1.0  # the mean is farther off than that
    assert p_equal(values[:1], 0.05) is None


def test_holm_as_its_author_defines_it():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_p_values_agree_with_scipy_where_every_sample_is_a_film():
    def hall(values):
        """Hall's t, from the sample moments computed by scipy."""
        n, t = len(values), stats.ttest_1samp(values, 0).statistic
        skew = stats.moment(values, 3) / values.std(ddof=1) ** 3 / np.sqrt(n)
        t = t + skew / 3 * t**2 + skew**2 / 27 * t**3 + skew / 6
        return 2 * stats.t.sf(abs(t), n - 1)

    random = np.random.default_rng(3)
    for values in (random.normal(0.3, 1.0, 80), random.exponential(1, 80) - 0.7, 0.7 - random.exponential(1, 80)):
        expected = max(stats.ttest_1samp(values, 0).pvalue, hall(values))
        assert p_value(values) == pytest.approx(expected, rel=1e-9)
    few = random.normal(0.3, 1.0, 80)[:9]
    flips = stats.permutation_test(
        (few,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    assert p_value(few) == pytest.approx(max(flips, stats.ttest_1samp(few, 0).pvalue, hall(few)), rel=1e-9)


def test_tables_of_very_skewed_differences_seldom_hold_a_false_verdict():
    """Few films, most with a small loss and a rare one with a large gain: mean and standard error correlate."""
    values = np.random.default_rng(5).exponential(1, (150_000, 20)) - 1
    # p_value is never below that of Student's t.
    surprising = values[true_size(stats.ttest_1samp(values, 0, axis=1).pvalue) <= ALPHA / 24]
    sizes = np.array([true_size(p_value(one)) for one in surprising])
    for together in (24, 144):
        share = (sizes <= ALPHA / together).sum() / len(values)
        assert 1 - (1 - share) ** together < 0.07


def test_as_many_films_as_one_likes_can_be_told_in_as_many_comparisons():
    """Sign flips are enumerated exactly: a random sample of them has a minimum p that fails in a table of 640."""
    pair = paired(5 + noise(30), np.zeros(30), higher_is_better=True)
    assert verdicts([pair] * 640, [True] * 640, [None] * 640) == ["better"] * 640
    assert p_value(np.ones(30)) == pytest.approx(2.0**-29)


def test_false_verdicts_stay_below_seven_percent():
    random, given = np.random.default_rng(4), 0
    for _ in range(300):
        sizes = 1 + np.arange(10) % 5
        values = np.repeat(random.exponential(1, 10) - 1, sizes) + random.normal(0, 0.5, sizes.sum())
        films = [f"film{index}" for index in np.repeat(np.arange(10), sizes)]
        given += judged(values, films) in ("better", "worse")
    assert given / 300 < 0.07 + 3 * np.sqrt(0.07 * 0.93 / 300)
