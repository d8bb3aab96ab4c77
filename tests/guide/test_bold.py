"""Lines as wide as narrow areas are lines."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from nakawari.guide.parts import draw
from nakawari.guide.parts.bending import bend_of
from nakawari.guide.parts.bold import blobs_apart
from nakawari.guide.parts.circles import discs_in
from nakawari.guide.parts.components import depths
from nakawari.guide.parts.contours import Outline
from nakawari.guide.parts.graph import graph_of
from nakawari.guide.parts.regions import Cel, cut_up, premultiplied

SIZE, OVER = (260, 200), 4
SKY, STRIP, INK = (225, 235, 240), (150, 130, 110), (18, 16, 22)
BLUE, RED, GREEN = (70, 110, 200), (200, 50, 60), (60, 140, 90)
BOLD = 5.0


def painted(shapes: list[tuple[np.ndarray, tuple[int, int, int]]], width: float) -> np.ndarray:
    """Polygons over a background of two colours, with lines of a width in pixels; uint8."""
    board = np.zeros((SIZE[1] * OVER, SIZE[0] * OVER, 3), np.uint8)
    board[:], board[160 * OVER :] = SKY, STRIP
    for outline, paint in shapes:
        points = np.rint(outline * OVER * 16).astype(np.int32)[None]
        cv2.fillPoly(board, points, paint, shift=4)
        if width:
            cv2.polylines(board, points, True, INK, round(width * OVER), cv2.LINE_AA, shift=4)
    return cv2.resize(board, SIZE, interpolation=cv2.INTER_AREA)


def bar(start: np.ndarray, degrees: float, length: float, width: float) -> np.ndarray:
    along = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    across = np.array([-along[1], along[0]]) * width / 2
    return np.array([start - across, start + length * along - across, start + length * along + across, start + across])


def oval(centre: np.ndarray, wide: float, high: float) -> np.ndarray:
    around = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    return centre + np.stack([wide * np.cos(around), high * np.sin(around)], 1)


def figure(t: float, width: float = BOLD) -> np.ndarray:
    """A body with a head, and an arm that turns while all travel."""
    at = np.array([80.0 + 60 * t, 110.0])
    shoulder = at + np.array([14, -18])
    body = at + np.array([(-24, -34), (26, -34), (20, 38), (-28, 38)])
    arm = bar(shoulder, 70 - 80 * t, 62, 20)
    return painted([(body, BLUE), (oval(at + np.array([0, -54]), 20, 22), GREEN), (arm, RED)], width)


def haired(t: float, width: float) -> np.ndarray:
    """The same with hair and boots in the ink's colour, which touch the lines."""
    at = np.array([80.0 + 60 * t, 110.0])
    around, tilt = np.radians(np.linspace(180, 360, 30)), math.radians(-20 + 40 * t)
    hair = np.concatenate([np.stack([22 * np.cos(around), 24 * np.sin(around)], 1), [(24, 14), (12, -2), (-24, 20)]])
    turn = np.array([(math.cos(tilt), -math.sin(tilt)), (math.sin(tilt), math.cos(tilt))])
    head = at + np.array([0, -54])
    boots = [at + np.array([(x - 12, 36), (x + 10, 36), (x + 10, 52), (x - 12, 52)]) for x in (-16, 10)]
    body = at + np.array([(-24, -34), (26, -34), (20, 38), (-28, 38)])
    arm = bar(at + np.array([14, -18]), 70 - 80 * t, 62, 20)
    shapes = [(boot, INK) for boot in boots]
    return painted([*shapes, (body, BLUE), (oval(head, 20, 22), GREEN), (hair @ turn.T + head, INK), (arm, RED)], width)


def spider(t: float) -> np.ndarray:
    """Six dark legs, as wide as bold lines, about a body; no lines."""
    at = np.array([90.0 + 50 * t, 80.0])
    legs = [(bar(at, 20 + 28 * k + (10 - 20 * t) * (-1) ** k, 58, BOLD), INK) for k in range(6)]
    return painted([*legs, (oval(at, 18, 14), RED)], 0)


def clock(t: float) -> np.ndarray:
    """A face in a rim that is as narrow as a bold line, with thin lines."""
    at = np.array([90.0 + 30 * t, 80.0])
    return painted([(oval(at, 46, 46), GREEN), (oval(at, 40, 40), RED), (bar(at, 40 * t, 30, 8), BLUE)], 1.6)


def cels(*keys: np.ndarray) -> list[Cel]:
    return cut_up(keys, 4)


