"""A doubtful drawing by parts is replaced by that of a model with a motion guide if the model is clearly surer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from crossfade import CrossFade
from nakawari.interpolation import Key, Settings, draw, rivals
from nakawari.variants import load
from test_by_region import LIP, oval, picture, wrong

Frame = NDArray[np.uint8]


BALLS = (((38, 46), (-4, 8)), ((127, 83), (-2, -6)), ((26, 36), (6, 7)))
"""Where each is at first, and by how much it moves."""


def balls(t: float) -> Frame:
    """Three equal balls, of which the parts exchange two: the first ends nearer to where the third was."""
    return picture(*((oval(x + dx * t, y + dy * t, 3.6, 4.6), LIP) for (x, y), (dx, dy) in BALLS), line=0)


def keys() -> list[Key]:
    return [Key(Path("a.png"), balls(0)), Key(Path("b.png"), balls(1))]


class Guided(CrossFade):
    """A stub with a motion guide."""

    guide = SimpleNamespace()


def test_balls_that_the_parts_exchange_are_drawn_by_the_model_in_the_whole_gap():
    pipeline = load("mini").pipeline
    seen: list[tuple[int, int]] = []
    drawn = draw(keys(), Settings((3,)), pipeline, lambda *counts: seen.append(counts))
    assert drawn.used[0]["drawn_by"] == "model"
    assert drawn.used[0]["steps"] == 1 and not drawn.used[0]["cut"]
    alone = draw(keys(), Settings((3,), parts=False), pipeline)
    assert all((one == two).all() for one, two in zip(drawn.frames, alone.frames, strict=True))
    assert wrong(drawn.frames[2], balls(0.5)) < 30
    assert seen[-1] == (3, 3)


def test_a_model_that_is_no_surer_does_not_replace_the_parts():
    model = Guided(noise=0.5)
    drawn = draw(keys(), Settings((1,)), model)
    assert len(model.calls) == 1
    assert drawn.used[0]["drawn_by"] == "parts"


def test_a_model_without_a_motion_guide_is_not_asked():
    model = CrossFade()
    assert draw(keys(), Settings((1,)), model).used[0]["drawn_by"] == "parts"
    assert not model.calls


def test_a_sure_drawing_by_parts_is_kept_without_asking_the_model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rivals, "SURE", 0.0)
    model = Guided()
    draw(keys(), Settings((1,)), model)
    assert not model.calls


def test_where_flow_fails_the_model_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    def square(left: int) -> Frame:
        board = np.full((64, 96, 3), (140, 198, 238), np.uint8)
        board[20:44, left : left + 24] = (220, 50, 60)
        return board

    monkeypatch.setattr(rivals, "SURE", 1.0)
    model = Guided()
    drawn = draw([Key(Path("a.png"), square(8)), Key(Path("b.png"), square(60))], Settings((1,)), model)
    assert drawn.used[0]["drawn_by"] == "parts"
    assert not model.calls
