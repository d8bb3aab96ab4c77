"""Wheels: a disc and all that is in it move and turn as one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_parts import BLUE, CLOUD, INK, RED, SAND, ball, bar, box, middle, picture, wrong

from nakawari.guide.parts import draw
from nakawari.guide.parts.circles import discs_in
from nakawari.guide.parts.motion import poses
from nakawari.guide.parts.regions import cut_up, premultiplied

DARK = (44, 42, 50, 255)


def cart(x: float, y: float, degrees: float, spokes: int = 5, mark: tuple = DARK) -> np.ndarray:
    """A box on two dark wheels, turned by `degrees`, whose first spoke is of the paint `mark`."""
    at = np.array([x, y])
    shapes = [(np.array([(-30, -14), (30, -14), (30, 12), (-30, 12)], float) + at, RED)]
    for axle in (x - 18, x + 18):
        shapes.append((ball(axle, y + 12, 9), DARK))
        turns = [degrees + 360 / spokes * k for k in range(spokes)]
        shapes += [
            (bar(axle, y + 12, a, 8, 1.6 if mark != DARK else 0.8), mark if k == 0 else DARK)
            for k, a in enumerate(turns)
        ]
        shapes.append((ball(axle, y + 12, 2), CLOUD))
    return picture(*shapes)


def turn_of(part: object) -> float:
    return math.degrees(math.atan2(part.motion[1, 0], part.motion[0, 0]))  # type: ignore[attr-defined]


@pytest.mark.parametrize("spokes", [4, 5])
def test_dark_wheels_with_spokes_are_drawn_whole(spokes: int) -> None:
    made = middle(cart(42, 40, 10, spokes), cart(118, 46, 36, spokes))
    truth = cart(80, 43, 23, spokes)
    assert wrong(made, truth) < 8


def test_a_spoke_of_another_paint_tells_how_far_a_wheel_turns() -> None:
    drawn = draw(cart(42, 40, 0, 5, SAND), cart(118, 46, 100, 5, SAND), [0.5])
    assert drawn is not None
    assert [turn_of(part) for part in drawn.stage.parts if part.wheel] == pytest.approx([100, 100], abs=3)


def test_wheels_whose_spokes_are_alike_turn_by_the_least() -> None:
    drawn = draw(cart(42, 40, 0), cart(118, 46, 50), [0.5])
    assert drawn is not None
    assert [turn_of(part) for part in drawn.stage.parts if part.wheel] == pytest.approx([-22, -22], abs=3)


def test_a_wheel_keeps_its_axle_on_what_it_hangs_on() -> None:
    drawn = draw(cart(42, 40, 0), cart(118, 46, 30), [0.5])
    assert drawn is not None
    parts = drawn.stage.parts
    for part, pose in zip(parts, poses(parts, 0.5), strict=True):
        if part.wheel:
            moved = pose[:2, :2] @ part.centre + pose[:2, 2] - part.centre
            assert moved.tolist() == pytest.approx([38, 3], abs=0.3)


def test_a_pupil_that_looks_elsewhere_does_not_go_round_the_eye() -> None:
    def eye(x: float, side: float) -> np.ndarray:
        return picture((box(x, 50), BLUE), (ball(x, 42, 10), CLOUD), (ball(x + side, 42, 3), INK))

    drawn = draw(eye(50, -4), eye(90, 4), [0.5])
    assert drawn is not None
    assert not any(part.wheel for part in drawn.stage.parts)
    assert wrong(drawn.frames[0], eye(70, 0)) < 8


def test_a_joint_of_which_limbs_reach_out_is_no_disc() -> None:
    joint = picture((ball(80, 50, 10), CLOUD), (bar(80, 50, 20, half=2), BLUE), (bar(80, 50, 200, half=2), RED))
    (cel,) = cut_up([joint], 4)
    assert discs_in(premultiplied(joint), cel) == []


def test_a_head_whose_hat_reaches_out_is_no_disc() -> None:
    brim = np.array([(-11, -6), (16, -6), (16, 1), (-11, 1)], float) + np.array([80, 50])
    head = picture((ball(80, 50, 12), SAND), (brim, BLUE), (ball(78, 57, 1.5), INK))
    (cel,) = cut_up([head], 4)
    assert discs_in(premultiplied(head), cel) == []
