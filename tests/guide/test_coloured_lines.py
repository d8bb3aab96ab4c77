"""Lines of several colours, as where each shape is outlined in a darker shade of its own."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from nakawari.guide.parts import draw, drawing
from nakawari.guide.parts.regions import cut_up

SIZE, OVER = (200, 140), 8
SKY, BLUE, RED, GREEN = (225, 235, 240), (70, 110, 200), (230, 90, 80), (120, 190, 110)
BLACK = (18, 16, 22)


def darker(paint: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(round(0.55 * level) for level in paint)


def drawn(t: float, lines: list[tuple[int, ...]], width: float = 1.6) -> np.ndarray:
    """A body with a head and an arm that turns, each outlined in one of some colours; uint8."""
    at = np.array([70.0 + 50 * t, 80.0])
    around = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    head = at + np.array([1, -42]) + np.stack([13 * np.cos(around), 14 * np.sin(around)], 1)
    body = at + np.array([(-16, -26), (19, -24), (15, 27), (-20, 25)])
    turn = math.radians(70 - 70 * t)
    along = np.array([math.cos(turn), math.sin(turn)])
    across = np.array([-along[1], along[0]]) * 6
    shoulder = at + np.array([6, -14])
    arm = np.array(
        [shoulder - across, shoulder + 40 * along - across, shoulder + 40 * along + across, shoulder + across]
    )
    board = np.full((SIZE[1] * OVER, SIZE[0] * OVER, 3), SKY, np.uint8)
    for outline, paint, line in zip((body, head, arm), (BLUE, GREEN, RED), lines, strict=True):
        points = np.rint(outline * OVER * 16).astype(np.int32)[None]
        cv2.fillPoly(board, points, paint, shift=4)
        cv2.polylines(board, points, True, line, round(width * OVER), shift=4)
    return cv2.resize(board, SIZE, interpolation=cv2.INTER_AREA)


OF_THEIR_OWN = [darker(BLUE), darker(GREEN), darker(RED)]
PENCILS = [BLACK, (40, 70, 190), (190, 50, 50)]


@pytest.mark.parametrize("lines", [OF_THEIR_OWN, PENCILS], ids=["trace", "pencils"])
@pytest.mark.parametrize("width", [1.6, 2.4])
def test_lines_of_several_colours_are_lines(lines: list[tuple[int, ...]], width: float) -> None:
    cel, _ = cut_up([drawn(0, lines, width), drawn(1, lines, width)], 4)
    found = cel.paints[cel.areas :, :3]
    assert cel.areas == 4  # the sky, and three shapes; the arm cuts nothing off
    assert all(np.abs(found - line).max(1).min() <= 3 for line in lines)


def test_lines_of_one_colour_are_of_one() -> None:
    """What is mixed of black lines and areas is no line's colour."""
    cel, _ = cut_up([drawn(0, [BLACK] * 3), drawn(1, [BLACK] * 3)], 4)
    assert cel.areas == 4
    assert np.abs(cel.paints[4:, :3] - BLACK).max() <= 3


@pytest.mark.parametrize("lines", [OF_THEIR_OWN, PENCILS], ids=["trace", "pencils"])
def test_a_figure_with_lines_of_several_colours_is_drawn_by_its_parts(lines: list[tuple[int, ...]]) -> None:
    made = draw(drawn(0, lines), drawn(1, lines), (0.5,))
    assert made is not None
    error = np.abs(made.frames[0].astype(float) - drawn(0.5, lines)).max(2)
    assert (error > 24).mean() < 0.004


def pencilled(t: float, filled: bool = False) -> np.ndarray:
    """A walking figure with two legs, one behind the other, white on white paper or filled."""
    at = np.array([60.0 + 70 * t, 60.0])
    around = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    ring = np.stack([np.cos(around), np.sin(around)], 1)
    board = np.full((SIZE[1] * OVER, SIZE[0] * OVER, 3), 255, np.uint8)

    def shape(outline: np.ndarray, paint: tuple[int, ...]) -> None:
        points = np.rint(outline * OVER * 16).astype(np.int32)[None]
        cv2.fillPoly(board, points, paint if filled else (255, 255, 255), shift=4)
        cv2.polylines(board, points, True, BLACK, round(1.6 * OVER), shift=4)

    for swing, paint in ((35 - 70 * t, RED), (70 * t - 35, RED)):
        turn = math.radians(90 + swing)
        along = np.array([math.cos(turn), math.sin(turn)])
        across, foot = np.array([-along[1], along[0]]) * 5, at + np.array([0, 10]) + 46 * along
        shape(np.array([at - across, foot - across, foot + across, at + across]), paint)
    shape(at + np.array([(-16, -26), (19, -24), (15, 27), (-20, 25)]), BLUE)
    shape(at + np.array([1, -40]) + 13 * ring, GREEN)
    return cv2.resize(board, SIZE, interpolation=cv2.INTER_AREA)


def test_less_of_a_line_drawing_need_be_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only lines move in it, and a line that is off by half its width is wrong; areas of a filled figure are not."""
    monkeypatch.setattr(drawing, "explained", lambda _: 0.75)
    for filled in (False, True):
        drawn_by_parts = drawing.draw(pencilled(0, filled), pencilled(1, filled), (0.5,))
        assert (drawn_by_parts is None) == filled
