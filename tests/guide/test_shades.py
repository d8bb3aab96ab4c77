"""An outlined shape of several colours moves as one, and is drawn with all of them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from test_parts import BLUE, FINE, INK, RED, SKY, ball, bar, box, middle, wrong

from nakawari.guide.parts.regions import Cel, cut_up
from nakawari.guide.parts.shades import with_shades

DARK, WHITE = (158, 36, 43, 255), (240, 240, 240, 255)
Shape = tuple[np.ndarray, tuple, Callable[[np.ndarray], list[np.ndarray]], tuple]
"""An outline, its paint, what of it has another one, and that."""


def below(outline: np.ndarray) -> list[np.ndarray]:
    """What light from above leaves in the shade: all beyond a straight line across the middle and the corners."""
    low, high = outline.min(0), outline.max(0)
    middle = (low + high) / 2
    return [np.array([(low[0] - 5, middle[1] + 6), (high[0] + 5, middle[1] - 3), high + 5, (low[0] - 5, high[1] + 5)])]


def stripes(outline: np.ndarray) -> list[np.ndarray]:
    """Four stripes across a box with these corners."""
    left_top, right_top, _, left_bottom = outline
    down, across = left_bottom - left_top, right_top - left_top
    corners = [left_top + down * at - across * 0.1 for at in (0.06, 0.3, 0.54, 0.78)]
    return [np.array([c, c + 1.2 * across, c + 1.2 * across + 0.12 * down, c + 0.12 * down]) for c in corners]


def picture(*shapes: Shape, ground: tuple = SKY, line: float = 1.6) -> np.ndarray:
    """RGBA (100, 160): closed outlines in painter's order, each with something of another paint in it."""
    board = np.zeros((100 * FINE, 160 * FINE, 4), np.uint8)
    board[:] = ground
    fixed = lambda points: np.rint(points * FINE * 16).astype(np.int32)[None]  # noqa: E731
    for outline, paint, inside, other in shapes:
        cv2.fillPoly(board, fixed(outline), paint, shift=4)
        mask, there = (np.zeros(board.shape[:2], np.uint8) for _ in range(2))
        cv2.fillPoly(mask, fixed(outline), 255, shift=4)
        for part in inside(outline):
            cv2.fillPoly(there, fixed(part), 255, shift=4)
        board[(mask > 0) & (there > 0)] = other
        if line:
            cv2.polylines(board, fixed(outline), True, INK, round(line * FINE), shift=4)
    return np.rint(board.astype(float).reshape(100, FINE, 160, FINE, 4).mean((1, 3))).astype(np.uint8)


def turned(x: float, y: float, degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return (box(0, 0) @ turn) + (x, y)


def at(cel: Cel, x: float, y: float) -> int:
    return int(cel.labels[int(y * cel.fine), int(x * cel.fine)])


def test_lit_and_shaded_side_are_one_region() -> None:
    keys = [picture((ball(x, 50, 20), RED, below, DARK)) for x in (40, 110)]
    for cel, x in zip(with_shades(cut_up(keys, 4)), (40, 110), strict=True):
        assert at(cel, x, 38) == at(cel, x, 64) != at(cel, x, 8)


def test_a_narrow_strip_of_shade_beside_a_line_is_part_of_its_limb() -> None:
    def limb(x: float, degrees: float) -> Shape:
        a = np.radians(degrees)
        along, aside = np.array([np.cos(a), np.sin(a)]), np.array([-np.sin(a), np.cos(a)])
        start = np.array([x, 50.0]) - 6 * along
        strip = np.array(
            [start + 1.6 * aside, start + 60 * along + 1.6 * aside, start + 60 * along + 9 * aside, start + 9 * aside]
        )
        return bar(x, 50, degrees, 40, 6), RED, lambda _: [strip], DARK

    for cel, x, degrees in zip(
        with_shades(cut_up([picture(limb(20, 8)), picture(limb(90, 30))], 4)), (20, 90), (8, 30), strict=True
    ):
        a = np.radians(degrees)
        spots = [(x + 20 * np.cos(a) - off * np.sin(a), 50 + 20 * np.sin(a) + off * np.cos(a)) for off in (-3, 3.5)]
        assert at(cel, *spots[0]) == at(cel, *spots[1])


@pytest.mark.parametrize("line", [1.0, 1.6, 2.4])
def test_a_shaded_arm_turns_and_light_comes_from_where_it_came(line: float) -> None:
    first, last, half = (
        picture(
            (ball(x, 40, 20), RED, below, DARK), (bar(x + 12, 44, turn, 34, 7), RED, below, DARK), line=line
        )
        for x, turn in ((40, 15), (100, 55), (70, 35))
    )  # fmt: skip
    assert wrong(middle(first, last), half) <= 60  # the shade of the arm is not half-way


def test_a_shade_moves_along_its_shape_between_its_places() -> None:
    up, down, half = (lambda outline, by=by: [box(at, 60 + by) for at in (10, 40, 70, 100, 130)] for by in (-4, 4, 0))
    first, last, truth = (
        picture((turned(x, 50, turn), RED, inside, DARK))
        for x, turn, inside in ((40, 0, up), (110, 0, down), (75, 0, half))
    )
    assert wrong(middle(first, last), truth) <= 12


def test_a_striped_box_turns_as_one() -> None:
    first, last, half = (
        picture((turned(x, 50, turn), RED, stripes, WHITE)) for x, turn in ((40, -10), (110, 35), (75, 12.5))
    )
    assert wrong(middle(first, last), half) <= 120  # along the edges of stripes, which differ by 190 levels


def test_what_is_lit_in_one_key_and_in_the_shade_in_the_other_is_one_thing() -> None:
    whole = lambda outline: [outline]  # noqa: E731
    keys = [
        picture((ball(40, 30, 18), RED, below, DARK), (ball(120, 70, 8), RED, whole, RED)),
        picture((ball(40, 30, 18), RED, below, DARK), (ball(100, 70, 8), RED, whole, DARK)),
    ]
    first, last = with_shades(cut_up(keys, 4))
    assert np.abs(first.paints[at(first, 120, 70)] - last.paints[at(last, 100, 70)]).max() < 3


def test_a_background_in_the_colour_of_a_shade_stays_what_it_is() -> None:
    keys = [picture((ball(x, 50, 20), RED, below, DARK), ground=DARK) for x in (40, 110)]
    for cel in with_shades(cut_up(keys, 4)):
        assert np.abs(cel.paints[at(cel, 8, 8)] - DARK).max() < 1


def test_where_no_line_bounds_a_shape_its_colours_stay_apart() -> None:
    keys = [picture((ball(x, 50, 20), RED, below, DARK), (box(x, 80), BLUE, below, WHITE), line=0) for x in (40, 110)]
    cels = cut_up(keys, 4)
    assert all(new is old for new, old in zip(with_shades(cels), cels, strict=True))


def test_a_pupil_that_touches_no_line_is_no_shade_of_its_eye() -> None:
    pupil = lambda outline: [ball(outline[:, 0].mean() + 4, 50, 4)]  # noqa: E731
    cels = cut_up([picture((ball(x, 50, 14), RED, pupil, DARK)) for x in (40, 110)], 4)
    assert all(new is old for new, old in zip(with_shades(cels), cels, strict=True))
