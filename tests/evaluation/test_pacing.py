"""Metrics of pacing, keys, lines and colours: correct motion scores near 0, each positive control is detected."""

import numpy as np
import pytest

from nakawari.evaluation.metrics import METRICS
from nakawari.evaluation.pacing import FLAGGED
from nakawari.evaluation.scored import Scored

COUNT = 16


def drawing(x: float, line: int = 40) -> np.ndarray:
    """An outlined, antialiased disc on a flat background, centred at `x`."""
    rows, columns = np.mgrid[:64, :160]
    distance = np.hypot(rows - 32, columns - x)
    inside, outline = np.clip(17.5 - distance, 0, 1), np.clip(2.5 - np.abs(distance - 16), 0, 1)
    picture = np.full((64, 160, 3), (225, 215, 190), float)
    picture += inside[..., None] * (np.array([200, 60, 50]) - picture)
    picture += outline[..., None] * (line - picture)
    return picture.round().astype(np.uint8)


def sequence(ease=lambda t: t, **changes) -> np.ndarray:
    return np.stack([drawing(25 + 110 * ease(index / COUNT), **changes) for index in range(COUNT + 1)])


TRUTH = sequence(lambda t: t * t * (3 - 2 * t))


def measured(name: str, made: np.ndarray, truth: np.ndarray = TRUTH) -> float | None:
    return METRICS[name](Scored(made[1:-1], truth[1:-1], truth[[0, -1]], made[[0, -1]]))


def held(made: np.ndarray, wanted: list[int]) -> np.ndarray:
    return made[wanted]


STROBE = held(TRUTH, [index - index % 2 for index in range(COUNT)] + [COUNT])
STUTTER = held(TRUTH, [0, 1, 1, 1, 4, 5, 5, 5, 8, 9, 9, 9, 12, 13, 13, 13, 16])
LATE = held(TRUTH, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, COUNT])


def test_the_truth_and_sound_motion_are_not_flagged():
    for made in (TRUTH, sequence()):  # as eased as the truth, and even
        assert measured("pacing", made) < FLAGGED["pacing"]
        assert measured("strobe", made) < FLAGGED["strobe"]
    assert measured("pacing", TRUTH) == measured("strobe", TRUTH) == measured("lag1", TRUTH) == 0


@pytest.mark.parametrize(("made", "strobes"), [(STROBE, True), (STUTTER, False), (LATE, False)])
def test_each_fault_of_pace_is_flagged(made, strobes):
    assert measured("pacing", made) > FLAGGED["pacing"]
    assert (measured("strobe", made) > 3 * FLAGGED["strobe"]) == strobes
    if strobes:
        assert measured("lag1", made) < -0.5


def test_a_triplet_has_no_pace():
    assert measured("pacing", TRUTH[[0, 8, 16]], TRUTH[[0, 8, 16]]) is None
    assert measured("key-step", TRUTH[[0, 8, 16]], TRUTH[[0, 8, 16]]) == 0


def test_a_colour_cast_between_the_keys_is_a_step_at_the_keys():
    cast = TRUTH.copy()
    cast[1:-1, ..., 2] += 4
    assert measured("key-step", TRUTH) < 0.01
    assert measured("key-step", cast) == pytest.approx(4, abs=0.05)
    assert measured("key-step", cast) > FLAGGED["key-step"]
    noise = np.random.default_rng(0).normal(0, 4, TRUTH.shape)
    assert measured("key-step", (TRUTH + noise).clip(0, 255).round().astype(np.uint8)) < 0.2


def test_pale_lines_doubled_lines_and_new_colours():
    pale = sequence(lambda t: t * t * (3 - 2 * t), line=120)
    assert measured("line-fade", TRUTH) == measured("line-count", TRUTH) == measured("new-colours", TRUTH) == 0
    assert measured("line-fade", pale) > 20
    times = np.linspace(0, 1, COUNT + 1)[:, None, None, None]
    crossed = (TRUTH[0] * (1 - times) + TRUTH[-1] * times).round().astype(np.uint8)
    assert measured("line-count", crossed) > 30  # two discs where the truth has one
    assert measured("line-fade", crossed) > 20  # and both are half as dark
    tinted = TRUTH.copy()
    tinted[:, 10:20, 60:80] = (20, 240, 40)
    share = 1000 * 10 * 20 / (64 * 160)
    assert measured("new-colours", tinted) == pytest.approx(share, abs=0.5)


def test_a_small_region_in_a_wrong_colour_counts_in_full():
    wrong = TRUTH.copy()
    inside = np.hypot(*(np.mgrid[:64, :160] - np.array([32, 80])[:, None, None])) < 13.5  # of the outline of frame 8
    wrong[8][inside] = (20, 240, 40)
    assert measured("new-colours-region", TRUTH) == 0
    assert measured("new-colours", wrong) < 5  # one small region of one frame in fifteen
    assert measured("new-colours-region", wrong) == pytest.approx(100 / (COUNT - 1), rel=0.02)
    noise = np.random.default_rng(0).integers(0, 256, TRUTH.shape).astype(np.uint8)
    assert measured("new-colours-region", TRUTH, noise) is None  # no region to speak of


def test_confidence_is_what_interpolate_says_of_a_frame_and_falls_where_it_is_torn():
    from nakawari.interpolation.confidence import Keys

    between = slice(6, 11)
    keys, torn = TRUTH[[6, 10]], TRUTH.copy()
    torn[7:10, 20:44] = np.roll(torn[7:10, 20:44], 40, axis=2)
    sound, faulty = (
        METRICS["confidence"](Scored(made[between][1:-1], TRUTH[between][1:-1], keys, keys)) for made in (TRUTH, torn)
    )
    said = Keys((keys[0], keys[1]))
    assert sound == pytest.approx(np.mean([said.judge(TRUTH[7 + n], (n + 1) / 4).frame for n in range(3)]))
    assert sound > faulty + 0.2
