"""A transparent cel and a drawing with an opaque background: the figure moves, the background fades in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from crossfade import CrossFade
from nakawari.interpolation import Key, Settings, draw
from nakawari.interpolation.one_ground import before_one_ground

SKY, GRASS, SHIRT, SKIN, INK = (140, 198, 238), (96, 160, 80), (220, 50, 60), (255, 210, 170), (20, 18, 24)


def cel(left: int) -> NDArray[np.uint8]:
    """A body and a head with outlines, (120, 200, 4), drawn at four times the size and downscaled."""
    board = np.zeros((480, 800, 4), np.uint8)
    for colour, grown in ((INK, 6), (SHIRT, 0)):
        cv2.rectangle(board, (4 * left - grown, 200 - grown), (4 * left + 120 + grown, 400 + grown), (*colour, 255), -1)
    cv2.circle(board, (4 * left + 60, 150), 56, (*INK, 255), -1)
    cv2.circle(board, (4 * left + 60, 150), 50, (*SKIN, 255), -1)
    matte = cv2.resize(board[..., 3].astype(np.float32), (200, 120), interpolation=cv2.INTER_AREA)
    colour = cv2.resize(board[..., :3] * (board[..., 3:] / 255.0), (200, 120), interpolation=cv2.INTER_AREA)
    colour /= np.maximum(matte[..., None] / 255, 1e-6)
    return np.rint(np.dstack([colour, matte])).astype(np.uint8)


def on_ground(figure: NDArray[np.uint8]) -> NDArray[np.uint8]:
    board = np.full((120, 200, 3), SKY, np.float64)
    board[104:] = GRASS
    matte = figure[..., 3:] / 255
    colour = np.rint(figure[..., :3] * matte + board * (1 - matte))
    return np.dstack([colour, np.full((120, 200), 255)]).astype(np.uint8)


@pytest.mark.parametrize("backwards", [False, True])
def test_the_figure_is_drawn_once_and_whole_and_the_ground_comes_in(backwards: bool) -> None:
    pair = cel(40), on_ground(cel(80))
    share = 0.25
    found = before_one_ground(pair[::-1] if backwards else pair, [1 - share if backwards else share])
    assert found is not None
    frame, true = found[0], cel(50)
    solid = true[..., 3] == 255
    assert (np.abs(frame[solid].astype(int) - true[solid]).max(axis=1) <= 24).mean() > 0.97
    empty = cv2.dilate(true[..., 3], np.ones((5, 5), np.uint8)) == 0
    ground = on_ground(np.zeros_like(true))
    assert np.abs(frame[empty][:, :3].astype(int) - ground[empty][:, :3]).max() <= 2
    assert np.abs(frame[empty][:, 3].astype(int) - 64).max() <= 1


def test_the_command_draws_it_so(tmp_path: Path) -> None:
    keys = [Key(tmp_path / f"{number}.png", pixels) for number, pixels in enumerate((cel(40), on_ground(cel(80))))]
    drawn = draw(keys, Settings((1,)), CrossFade())
    assert drawn.used[0]["drawn_by"] == "parts"
    frame = drawn.frames[1]
    red = np.abs(frame[..., :3].astype(int) - SHIRT).max(axis=2) <= 8
    assert abs(int((red & (frame[..., 3] == 255)).sum()) - 30 * 50) < 60


def test_two_cels_two_grounds_and_a_painted_ground_are_none_of_it() -> None:
    painted = on_ground(cel(80))
    painted[..., :3] = np.random.default_rng(0).integers(0, 255, painted[..., :3].shape)
    for pair in ((cel(40), cel(80)), (on_ground(cel(40)), on_ground(cel(80))), (cel(40), painted)):
        assert before_one_ground(pair, [0.5]) is None
