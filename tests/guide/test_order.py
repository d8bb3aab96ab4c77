"""Parts of one colour in a row keep their order."""

from __future__ import annotations

import math

import cv2
import numpy as np

from nakawari.guide.parts import draw
from nakawari.guide.parts.graph import Graph, graph_of
from nakawari.guide.parts.order import order_of
from nakawari.guide.parts.regions import cut_up

SIZE, OVER = (240, 120), 4
GROUND, GREEN, RED, INK = (238, 232, 218), (60, 140, 90), (200, 50, 60), (20, 30, 25)
LINKS, LONG = 8, 16.0
BACKGROUND = 0


def snake(t: float, head: bool = True, folded: bool = False, links: int = LINKS) -> np.ndarray:
    """Links that each turn about the end of the one before, and that travel by more than they are long; uint8."""
    board = np.zeros((SIZE[1] * OVER, SIZE[0] * OVER, 3), np.uint8)
    board[:] = GROUND
    at, shapes = np.array([190.0 - 48 * t, 62.0]), []
    around = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    if head:
        shapes.append((np.stack([at[0] + 6 + 9 * np.cos(around), at[1] + 8 * np.sin(around)], 1), RED))
    for k in range(links):
        a = math.pi + math.radians((40 - 80 * t) * math.sin(1.1 * k)) + (math.pi / 3.2 * k if folded else 0)
        along, across = np.array([math.cos(a), math.sin(a)]), np.array([-math.sin(a), math.cos(a)])
        corners = [at - 5 * across, at + LONG * along - 5 * across, at + LONG * along + 5 * across, at + 5 * across]
        shapes.append((np.array(corners), GREEN))
        at = at + LONG * along
    for outline, paint in shapes[::-1]:
        points = np.rint(outline * OVER * 16).astype(np.int32)[None]
        cv2.fillPoly(board, points, paint, shift=4)
        cv2.polylines(board, points, True, INK, round(1.5 * OVER), shift=4)
    return cv2.resize(board, SIZE, interpolation=cv2.INTER_AREA)


def graphs(*keys: np.ndarray) -> list[Graph]:
    return [graph_of(cel) for cel in cut_up(keys, 4)]


def from_head(graph: Graph) -> list[int]:
    """The labels of a snake's links, whose row begins at the right of the picture."""
    links = [r for r in graph.regions if np.abs(r.paint[:3] - GREEN).max() < 8]
    return [r.label for r in sorted(links, key=lambda r: -r.centre[0])]


def still(*sides: Graph) -> tuple[set[int], set[int]]:
    first, last = ({r.label for r in side.regions if r.rim > 0.5} for side in sides)
    return first, last


def test_a_snake_that_travels_three_links_far_is_one_snake_half_way() -> None:
    drawing = draw(snake(0), snake(1), [0.5])
    assert drawing is not None
    wrong = np.abs(drawing.frames[0].astype(int) - snake(0.5)).max(2) > 24
    assert wrong.sum() < 60


def test_each_link_becomes_the_one_as_far_from_the_head() -> None:
    first, last = graphs(snake(0), snake(1))
    order = order_of(first, last, still(first, last))
    ours, theirs = from_head(first), from_head(last)
    assert {a: {b} for a, b in zip(ours, theirs, strict=True)} == order.rows
    assert not order.allows(ours[2], theirs[4]) and order.allows(ours[2], theirs[2])
    assert not order.allows(BACKGROUND, theirs[0])


def test_a_row_with_equal_ends_may_go_either_way() -> None:
    first, last = graphs(snake(0, head=False), snake(0.2, head=False))
    order = order_of(first, last, still(first, last))
    ours, theirs = from_head(first), from_head(last)
    assert order.rows[ours[0]] == {theirs[0], theirs[-1]}


def test_rows_that_differ_in_length_are_short_or_touch_themselves_tell_nothing() -> None:
    straight = snake(0)
    for keys in (
        (straight, snake(0, links=7)),
        (snake(0, links=4), snake(1, links=4)),
        (straight, snake(1, folded=True)),
    ):
        first, last = graphs(*keys)
        order = order_of(first, last, still(first, last))
        assert not order.rows and order.allows(1, 1)
