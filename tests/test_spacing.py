"""In-betweens at uneven fractions of the gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade import CrossFade
from nakawari.errors import UsageError
from nakawari.interpolation import Key, Settings, draw
from nakawari.interpolation.plan import plan_spaced
from nakawari.interpolation.spacing import eased, even, nearest_grid, parse_spacing, spaced_gaps

rising = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=20, unique=True).map(lambda some: tuple(sorted(some)))


def grey(*levels: int) -> list[Key]:
    return [Key(Path(f"{n}.png"), np.full((4, 6, 3), level, np.uint8)) for n, level in enumerate(levels)]


def levels(frames: list[np.ndarray]) -> list[float]:
    return [float(frame.mean()) for frame in frames]


@given(rising, st.integers(1, 14))
def test_a_grid_holds_every_share_in_order(shares: tuple[float, ...], most: int):
    steps, places = nearest_grid(shares, most)
    assert len(places) == len(shares)
    assert all(low < high for low, high in zip((0, *places), (*places, steps), strict=True))
    assert steps <= max(most + 1, 2 * (len(shares) + 1))


def test_the_coarsest_grid_that_is_nearest():
    assert nearest_grid((0.5,), 14) == (2, (1,))
    assert nearest_grid((1 / 3, 2 / 3), 14) == (3, (1, 2))
    assert nearest_grid((0.25,), 14) == (4, (1,))
    assert nearest_grid((0.1, 0.3, 0.7), 14) == (10, (1, 3, 7))
    assert nearest_grid((0.9,), 2) == (4, (3,))


@given(st.sampled_from(["even", "ease-in", "ease-out", "ease"]), st.integers(1, 30))
def test_curves_rise_and_mirror(name: str, count: int):
    shares = eased(name, even(count))
    assert all(low < high for low, high in zip((0, *shares), (*shares, 1), strict=True))
    mirrored = {"ease-in": "ease-out", "ease-out": "ease-in"}.get(name, name)
    assert shares == pytest.approx([1 - share for share in reversed(eased(mirrored, even(count)))])


def test_easing_in_begins_slowly():
    assert eased("ease-in", [0.5]) == (0.25,)
    assert eased("ease-out", [0.5]) == (0.75,)
    assert eased("ease", even(3)) == (0.15625, 0.5, 0.84375)


@pytest.mark.parametrize("text", ["slow", "0.5,0.5", "0.7,0.3", "0,0.5", "0.5,1", "nan", "", "0.1,,0.2"])
def test_bad_spacings_are_refused(text: str):
    with pytest.raises(UsageError):
        parse_spacing(text)


def test_spacings_fit_gaps_and_counts():
    assert spaced_gaps(["even", (0.5,)], [[0.25], [0.25]]) == ((0.25,), (0.5,))
    with pytest.raises(UsageError, match="3 gaps but 2 spacings"):
        spaced_gaps(["even", "ease"], [even(1)] * 3)
    with pytest.raises(UsageError, match="Gap 2 has 3 in-betweens but its spacing has 1"):
        spaced_gaps(["even", (0.5,)], [even(1), even(3)])


@pytest.mark.parametrize("any_time", [True, False])
def test_frames_stand_at_their_shares(any_time: bool):
    model = CrossFade(draws_any_time=any_time)
    drawn = draw(grey(0, 200, 0), Settings((3, 1), shares=((0.1, 0.3, 0.7), (0.25,))), model)
    assert levels(drawn.frames) == pytest.approx([0, 20, 60, 140, 200, 150, 0], abs=1)
    assert drawn.keys == [0, None, None, None, 1, None, 2]
    assert drawn.shares[0] == pytest.approx((0.1, 0.3, 0.7))
    assert [call["num_frames"] for call in model.calls] == ([5, 3] if any_time else [11, 5])


def test_a_model_with_fixed_places_says_where_it_drew():
    drawn = draw(grey(0, 100), Settings((1,), shares=((0.37,),)), CrossFade(max_frames=5))
    assert drawn.shares == ((1 / 3,),)
    assert levels(drawn.frames) == pytest.approx([0, 33, 100], abs=1)


@pytest.mark.parametrize("count", [20, 16])
def test_many_shares_stand_where_they_should(count: int):
    """With several passes; 17 steps cannot be divided evenly, which does not matter for a model of continuous time."""
    shares = eased("ease-in", even(count))
    drawn = draw(grey(0, 250), Settings((count,), shares=(shares,)), CrossFade(draws_any_time=True))
    assert levels(drawn.frames)[1:-1] == pytest.approx([250 * share for share in shares], abs=2)
    plain = draw(grey(0, 250), Settings((count,)), CrossFade(draws_any_time=True))
    assert levels(plain.frames) == pytest.approx(np.linspace(0, 250, count + 2), abs=2)


def test_even_spacing_is_no_spacing():
    plan = plan_spaced(7, None, 14, any_time=True)
    assert plan.times(plan.passes[0]) is None
    assert plan == plan_spaced(7, None, 14, any_time=False)


def test_finished_gaps_are_told_and_known_ones_not_drawn():
    keys, settings = grey(0, 100, 200), Settings((2, 2))
    told = {}
    whole = draw(keys, settings, CrossFade(noise=0.3), finished=told.__setitem__)
    assert sorted(told) == [0, 1]
    model = CrossFade(noise=0.3)
    again = draw(keys, settings, model, known={0: told[0]})
    assert len(model.calls) == 1
    assert all(map(np.array_equal, whole.frames, again.frames))
