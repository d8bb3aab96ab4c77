"""Warps, splats and the motion guide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nakawari.errors import NakawariError
from nakawari.guide import Guide, motion, still
from nakawari.guide.flow import dis_flow, splat_to
from nakawari.guide.motion import MotionGuide
from nakawari.guide.search import fill_holes
from nakawari.guide.warp import backward_warp, forward_splat

TIMES = torch.linspace(0, 1, 5)


def _scene(shift: int = 0) -> Tensor:
    """A textured square on a smooth background, `shift` pixels to the right, (1, 3, 64, 96) in [-1, 1]."""
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
    assert guide.stacked().shape == (1, 5, 13, 64, 96)
    frames = guide.blend()
    assert torch.equal(frames[:, 0], start)
    assert torch.equal(frames[:, -1], end)
    faded = still(start, end, TIMES).blend()
    for index, shift in ((1, 2), (2, 4), (3, 6)):
        assert _error(frames[:, index], _scene(shift)) < 0.4 * _error(faded[:, index], _scene(shift))
    assert torch.equal(guide.time[0], TIMES)


def test_samples_do_not_depend_on_the_batch() -> None:
    start, end = torch.cat([_scene(), _scene(3)]), torch.cat([_scene(8), _scene(5)])
    together = MotionGuide()(start, end, TIMES).stacked()
    alone = Guide.cat([MotionGuide()(start[i : i + 1], end[i : i + 1], TIMES) for i in (0, 1)]).stacked()
    assert torch.allclose(together, alone, atol=1e-5)


def test_still_is_a_cross_fade() -> None:
    start, end = _scene(), _scene(8)
    guide = still(start, end, TIMES)
    expected = torch.lerp(start[:, None], end[:, None], TIMES.view(1, -1, 1, 1, 1))
    assert torch.allclose(guide.blend(), expected, atol=1e-6)
    assert not guide.guided.any() and not guide.trust.any() and not guide.motion.any()


def test_tiny_images_have_no_flow() -> None:
    start, end = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    assert torch.allclose(MotionGuide()(start, end, torch.tensor([0.25])).blend(), torch.full((1, 1, 3, 8, 8), 0.25))


def _far(shift: int, size: tuple[int, int] = (64, 96)) -> Tensor:
    """A small red dotted square on a grey background with faint waves, (1, 3, H, W)."""
    y, x = torch.meshgrid(torch.arange(float(size[0])), torch.arange(float(size[1])), indexing="ij")
    picture = (0.1 * torch.sin(x * 0.3 + y * 0.4)).expand(3, -1, -1).clone()
    picture[:, 26:38, 20 + shift : 32 + shift] = torch.tensor([0.9, -0.8, -0.8]).view(3, 1, 1)
    picture[:, 30:34, 24 + shift : 28 + shift] = 0.9
    return picture[None]


def test_a_line_that_the_guide_moves_by_half_a_pixel_stays_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    line = torch.full((1, 3, 24, 24), -1.0)
    line[..., 12] = 1.0
    right = torch.tensor([1.0, 0.0])[None, :, None, None].expand(1, 2, 24, 24)
    monkeypatch.setattr(motion, "_flows", lambda start, end: (right, -right))
    drawn = MotionGuide()(line, line.roll(1, -1), torch.tensor([0.5])).blend()
    assert (drawn[..., 4:-4, 12:14] > 0.15).all()  # bilinear reading leaves 0, half of the contrast


def test_what_a_pan_takes_out_of_one_key_comes_from_the_other() -> None:
    noise = torch.rand(1, 3, 20, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    wide = torch.nn.functional.interpolate(noise, (80, 160), mode="bicubic").clamp(-1, 1)
    start, truth, end = (wide[..., shift : shift + 128] for shift in (0, 10, 20))
    middle = MotionGuide()(start, end, torch.tensor([0, 0.5, 1])).blend()[:, 1]
    for border in (middle[..., :8] - truth[..., :8], middle[..., -8:] - truth[..., -8:]):
        assert border.abs().mean() < 0.05


def test_search_finds_a_small_thing_that_moved_far() -> None:
    start, end, middle = _far(0), _far(20), _far(10)
    moved = splat_to(start, end, (dis_flow(start, end), dis_flow(end, start)), 0.5)
    plain = (backward_warp(start, -0.5 * moved) + backward_warp(end, 0.5 * moved)) / 2
    searched = MotionGuide()(start, end, torch.tensor([0.5])).blend()[:, 0]
    assert _error(searched, middle) < 0.5 * _error(plain, middle)


def test_bars_that_move_less_than_their_distance_are_not_taken_for_their_neighbours() -> None:
    start, middle, end = (_bars(place) for place in (2, 0, -2))
    drawn = MotionGuide()(start, end, torch.tensor([0.5])).blend()[:, 0]
    assert (drawn - middle).abs()[..., 8:-8].mean() < 0.01


def _bars(place: int) -> Tensor:
    """Ten bars, 12 pixels from one to the next, that hang on a slope: (1, 3, 160, 256)."""
    picture = torch.full((3, 160, 256), -0.4)
    for bar in range(10):
        left = 30 + 12 * bar + place
        picture[:, 110 - 8 * bar : 150, left : left + 4] = 0.5
        picture[0, 100 - 8 * bar : 110 - 8 * bar, left - 4 : left + 8] = 0.9
    return picture[None]


def test_search_keeps_the_keys_and_is_deterministic() -> None:
    start, end = torch.cat([_far(0), _scene()]), torch.cat([_far(12), _scene(8)])
    guide = MotionGuide()
    once = guide(start, end, TIMES)
    assert torch.equal(once.stacked(), guide(start, end, TIMES).stacked())
    assert torch.equal(once.blend()[:, 0], start)
    assert torch.equal(once.blend()[:, -1], end)
    assert torch.allclose(once[1:].stacked(), guide(start[1:], end[1:], TIMES).stacked(), atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (50, 33)])
def test_search_takes_any_size(size: tuple[int, int]) -> None:
    keys = torch.rand(2, 1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    guide = MotionGuide()(keys[0], keys[1], torch.tensor([0.3])).stacked()
    assert guide.shape == (1, 1, 13, *size)
    assert torch.isfinite(guide).all()


def test_holes_take_the_motion_around_them() -> None:
    motion = torch.full((1, 2, 24, 24), 5.0)
    motion[:, :, 8:16, 8:16] = -30
    cover = torch.ones(1, 1, 24, 24)
    cover[:, :, 8:16, 8:16] = 0
    assert torch.allclose(fill_holes(motion, cover), torch.full_like(motion, 5.0), atol=0.05)


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = MotionGuide()
    model.save_pretrained(tmp_path)
    loaded = MotionGuide.from_pretrained(tmp_path)
    assert not loaded.training
    assert torch.equal(loaded(_scene(), _scene(8), TIMES).stacked(), model(_scene(), _scene(8), TIMES).stacked())


def test_a_guide_that_an_earlier_revision_saved_is_read_or_refused(tmp_path: Path) -> None:
    saved = {"finest_scale": 0, "min_size": 16, "search": True, "trust": True, "motion": True}
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "MotionGuide", **saved}))
    MotionGuide.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "MotionGuide", **saved, "motion": False}))
    with pytest.raises(NakawariError, match="motion False"):
        MotionGuide.from_pretrained(tmp_path)


def test_trust_is_high_where_the_flow_explains_and_low_where_it_cannot() -> None:
    start, end = _scene(), _scene(8)
    guide = MotionGuide()(start, end, TIMES)
    assert (guide.trust[:, (0, -1)] == 1).all()
    unrelated = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(5)) * 2 - 1
    assert guide.trust[:, 2].mean() > 2 * MotionGuide()(start, unrelated, TIMES).trust[:, 2].mean()


def test_motion_is_that_from_key_to_key_seen_at_each_time() -> None:
    guide = MotionGuide()(_scene(), _scene(8), TIMES)
    assert not guide.motion[:, (0, -1)].any()
    inside = guide.motion[0, 2, :, 28:36, 30:42].mean((1, 2)) * 16
    assert torch.allclose(inside, torch.tensor([8.0, 0.0]), atol=0.7)


def test_stacked_channels_are_where_the_weights_expect_them() -> None:
    guide = MotionGuide()(_scene(), _scene(8), TIMES)
    stacked = guide.stacked()
    assert torch.equal(stacked[:, :, 0:3], guide.start) and torch.equal(stacked[:, :, 3:6], guide.end)
    assert (stacked[:, :, 6:8] == 1).all() and torch.equal(stacked[0, :, 8, 5, 5], TIMES)
    assert torch.equal(stacked[:, :, 9:11], guide.trust) and torch.equal(stacked[:, :, 11:13], guide.motion)
    again = Guide.from_stacked(stacked)
    assert all(
        torch.equal(one, other) for one, other in zip(again.tensors().values(), guide.tensors().values(), strict=True)
    )
    assert not still(_scene(), _scene(8), TIMES).stacked()[:, :, 6:8].any()
