"""What is held stays where it is when a figure passes in front of it."""

from __future__ import annotations

import numpy as np
import pytest
from test_parts import BLUE, CLOUD, RED, SAND, ball, bar, middle, picture, wrong

from nakawari.guide.parts import drawing
from nakawari.guide.parts.graph import Graph, graph_of
from nakawari.guide.parts.held import held_of
from nakawari.guide.parts.regions import cut_up

WOOD, GREEN = (140, 90, 60, 255), (70, 140, 80, 255)
Shape = tuple[np.ndarray, tuple]


def block(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def scene(*behind: Shape, x: float, y: float = 50.0, turn: float = 0.0) -> np.ndarray:
    """A figure of a body, a head and an arm at (x, y) in front of what is held."""
    body = block(x - 9, y - 6, x + 9, y + 24)
    return picture(*behind, (body, RED), (ball(x, y - 16, 10), SAND), (bar(x, y, 75 + turn, 15, 3), BLUE))


def graphs(*keys: np.ndarray) -> tuple[Graph, Graph, tuple[set[int], set[int]]]:
    first, last = (graph_of(cel) for cel in cut_up(keys, 4))
    return first, last, next(drawing.grounds_of(first, last))


def at(graph: Graph, x: float, y: float) -> int:
    return int(graph.cel.labels[int(y * graph.cel.fine), int(x * graph.cel.fine)])


DOOR = (block(30, 22, 66, 88), WOOD), (block(36, 28, 60, 50), GREEN)
BOOKS = tuple(
    (block(left, 30, left + 9, 44), paint) for left, paint in zip((70, 84, 98, 112), (BLUE, GREEN) * 2, strict=True)
)


@pytest.mark.parametrize("way", [(48, 108), (108, 48), (30, 66), (20, 140)])
def test_a_door_behind_a_figure_stays_whole_where_it_is(way: tuple[int, int]) -> None:
    first, last, half = (scene(*DOOR, x=x, turn=turn) for x, turn in ((way[0], 0), (way[1], 30), (sum(way) / 2, 15)))
    made, shown = middle(first, last), (half == picture(*DOOR)).all(2)
    assert wrong(np.where(shown[..., None], made, half), half) <= 12


def test_things_that_look_alike_do_not_move_to_the_places_of_those_that_a_figure_hides() -> None:
    keys = [scene(*BOOKS, x=x) for x in (72, 112)]
    first, last, ground = graphs(*keys)
    held = held_of(first, last, ground)
    assert at(last, 88, 40) in held.pairs[at(first, 88, 40)] and at(last, 102, 40) in held.pairs[at(first, 102, 40)]
    assert wrong(middle(*keys), scene(*BOOKS, x=92)) <= 40


def test_a_line_of_the_background_is_whole_again_where_a_figure_has_left_it() -> None:
    shelf = (block(20, 44, 140, 44.5), CLOUD)
    assert wrong(middle(scene(shelf, x=50), scene(shelf, x=110)), scene(shelf, x=80)) <= 25


def test_a_bar_that_slides_along_its_length_is_not_held() -> None:
    bars = [picture((block(40 + by, 40, 110 + by, 60), RED)) for by in (0, 9)]
    first, last, ground = graphs(*bars)
    assert not held_of(first, last, ground).pairs
    assert wrong(middle(*bars), picture((block(44.5, 40, 114.5, 60), RED))) <= 12


def test_a_body_whose_arm_turns_is_held_and_no_scenery() -> None:
    keys = [scene(x=80, turn=turn) for turn in (0, 60)]
    first, last, ground = graphs(*keys)
    held, body = held_of(first, last, ground), at(first, 74, 70)
    assert body in held.pairs and body not in held.scenery
    assert wrong(middle(*keys), scene(x=80, turn=30)) <= 15


def test_a_figure_passes_before_scenery_that_neither_key_shows_it_at() -> None:
    post = (block(78, 20, 84, 90), WOOD)
    first, last, half = (scene(post, x=x) for x in (50, 112, 81))
    assert wrong(middle(first, last), half) <= 25


def test_what_a_figure_walks_behind_stays_before_it() -> None:
    def fence(x: float) -> np.ndarray:
        figure = (block(x - 9, 44, x + 9, 74), RED), (ball(x, 34, 10), SAND)
        return picture(*figure, (block(40, 60, 120, 90), WOOD))

    assert wrong(middle(fence(62), fence(98)), fence(80)) <= 25
