"""Figures that an animator draws anew in each key: outlines differ by a pixel or two."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from nakawari.guide.parts import draw, drawing, refine
from nakawari.guide.parts.bend import Bend
from nakawari.guide.parts.contours import mapped, rotation, shifted

SIZE, OVER = (240, 150), 8
GROUND, BLUE, RED, INK = (238, 232, 218), (60, 90, 160), (200, 50, 60), (20, 30, 25)


def outline(half: tuple[float, float], waves: float, seed: int) -> np.ndarray:
    """A block (N, 2) about the origin with round corners whose border waves smoothly, otherwise for each seed."""
    turn = np.linspace(0, 2 * math.pi, 90, endpoint=False)
    rng = np.random.default_rng(seed)
    off = sum(rng.uniform(-1, 1) * np.cos(n * turn + rng.uniform(0, 6)) for n in (2, 3, 4))
    way = np.stack([np.cos(turn), np.sin(turn)], 1)
    return np.sign(way) * np.abs(way) ** 0.5 * half + waves * np.asarray(off)[:, None] * way


def figure(t: float, waves: float, longer: float = 0.0) -> np.ndarray:
    """A body with a turning arm at a time, its shapes half-way between those of the keys; uint8. The arm starts some
    pixels farther out in the last key."""
    board = np.full((SIZE[1] * OVER, SIZE[0] * OVER, 3), GROUND, np.uint8)
    body = 70 + 90 * t, 75.0
    shoulder = body[0] + 4, 62.0
    parts = (
        ((34.0, 26.0), body, 0.0, (0.0, 0.0), BLUE, 1),
        ((20.0, 7.0), shoulder, 0.5 - 0.9 * t, (16.0 + longer * t, 0.0), RED, 5),
    )
    for half, at, turn, off, paint, seed in parts:
        both = [outline(half, waves, seed + key) for key in (0, 1)]
        points = (1 - t) * both[0] + t * both[1] + off
        points = points @ rotation(turn, np.zeros(2))[:2, :2].T + at
        where = np.rint(points * OVER * 16).astype(np.int32)[None]
        cv2.fillPoly(board, where, paint, shift=4)
        cv2.polylines(board, where, True, INK, round(1.6 * OVER), shift=4)
    return cv2.resize(board, SIZE, interpolation=cv2.INTER_AREA)


def wrong(waves: float) -> int:
    """Pixels of the middle that are off by more than 24 levels."""
    made = draw(figure(0, waves), figure(1, waves), (0.5,))
    assert made is not None
    away = np.abs(made.frames[0].astype(int) - figure(0.5, waves)).max(2)
    return int((away > 24).sum())


def test_a_figure_drawn_anew_in_each_key_is_drawn_half_way_between_its_shapes() -> None:
    assert wrong(0.8) < 60


def test_a_figure_that_only_moves_is_not_bent() -> None:
    made = draw(figure(0, 0), figure(1, 0), (0.5,))
    assert made is not None and all(part.redrawn is None for part in made.stage.parts)


@pytest.mark.parametrize("turn", [0.0, 0.6])
def test_what_a_bend_carries_to_the_last_key_it_carries_back(turn: float) -> None:
    border = outline((30, 20), 0, 0)
    bend = Bend(border, np.stack([np.sin(border[:, 1] / 10), np.cos(border[:, 0] / 15)], 1))
    motion = shifted(np.array([30.0, 4.0])) @ rotation(turn, np.zeros(2))
    points = np.stack(np.meshgrid(np.linspace(-35, 35, 8), np.linspace(-25, 25, 6)), 2).reshape(-1, 2)
    assert np.abs(bend.carried_back(motion, bend.carried(motion, points)) - points).max() < 0.15


def test_what_is_drawn_anew_need_not_explain_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "explained", lambda stage: 0.75)
    assert draw(figure(0, 0.8), figure(1, 0.8), (0.5,)) is not None
    assert draw(figure(0, 0), figure(1, 0), (0.5,)) is None


def off_joint() -> float:
    """Pixels by which the arm leaves its shoulder between the keys."""
    made = draw(figure(0, 0.6, 3), figure(1, 0.6, 3), (0.5,))
    assert made is not None
    arm = next(part for part in made.stage.parts if part.parent >= 0)
    return float(np.linalg.norm(mapped(arm.motion, np.array([(74.0, 62.0)])) - (164, 62)))


def test_joints_count_more_beside_outlines_that_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    loose = refine.NOISE
    now = off_joint()
    monkeypatch.setattr(refine, "UNSURE", loose)
    assert now < off_joint() - 0.03