def test_a_figure_with_bold_lines_is_drawn_as_one_with_thin_lines() -> None:
    for width in (1.6, BOLD, 8.0):
        drawing = draw(figure(0, width), figure(1, width), [0.5])
        assert drawing is not None
        wrong = np.abs(drawing.frames[0].astype(int) - figure(0.5, width)).max(2) > 24
        assert wrong.sum() < 90, width


@pytest.mark.parametrize("width", [4.0, BOLD, 7.0])
def test_hair_in_the_ink_is_drawn_apart_from_bold_lines(width: float) -> None:
    drawing = draw(haired(0, width), haired(1, width), [0.5])
    assert drawing is not None
    wrong = np.abs(drawing.frames[0].astype(int) - haired(0.5, width)).max(2) > 24
    assert wrong.sum() < 600


def test_bold_lines_are_no_areas() -> None:
    for cel in cels(figure(0), figure(1)):
        assert cel.bold
        assert all(np.abs(paint[:3] - INK).max() > 24 for paint in cel.paints[: cel.areas])
        assert cel.line.mean() == pytest.approx((figure(0).sum(2) < 200).mean(), rel=0.15)


def test_thin_lines_are_not_bold() -> None:
    assert not any(cel.bold for cel in cels(figure(0, 1.6), figure(1, 1.6)))


def test_narrow_limbs_without_lines_stay_areas() -> None:
    for cel in cels(spider(0), spider(1)):
        assert not cel.bold
        assert any(np.abs(paint[:3] - INK).max() < 8 for paint in cel.paints[: cel.areas])


def test_a_rim_between_thin_lines_is_no_line() -> None:
    for cel in cels(clock(0), clock(1)):
        assert not cel.bold
        assert any(np.abs(paint[:3] - GREEN).max() < 8 for paint in cel.paints[: cel.areas])


def test_two_wheels_with_bold_spokes_are_both_found() -> None:
    shapes = [(np.array([(40, 60), (220, 60), (220, 110), (40, 110)], float), BLUE)]
    for x in (75.0, 185.0):
        shapes += [(oval(np.array([x, 115.0]), 24, 24), GREEN), (bar(np.array([x, 93.0]), 90, 44, 5), INK)]
    shapes.append((oval(np.array([75.0, 115.0]), 7, 7), RED))
    key = painted(shapes, BOLD)
    (cel,) = cels(key)
    assert sorted(disc.centre[0] for disc in discs_in(premultiplied(key), cel)) == pytest.approx([75, 185], abs=1)


def test_regions_across_a_bold_line_are_in_contact() -> None:
    for width in (1.6, BOLD, 8.0):
        graph = graph_of(cels(figure(0, width), figure(1, width))[0])
        body, head = (
            next(r for r in graph.regions if np.abs(r.paint[:3] - paint).max() < 8 and r.size > 200)
            for paint in (BLUE, GREEN)
        )
        assert len(graph.between(body.label, head.label)) > 0, width
        assert (graph.faced(head.outline) == body.label).any()


def test_an_outline_that_turns_back_on_itself_bends() -> None:
    around = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    way = np.stack([np.cos(around), np.sin(around)], 1)
    normals = way.copy()
    normals[7] = 0
    one = Outline(20 * way, normals, np.ones(40))
    bend, _ = bend_of(one, Outline(20 * way * (1, 1.2), way, np.ones(40)), np.eye(3))
    assert np.isfinite(bend.moves).all()


@pytest.mark.parametrize(("radius", "apart"), [(5, False), (9, True)])
def test_only_deep_shapes_are_told_from_bold_lines(radius: int, apart: bool) -> None:
    drawn = np.zeros((60, 200), np.uint8)
    drawn[28:32] = 1  # a line of four pixels
    cv2.circle(drawn, (60, 30), radius, 1, -1)
    _, lines = blobs_apart(drawn.astype(np.int64), depths(drawn), np.ones(2, bool))
    assert (1 in lines) == apart


def test_the_arms_of_a_star_without_lines_are_no_bold_lines() -> None:
    angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    radius = np.where(np.arange(10) % 2, 13.0, 42.0)[:, None]
    star = np.array([80.0, 50.0]) + radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    eyes = [
        (np.array([x, 48.0]) + radius[1::2].mean() / 4 * np.stack([np.cos(angle), np.sin(angle)], 1), BLUE)
        for x in (75, 86)
    ]
    (cel,) = cut_up([painted([(star, RED), *eyes], 0)], 4)
    assert not cel.bold
    assert (np.abs(cel.paints[: cel.areas, :3] - np.array(RED)).max(1) < 2).sum() == 1
