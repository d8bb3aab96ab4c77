"""The order in which motions cover each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nakawari.guide import flow
from nakawari.guide.depth import Order, depth_order
from nakawari.guide.flow import sought, surfaces
from nakawari.guide.motion import MotionGuide

PAN = 24
HEIGHT, WIDTH = 96, 160


def _noise(seed: int, height: int, width: int) -> Tensor:
    """Smooth random colours, (3, height, width) in [-1, 1]."""
    rough = torch.rand(1, 3, height // 4 + 2, width // 4 + 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(rough, (height, width), mode="bicubic")[0].clamp(-1, 1)


def _picture(panned: int) -> Tensor:
    """A figure that stays, 16 pixels wide, before a ground that pans: (1, 3, 96, 160)."""
    ground = _noise(1, HEIGHT, WIDTH + 2 * PAN)[:, :, panned : panned + WIDTH].clone()
    figure = _noise(2, 60, 16) * 0.5 + torch.tensor([0.5, -0.5, -0.5])[:, None, None]
    ground[:, 20:80, 72:88] = figure
    return ground[None]


def _middle(start: Tensor, end: Tensor) -> Tensor:
    return MotionGuide()(start, end, torch.tensor([0.5])).blend()[:, 0]


def _apart(drawn: Tensor, truth: Tensor) -> float:
    return float((drawn - truth)[..., 24:76, 74:86].abs().mean())


def test_a_figure_that_stays_is_in_front_of_the_ground_that_pans_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    start, truth, end = (_picture(panned) for panned in (0, PAN // 2, PAN))
    assert _apart(_middle(start, end), truth) < 0.03
    by_length = lambda start, end, flows: surfaces(start, end, flows, trusted=True)  # noqa: E731
    monkeypatch.setattr("nakawari.guide.motion.ordered_surfaces", by_length)
    assert _apart(_middle(start, end), truth) > 0.1  # the ground goes over it


def test_votes_put_the_figure_above_the_ground() -> None:
    start, end = _picture(0), _picture(PAN)
    both = surfaces(start, end, sought(start, end), trusted=True)
    (order,) = depth_order((both[0].flow, both[1].flow), (both[0].trust, both[1].trust))
    motions = torch.tensor([[0.0, 0.0], [-PAN, 0.0]]).t()[:, :, None]
    figure, ground = order.height(motions)[0, :, 0]
    assert figure > ground + 0.5


def test_each_motion_has_the_height_of_the_nearest_of_the_order() -> None:
    order = Order(torch.tensor([[0.0, 0.0], [10.0, 0.0]]), torch.tensor([1.0, 2.0]))
    motion = torch.tensor([[[1.0, 7.0]], [[2.0, -3.0]]])
    assert order.height(motion).tolist() == [[[1.0, 2.0]]]


def test_pictures_of_few_pixels_have_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "depth_order", None)
    small = torch.zeros(1, 3, 32, 64)
    nowhere = torch.zeros(1, 2, 32, 64)
    assert not flow.ordered_surfaces(small, small, (nowhere, nowhere))[0].ordered
