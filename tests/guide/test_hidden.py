"""What one key hides but for its line: it is drawn from the other key, and nothing in front of it takes its line."""

from __future__ import annotations

import numpy as np
import pytest
from test_parts import BLUE, RED, SAND, ball, bar, box, oval, picture, wrong

import cel_rigs
from nakawari.guide.parts import drawing, regions
from nakawari.guide.parts.compose import Stage
from nakawari.guide.parts.contours import shifted
from nakawari.guide.parts.graph import Graph, graph_of
from nakawari.guide.parts.layers import layers_of
from nakawari.guide.parts.motion import Part

SHOWN = 12.0
"""Pixels by which the oval behind stands out where it is seen."""


def pose(x: float, behind: float, line: float) -> np.ndarray:
    """An oval in front of its like, which is seen by `behind` pixels."""
    return picture((oval(x + behind, 50, 14, 12), SAND), (oval(x, 50, 14, 12), SAND), line=line)


def at(graph: Graph, x: float, y: float) -> int:
    return int(graph.cel.labels[int(y * graph.cel.fine), int(x * graph.cel.fine)])


@pytest.mark.parametrize("line", [1.0, 1.6, 2.4])
@pytest.mark.parametrize("turned", [False, True])
def test_a_foot_of_which_one_key_shows_the_line_comes_out_from_behind_its_like(line: float, turned: bool) -> None:
    keys, truth = [pose(60, 1.5, line), pose(64, SHOWN, line)], pose(62, (1.5 + SHOWN) / 2, line)
    first, last = (graph_of(cel) for cel in regions.cut_up(keys, 4))
    near, far, by = at(first, 60, 50), at(last, 64 + SHOWN + 8, 50), 4 + SHOWN - 1.5
    parts = [
        Part({at(first, 5, 5)}, {at(last, 5, 5)}, np.eye(3), np.zeros(2), 1.0, ground=True),
        Part({near}, {at(last, 64, 50)}, shifted(np.array([4.0, 0.0])), first.regions[near].centre, 1.0),
        Part(set(), {far}, shifted(np.array([by, 0.0])), last.regions[far].centre - (by, 0), 0.0, parent=1),
    ]
    if turned:  # the same gap backwards
        first, last, keys = last, first, keys[::-1]
        parts = [
            Part(p.last, p.first, np.linalg.inv(p.motion), p.centre + p.motion[:2, 2], p.quality, p.parent, p.ground)
            for p in parts
        ]
    shown = regions.premultiplied(keys[0]), regions.premultiplied(keys[1])
    stage = Stage((first.cel, last.cel), parts, layers_of(first, last, parts), shown)
    made = drawing.as_key(stage.frame(stage.board_at(0.5)), keys[0])
    assert wrong(made, truth) <= 80


def test_lines_that_the_other_key_has_as_areas_stay_with_their_parts() -> None:
    keys = cel_rigs.drawing(7200, "easy", rigs=["digger"])
    assert drawing.draw(keys.at(0), keys.at(1), [0.5]) is not None


def test_the_tip_of_one_limb_is_not_taken_for_that_of_another_elsewhere_on_the_figure() -> None:
    def scene(x: float, foot: float, hand: float) -> np.ndarray:
        limbs = (bar(x - 10, 40, 90, 22 + foot, 4), RED), (bar(x, 24, 0, 12 + hand, 4), RED)
        return picture(*limbs, (ball(x, 24), BLUE), (box(x, 58), SAND))

    drawn = drawing.draw(scene(60, 24, -6), scene(90, 0, 6), [0.5])
    assert drawn is not None
    reds = [np.flatnonzero(np.abs(cel.paints - RED).max(1) < 8) for cel in drawn.stage.cels]
    assert all(map(len, reds))
    assert not any(part.first & set(reds[0]) and part.last & set(reds[1]) for part in drawn.stage.parts)
