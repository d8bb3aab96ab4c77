"""Matches of look-alikes are exchanged where their neighbours tell better."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest

from nakawari.guide.parts import exchange as module
from nakawari.guide.parts import match as growth
from nakawari.guide.parts.graph import Graph, graph_of
from nakawari.guide.parts.known import Known
from nakawari.guide.parts.order import Order
from nakawari.guide.parts.pairing import Match, Matching
from nakawari.guide.parts.regions import cut_up

SIZE, OVER = (160, 120), 4
GROUND, BLUE, GREEN, RED, INK = (238, 232, 218), (60, 90, 160), (60, 140, 90), (200, 50, 60), (20, 30, 25)


def walker(t: float) -> np.ndarray:
    """A body on two legs in shoes alike, that walks; uint8."""
    board = np.zeros((SIZE[1] * OVER, SIZE[0] * OVER, 3), np.uint8)
    board[:] = GROUND
    x = 50 + 50 * t

    def fill(points: np.ndarray, paint: tuple[int, int, int]) -> None:
        where = np.rint(points * OVER * 16).astype(np.int32)[None]
        cv2.fillPoly(board, where, paint, shift=4)
        cv2.polylines(board, where, True, INK, round(1.5 * OVER), shift=4)

    for side in (-1, 1):
        a = math.radians(side * (20 - 30 * t))
        along, across = np.array([math.sin(a), math.cos(a)]), np.array([math.cos(a), -math.sin(a)])
        hip = np.array([x + 16 * side, 58.0])
        shoe = hip + 34 * along
        fill(np.array([hip - 5 * across, hip + 5 * across, shoe + 5 * across, shoe - 5 * across]), GREEN)
        toe = 12 * across
        fill(np.array([shoe - 6 * across, shoe + toe, shoe + toe + 8 * along, shoe - 6 * across + 8 * along]), RED)
    fill(np.array([(x - 23, 20), (x + 23, 20), (x + 23, 62), (x - 23, 62)], float), BLUE)
    return cv2.resize(board, SIZE, interpolation=cv2.INTER_AREA)


Stage = tuple[Graph, Graph, Matching, tuple[int, int]]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Two keys matched rightly, and the labels of the shoes in the first, the left one first."""
    first, last = (graph_of(cel) for cel in cut_up([walker(0), walker(1)], 4))
    with monkeypatch.context() as without:
        without.setattr(growth, "exchange", lambda *_: None)
        found = growth.match(first, last, still(first, last))
    shoes = [r for r in first.regions if np.abs(r.paint[:3] - RED).max() < 8]
    left, right = (r.label for r in sorted(shoes, key=lambda r: r.centre[0]))
    assert last.regions[found.matches[left].last].centre[0] < last.regions[found.matches[right].last].centre[0]
    return first, last, found, (left, right)


def still(first: Graph, last: Graph) -> tuple[set[int], set[int]]:
    before, after = ({r.label for r in side.regions if r.rim > 0.5} for side in (first, last))
    return before, after


def exchanged(first: Graph, last: Graph, found: Matching, left: int, right: int) -> None:
    """Match each shoe to where the other was matched to, as outlines alike allow."""
    a, b = found.matches[left], found.matches[right]
    for one, old, other in ((left, a, b), (right, b, a)):
        move = last.regions[other.last].centre - first.regions[one].centre
        motion = np.array([(1, 0, move[0]), (0, 1, move[1]), (0, 0, 1)], float)
        found.matches[one] = Match(one, other.last, motion, old.quality)


def exchange(first: Graph, last: Graph, found: Matching, sure: set[int] | None = None) -> dict[int, int]:
    module.exchange(first, last, found, Known(), Order({}), set(), sure or set())
    return {a: item.last for a, item in found.matches.items()}


def test_shoes_exchanged_go_back_to_the_legs_that_they_are_on(stage: Stage) -> None:
    first, last, found, shoes = stage
    right = {a: item.last for a, item in found.matches.items()}
    exchanged(first, last, found, *shoes)
    assert exchange(first, last, found) == right


def test_a_figure_that_grew_wrongly_is_put_right(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last, found, shoes = stage
    right = {a: item.last for a, item in found.matches.items()}
    grow = growth._grow

    def astray(one: Graph, two: Graph, grown: Matching, *rest: Any) -> None:
        grow(one, two, grown, *rest)
        exchanged(one, two, grown, *shoes)

    monkeypatch.setattr(growth, "_grow", astray)
    again = growth.match(first, last, still(first, last))
    assert {a: item.last for a, item in again.matches.items()} == right


def test_what_is_matched_well_or_is_sure_stays(stage: Stage) -> None:
    first, last, found, shoes = stage
    right = {a: item.last for a, item in found.matches.items()}
    assert exchange(first, last, found) == right
    exchanged(first, last, found, *shoes)
    wrong = {a: item.last for a, item in found.matches.items()}
    assert wrong != right and exchange(first, last, found, set(shoes)) == wrong


def test_a_shoe_alone_in_doubt_goes_to_an_open_one(stage: Stage) -> None:
    first, last, found, shoes = stage
    right = {a: item.last for a, item in found.matches.items()}
    exchanged(first, last, found, *shoes)
    del found.matches[shoes[1]]
    open_last = {right[shoes[0]]}
    module.exchange(first, last, found, Known(), Order({}), open_last, set())
    assert found.matches[shoes[0]].last == right[shoes[0]] and open_last == {right[shoes[1]]}


def test_matches_whose_outlines_agree_better_are_not_given_up(stage: Stage) -> None:
    first, last, found, shoes = stage
    exchanged(first, last, found, *shoes)
    wrong = {a: item.last for a, item in found.matches.items()}
    found.matches[shoes[0]].quality += 0.1
    assert exchange(first, last, found) == wrong
