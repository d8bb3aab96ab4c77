import numpy as np
import pytest
from scipy import stats

from nakawari.evaluation.statistics import p_value, paired
from nakawari.evaluation.verdicts import ALPHA, MIN_FILMS, holm, verdicts


def judged(change, films=None, matters=None, higher=True, others=()):
    pairs = [
        paired(values, np.zeros(len(values)), higher_is_better=higher, films=films) for values in (change, *others)
    ]
    return verdicts(pairs, [higher] * len(pairs), [matters] * len(pairs))[0]


def noise(count, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, count)


def test_no_verdict_below_the_stated_number_of_films():
    gain = 3 + noise(40)
    films = [f"film{index % (MIN_FILMS - 1)}" for index in range(40)]
    assert judged(gain, films) == "too few films"
    assert judged(gain, ["one film"] * 40) == "too few films"
    assert judged(gain[: MIN_FILMS - 1]) == "too few films"
    assert judged(gain[:MIN_FILMS]) == "better"
    assert judged(np.array([1.0])) == "too few films"


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


def test_comparisons_that_are_shown_together_are_harder_to_win():
    values = noise(30)
    values = 0.6 + (values - values.mean()) / values.std(ddof=1)  # t = 3.3
    p = p_value(values)
    assert ALPHA / 20 < p < ALPHA
    assert judged(values) == "better"
    assert judged(values, others=[noise(30, seed) for seed in range(19)]) == "undecided"


def test_holm_as_its_author_defines_it():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_p_values_agree_with_scipy_where_every_sample_is_a_film():
    def hall(values):
        """Hall's t, from the moments of the sample as scipy gives them."""
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


@pytest.mark.parametrize(("together", "limit"), [(24, 0.07), (144, 0.1)])
def test_a_table_of_very_skewed_differences_seldom_holds_a_false_verdict(together, limit):
    """Few films, of which most lose a little and a rare one gains much: the mean is low where the error is small.

    The limit is 7 %, and for 144 comparisons what 100,000 draws leave open: three standard errors of so rare a case.
    """
    values = np.random.default_rng(5).exponential(1, (100_000, 18)) - 1
    surprising = values[stats.ttest_1samp(values, 0, axis=1).pvalue <= ALPHA / together]  # p_value is never below
    share = sum(p_value(one) <= ALPHA / together for one in surprising) / len(values)
    assert 1 - (1 - share) ** together < limit


def test_a_flipped_sign_never_says_impossible():
    assert p_value(5 + noise(30)) >= 1 / 50_001


def test_false_verdicts_stay_below_seven_percent():
    random, given = np.random.default_rng(4), 0
    for _ in range(300):
        sizes = 1 + np.arange(10) % 5
        values = np.repeat(random.exponential(1, 10) - 1, sizes) + random.normal(0, 0.5, sizes.sum())
        films = [f"film{index}" for index in np.repeat(np.arange(10), sizes)]
        given += judged(values, films) in ("better", "worse")
    assert given / 300 < 0.07 + 3 * np.sqrt(0.07 * 0.93 / 300)
