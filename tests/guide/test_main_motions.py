"""Motions up to the edges of things."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nakawari.guide.flow import sought
from nakawari.guide.layers import _scanned, settled
from nakawari.guide.warp import length

WALK = 20
HEIGHT, WIDTH = 96, 160
TOP, LEFT, TALL, BROAD = 30, 60, 36, 20


def _noise(seed: int, height: int, width: int) -> Tensor:
    """Smooth random colours, (3, height, width) in [-1, 1]."""
    rough = torch.rand(1, 3, height // 4 + 2, width // 4 + 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(rough, (height, width), mode="bicubic")[0].clamp(-1, 1)


def _picture(walked: int, size: int = 1) -> Tensor:
    """A figure that walks over a ground that stays: (1, 3, 96, 160), `size` times as large."""
    ground = _noise(1, HEIGHT, WIDTH)
    ground[:, TOP : TOP + TALL, LEFT + walked : LEFT + walked + BROAD] = _noise(2, TALL, BROAD)
    return ground.repeat_interleave(size, 1).repeat_interleave(size, 2)[None]


def _right_beside_the_figure(flow: Tensor, size: int = 1) -> float:
    """The share of the figure and of six pixels of ground behind it and above whose flow is right within a pixel."""
    truth = torch.zeros(1, 2, HEIGHT, WIDTH)
    truth[:, 0, TOP : TOP + TALL, LEFT : LEFT + BROAD] = WALK
    truth = size * truth.repeat_interleave(size, 2).repeat_interleave(size, 3)
    right = length(flow - truth) < size
    return float(
        right[..., (TOP - 6) * size : (TOP + TALL) * size, (LEFT - 6) * size : (LEFT + BROAD) * size].float().mean()
    )


@pytest.mark.parametrize("size", [1, 3])
def test_the_motion_of_a_figure_ends_at_its_edge(size: int) -> None:
    start, end = _picture(0, size), _picture(WALK, size)
    flows = sought(start, end)
    assert _right_beside_the_figure(flows[0], size) < 0.9
    assert _right_beside_the_figure(settled(start, end, flows)[0], size) > 0.94


def test_clips_are_settled_one_by_one() -> None:
    start = torch.cat([_picture(0), _picture(0)])
    end = torch.cat([_picture(WALK), _picture(0)])
    flows = sought(start, end)
    both = settled(start, end, flows)
    for clip in (0, 1):
        one = slice(clip, clip + 1)
        alone = settled(start[one], end[one], (flows[0][one], flows[1][one]))
        assert all(torch.equal(way[one], own) for way, own in zip(both, alone, strict=True))
    assert torch.equal(both[0][1], flows[0][1])  # one motion alone: nothing to choose


def test_the_flow_of_a_fade_is_kept() -> None:
    """No colours match, so that none says which motion is right."""
    start, end = _picture(0), _picture(WALK) * 0.3 - 0.7
    flows = sought(start, end)
    assert settled(start, end, flows) is not flows
    assert all(torch.equal(new, old) for new, old in zip(settled(start, end, flows), flows, strict=True))


def test_small_pictures_keep_their_flow() -> None:
    small = torch.zeros(1, 3, 32, 64)
    flows = torch.zeros(1, 2, 32, 64), torch.ones(1, 2, 32, 64)
    assert settled(small, small, flows) is flows


def test_a_pixel_that_is_sure_of_nothing_takes_the_motion_around_it_up_to_an_edge() -> None:
    costs = np.zeros((6, 2, 1, 1), np.float32)  # six pixels in a row, two motions
    costs[0, 1], costs[5, 0] = 9, 9  # the ends are sure
    colours = np.zeros((6, 3, 1, 1), np.float32)
    colours[2:] = 1  # an edge between the second and the third
    assert _scanned(costs, colours)[:, :, 0, 0].argmin(axis=1).tolist() == [0, 0, 1, 1, 1, 1]
