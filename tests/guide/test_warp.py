"""Pictures moved by parts of a pixel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nakawari.guide.warp import backward_warp, drawn_along


def right(x: float) -> Tensor:
    return torch.tensor([x, 0.0])[None, :, None, None].expand(1, 2, 9, 9)


def line() -> Tensor:
    picture = torch.full((1, 3, 9, 9), -1.0)
    picture[..., 4] = 1.0
    return picture


def test_whole_pixels_move_exactly() -> None:
    assert torch.allclose(drawn_along(line(), right(2.0)), line().roll(-2, -1), atol=1e-5)


def test_a_line_between_two_pixels_keeps_more_of_its_contrast_than_bilinear() -> None:
    cubic, linear = (read(line(), right(0.5))[0, 0, 4, 3:5] for read in (drawn_along, backward_warp))
    assert torch.allclose(linear, torch.zeros(2), atol=1e-5)
    assert (cubic > 0.15).all()


def test_nothing_leaves_the_range_of_a_picture() -> None:
    noise = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0)).round() * 2 - 1
    drawn = drawn_along(noise, right(0.4))
    assert drawn.min() >= -1 and drawn.max() <= 1


def test_a_picture_is_drawn_the_same_while_it_is_learned() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(2, 3, 12, 20, generator=generator) * 2 - 1
    flow = torch.randn(2, 2, 5, 20, generator=generator) * 6
    flow[..., 0, 0] = 1e4
    drawn = drawn_along(picture, flow, top=4)
    learned = drawn_along(picture, flow.clone().requires_grad_(), top=4)
    assert learned.requires_grad and not drawn.requires_grad
    assert torch.equal(drawn, learned)
    still = drawn_along(picture, torch.zeros(2, 2, 12, 20))
    assert torch.equal(still, picture)


def test_gradients_of_a_drawn_picture_and_its_flow_are_those_of_its_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    picture = (torch.rand(1, 2, 7, 9, generator=generator) - 0.5).requires_grad_()
    flow = (torch.rand(1, 2, 7, 9, generator=generator) * 2 + 0.2).requires_grad_()
    weight = torch.rand(1, 2, 7, 9, generator=generator)
    (drawn_along(picture, flow) * weight).sum().backward()
    for one in (picture, flow):
        assert one.grad is not None
        way = torch.rand(one.shape, generator=generator) - 0.5
        step = 1e-3 * way

        def total(by: torch.Tensor, one: torch.Tensor = one) -> torch.Tensor:
            places = (picture.detach() + by, flow) if one is picture else (picture, flow.detach() + by)
            return (drawn_along(*places).double() * weight).sum()

        slope = (total(step) - total(-step)) / 2e-3
        assert torch.isclose(slope.float(), (one.grad * way).sum(), rtol=2e-2, atol=2e-3)


def test_a_strip_of_a_picture_is_drawn_as_in_the_whole() -> None:
    generator = torch.Generator().manual_seed(2)
    picture = torch.rand(1, 3, 60, 9, generator=generator) * 2 - 1
    flow = torch.randn(1, 2, 60, 9, generator=generator) * 4
    flow[..., 4:8, :] -= 80
    flow[..., 50:55, :] += 80
    whole = drawn_along(picture, flow)
    for top in range(0, 60, 5):
        assert torch.equal(drawn_along(picture, flow[:, :, top : top + 5], top), whole[:, :, top : top + 5])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_motion_that_is_not_finite_is_no_error_of_its_own(value: float) -> None:
    flow = torch.zeros(1, 2, 6, 7)
    flow[0, :, 2, 3] = value
    drawn = drawn_along(torch.rand(1, 3, 6, 7), flow)
    assert drawn.shape == (1, 3, 6, 7)
    assert not drawn[0, :, 2, 3].isfinite().any()
