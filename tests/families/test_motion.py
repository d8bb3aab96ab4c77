"""Warps, splats and the motion guide."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nakawari.families.large_motion import fill_holes
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


def test_the_guide_moves_things_and_keeps_the_keys() -> None:
    start, end = _scene(), _scene(8)
    guide = MotionGuide()(start, end, TIMES)
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


def _far(shift: int, size: tuple[int, int] = (64, 96)) -> Tensor:
    """A small red dotted square on a grey ground with faint waves, (1, 3, H, W)."""
    y, x = torch.meshgrid(torch.arange(float(size[0])), torch.arange(float(size[1])), indexing="ij")
    picture = (0.1 * torch.sin(x * 0.3 + y * 0.4)).expand(3, -1, -1).clone()
    picture[:, 26:38, 20 + shift : 32 + shift] = torch.tensor([0.9, -0.8, -0.8]).view(3, 1, 1)
    picture[:, 30:34, 24 + shift : 28 + shift] = 0.9
    return picture[None]


def test_a_line_that_the_guide_moves_by_half_a_pixel_stays_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    line = torch.full((1, 3, 24, 24), -1.0)
    line[..., 12] = 1.0
    right = torch.tensor([1.0, 0.0])[None, :, None, None].expand(1, 2, 24, 24)
    monkeypatch.setattr(MotionGuide, "_flows", lambda self, start, end: (right, -right))
    drawn = blend(MotionGuide()(line, line.roll(1, -1), torch.tensor([0.5])))
    assert (drawn[..., 4:-4, 12:14] > 0.15).all()  # bilinear reading leaves 0, half of the contrast


def test_search_finds_a_small_thing_that_moved_far() -> None:
    start, end, middle = _far(0), _far(20), _far(10)
    plain, searched = (blend(MotionGuide(search=on)(start, end, torch.tensor([0.5])))[:, 0] for on in (False, True))
    assert _error(searched, middle) < 0.5 * _error(plain, middle)


def test_search_keeps_the_keys_and_is_deterministic() -> None:
    start, end = torch.cat([_far(0), _scene()]), torch.cat([_far(12), _scene(8)])
    guide = MotionGuide(search=True)
    once = guide(start, end, TIMES)
    assert torch.equal(once, guide(start, end, TIMES))
    assert torch.equal(blend(once)[:, 0], start)
    assert torch.equal(blend(once)[:, -1], end)
    assert torch.allclose(once[1:], guide(start[1:], end[1:], TIMES), atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (50, 33)])
def test_search_takes_any_size(size: tuple[int, int]) -> None:
    keys = torch.rand(2, 1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    guide = MotionGuide(search=True)(keys[0], keys[1], torch.tensor([0.3]))
    assert guide.shape == (1, 1, GUIDE_CHANNELS, *size)
    assert torch.isfinite(guide).all()


def test_holes_take_the_motion_around_them() -> None:
    motion = torch.full((1, 2, 24, 24), 5.0)
    motion[:, :, 8:16, 8:16] = -30
    cover = torch.ones(1, 1, 24, 24)
    cover[:, :, 8:16, 8:16] = 0
    assert torch.allclose(fill_holes(motion, cover), torch.full_like(motion, 5.0), atol=0.05)


def test_saved_and_loaded(tmp_path: str) -> None:
    model = MotionGuide(search=True, trust=True)
    model.save_pretrained(tmp_path)
    loaded = MotionGuide.from_pretrained(tmp_path)
    assert not loaded.training
    assert torch.equal(loaded(_scene(), _scene(8), TIMES), model(_scene(), _scene(8), TIMES))


def test_trust_is_high_where_the_flow_explains_and_low_where_it_cannot() -> None:
    start, end = _scene(), _scene(8)
    plain, guide = (MotionGuide(trust=on)(start, end, TIMES) for on in (False, True))
    assert torch.equal(guide[:, :, :9], plain)
    assert guide.shape[2] == 11
    assert (guide[:, (0, -1), 9:] == 1).all()
    unrelated = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(5)) * 2 - 1
    assert guide[:, 2, 9:].mean() > 2 * MotionGuide(trust=True)(start, unrelated, TIMES)[:, 2, 9:].mean()


@pytest.mark.parametrize("trust", [False, True])
def test_a_guide_without_motion_has_the_same_channels(trust: bool) -> None:
    guide = MotionGuide(trust=trust)
    start, end = _scene(), _scene(8)
    silent = guide.still(start, end, TIMES)
    assert silent.shape == guide(start, end, TIMES).shape
    assert torch.equal(silent[:, :, :9], still(start, end, TIMES))
    assert not silent[:, :, 9:].any()


def test_motion_is_that_from_key_to_key_seen_at_each_time() -> None:
    start, end = _scene(), _scene(8)
    plain, guide = MotionGuide(trust=True)(start, end, TIMES), MotionGuide(trust=True, motion=True)(start, end, TIMES)
    assert torch.equal(guide[:, :, :11], plain) and guide.shape[2] == 13
    assert not guide[:, (0, -1), 11:].any()
    inside = guide[0, 2, 11:, 28:36, 30:42].mean((1, 2)) * 16
    assert torch.allclose(inside, torch.tensor([8.0, 0.0]), atol=0.7)
    assert not MotionGuide(trust=True, motion=True).still(start, end, TIMES)[:, :, 9:].any()
    with pytest.raises(ValueError, match="set trust"):
        MotionGuide(motion=True)
