"""Warps, splats and the motion guide."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nakawari.families.motion import MotionGuide, dis_flow
from nakawari.families.warp import backward_warp, forward_splat
from nakawari.guide import GUIDE_CHANNELS, blend, still, warped

TIMES = torch.linspace(0, 1, 5)


def _scene(shift: int = 0) -> Tensor:
    """A textured square before a smooth ground, `shift` pixels to the right, (1, 3, 64, 96) in [-1, 1]."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    ground = torch.stack([y / 64, x / 96, (x + y) / 160])
    texture = torch.stack([torch.sin(x * 0.7), torch.cos(y * 0.6), torch.sin((x - y) * 0.4)])
    picture = ground.clone()
    picture[:, 20:44, 20 + shift : 44 + shift] = texture[:, 20:44, 20:44]
    return picture[None] * 1.6 - 0.8


def _error(frame: Tensor, truth: Tensor) -> float:
    return float((frame - truth).detach().square().mean())


def test_backward_warp_reads_where_the_flow_points() -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    right = torch.zeros(1, 2, 3, 4)
    right[:, 0] = 1
    assert torch.allclose(backward_warp(image, right)[..., :3], image[..., 1:], atol=1e-5)
    assert torch.allclose(backward_warp(image, torch.zeros(1, 2, 3, 4)), image, atol=1e-5)


def test_forward_splat_moves_values_and_conserves_weight() -> None:
    values = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(2, 2, 5, 6)
    flow[:, 0], flow[:, 1] = 1, -1
    total, weight = forward_splat(values, flow, torch.ones(2, 1, 5, 6))
    assert torch.allclose(total[:, :, :4, 1:], values[:, :, 1:, :5])
    assert weight.sum() == 2 * 4 * 5
    half = forward_splat(values, flow * 0.5, torch.ones(2, 1, 5, 6))[1]
    assert torch.allclose(half[:, :, 1:-1, 1:-1], torch.ones(2, 1, 3, 4))


def test_dis_finds_a_shift() -> None:
    flow = dis_flow(_scene(), _scene(6))
    inside = flow[0, :, 26:38, 26:38]
    assert abs(float(inside[0].mean()) - 6) < 0.7
    assert float(inside[1].abs().mean()) < 0.5


@pytest.mark.parametrize("channels", [(), (8, 8)], ids=["plain", "refined"])
def test_the_guide_moves_things_and_keeps_the_keys(channels: tuple[int, ...]) -> None:
    start, end = _scene(), _scene(8)
    guide = MotionGuide(refine_channels=channels)(start, end, TIMES)
    assert guide.shape == (1, 5, GUIDE_CHANNELS, 64, 96)
    frames = blend(guide)
    assert torch.equal(frames[:, 0], start)
    assert torch.equal(frames[:, -1], end)
    faded = blend(still(start, end, TIMES))
    for index, shift in ((1, 2), (2, 4), (3, 6)):
        assert _error(frames[:, index], _scene(shift)) < 0.4 * _error(faded[:, index], _scene(shift))
    assert torch.equal(guide[0, :, 8, 0, 0], TIMES)


def test_samples_do_not_depend_on_the_batch() -> None:
    start, end = torch.cat([_scene(), _scene(3)]), torch.cat([_scene(8), _scene(5)])
    together = MotionGuide()(start, end, TIMES)
    alone = torch.cat([MotionGuide()(start[i : i + 1], end[i : i + 1], TIMES) for i in (0, 1)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_still_is_a_cross_fade() -> None:
    start, end = _scene(), _scene(8)
    guide = still(start, end, TIMES)
    expected = torch.lerp(start[:, None], end[:, None], TIMES.view(1, -1, 1, 1, 1))
    assert torch.allclose(blend(guide), expected, atol=1e-6)
    assert not guide[:, :, 6:8].any()


def test_blend_follows_visibility() -> None:
    guide = still(torch.full((1, 3, 4, 4), -1.0), torch.full((1, 3, 4, 4), 1.0), torch.tensor([0.5]))
    guide[:, :, 6] = 1
    assert torch.equal(blend(guide), warped(guide)[0])
    guide[:, :, 7] = 1
    assert torch.allclose(blend(guide), torch.zeros(1, 1, 3, 4, 4))


def test_tiny_images_have_no_flow() -> None:
    start, end = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    assert torch.allclose(blend(MotionGuide()(start, end, torch.tensor([0.25]))), torch.full((1, 1, 3, 8, 8), 0.25))


def test_the_refiner_learns_through_the_blend() -> None:
    model = MotionGuide(refine_channels=(8, 8))
    blend(model(_scene(), _scene(8), torch.tensor([0.5]))).square().mean().backward()
    assert model.refiner.head.weight.grad.abs().max() > 0


@pytest.mark.parametrize("channels", [(), (8, 8)], ids=["plain", "refined"])
def test_saved_and_loaded(channels: tuple[int, ...], tmp_path: str) -> None:
    model = MotionGuide(refine_channels=channels)
    if model.refiner:
        torch.nn.init.normal_(model.refiner.head.weight, std=0.01)
    model.save_pretrained(tmp_path)
    loaded = MotionGuide.from_pretrained(tmp_path)
    assert torch.equal(loaded(_scene(), _scene(8), TIMES), model(_scene(), _scene(8), TIMES))
