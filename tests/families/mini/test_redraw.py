"""The motion search of the denoiser: costs of shifts, their means, and the network that uses them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nakawari.families.mini.cells import channels_last, shuffled, unshuffled
from nakawari.families.mini.redraw import GuideRedraw, Keys, MatchCosts, ShiftChoice, shifts_of
from nakawari.families.mini.unet import MiniUNet
from nakawari.families.tooncrafter.widths import weight_axes
from nakawari.guide import still
from nakawari.guide.warp import backward_warp

LEVELS = ((8, 1), (4, 2))
CONFIG = {
    "out_channels": 4,
    "model_channels": 16,
    "channel_mult": (1, 2),
    "num_head_channels": 8,
    "norm_num_groups": 4,
    "guide_hidden": 8,
    "match": LEVELS,
}


def moving(shift: tuple[int, int], size: tuple[int, int] = (48, 64)) -> tuple[Tensor, Tensor]:
    """An image of coloured noise, and the same shifted by `shift` (x, y) pixels."""
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return noise, noise.roll((shift[1], shift[0]), (-2, -1))


def test_it_can_be_built_before_its_weights_are_known() -> None:
    with torch.device("meta"):
        model = MiniUNet(**CONFIG)
    real = MiniUNet(**CONFIG)
    model.load_state_dict(real.state_dict(), assign=True)
    start, end = moving((4, 4))
    guide, sample = still(start, end, torch.tensor([0.0, 0.5, 1.0])), torch.zeros(1, 3, 8, 12, 16)
    with torch.no_grad():
        assert torch.equal(model.eval()(sample, 7.0, guide=guide), real.eval()(sample, 7.0, guide=guide))


@pytest.mark.parametrize("time", [0.25, 0.5, 0.75])
def test_the_true_shift_costs_least_at_every_time(time: float) -> None:
    start, end = moving((8, -4))
    costs = MatchCosts(LEVELS, 4)
    found = costs(still(start, end, torch.tensor([time])))
    assert found.shape == (1, 9 + 25, 12, 16)
    fine = found[0, 9:, 3:-3, 4:-4].mean((1, 2))
    assert shifts_of(LEVELS)[9:][fine.argmin()].tolist() == [8, -4]
    if time == 0.5:  # shifts that a level cannot halve are read between pixels, which noise does not forgive
        assert fine.min() < 0.01


def test_a_coarse_level_sees_a_shift_of_its_unit() -> None:
    start, end = moving((-8, 0))
    costs = MatchCosts([(8, 1)], 4)
    found = costs(still(start, end, torch.tensor([1.0])))[0, :, 3:-3, 4:-4].mean((1, 2))
    assert shifts_of([(8, 1)])[found.argmin()].tolist() == [-8, 0]
    assert found.min() < 1e-5


def test_units_beside_the_stride_are_refused() -> None:
    with pytest.raises(ValueError, match="unit of 3 pixels"):
        MatchCosts([(3, 1)], 4)


@pytest.mark.parametrize("size", [(48, 64), (45, 70)])
def test_costs_are_those_of_pictures_read_between_pixels(size: tuple[int, int]) -> None:
    """Shifts are read from slices; general sampling gives the same costs."""
    start, end = torch.rand(2, 3, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    times = torch.tensor([0.3, 0.5, 0.8])
    found = MatchCosts(LEVELS, 4).between(start, end, times[:, None, None])
    low, high = (slice(None), slice(0, 9)), (slice(None), slice(9, None))
    for place, (unit, reach) in zip((low, high), LEVELS, strict=True):
        first, last = (functional.avg_pool2d(key, unit, ceil_mode=True) for key in (start, end))
        costs = []
        for shift in shifts_of([(1, reach)]):
            way = torch.zeros_like(first[:, :2]) + shift[None, :, None, None] * times[:, None, None, None]
            apart = backward_warp(first, -way) - backward_warp(last, shift[None, :, None, None] - way)
            costs.append(apart.abs().mean(1).clamp(max=0.5))
        expected = functional.avg_pool2d(torch.stack(costs, 1), 3, 1, 1, count_include_pad=False) / 0.25
        expected = functional.interpolate(expected, scale_factor=unit // 4)[..., : found.shape[2], : found.shape[3]]
        assert (found[place] - expected).abs().max() < 2e-5


@pytest.mark.parametrize("size", [(48, 64), (16, 8)])
def test_costs_of_a_finer_level_are_means_of_its_own(size: tuple[int, int]) -> None:
    first, last = torch.rand(2, 2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first, last = (functional.avg_pool2d(key, 2) for key in (first, last))
    apart = (first - last).abs().mean(1, keepdim=True).clamp(max=0.5)
    expected = functional.avg_pool2d(functional.avg_pool2d(apart, 3, 1, 1, count_include_pad=False), 2) / 0.25
    wide = [functional.interpolate(key, scale_factor=2.0) for key in (first, last)]
    found = MatchCosts([(2, 1)], 4).between(*wide, torch.full((2, 1, 1), 0.5))
    assert (found[:, 4:5] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_pixels_are_gathered_in_torchs_order_and_spread_again(dtype: torch.dtype) -> None:
    pictures = torch.rand(2, 5, 8, 12, dtype=dtype)
    cells = unshuffled(pictures, 4)
    assert torch.equal(cells, functional.pixel_unshuffle(pictures, 4))
    assert cells.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(shuffled(cells, 4), pictures)
    assert torch.equal(channels_last(pictures), pictures)
    assert channels_last(pictures).is_contiguous(memory_format=torch.channels_last)


def test_a_shift_that_costs_nothing_is_chosen_where_costs_count() -> None:
    shifts = shifts_of(LEVELS)
    choice = ShiftChoice(4, LEVELS, [100.0])
    costs = torch.ones(1, len(shifts), 3, 3)
    costs[:, 20] = 0
    (motion,) = choice(torch.zeros(1, 4, 3, 3), costs)
    assert torch.allclose(motion, shifts[20][None, :, None, None].expand(1, 2, 3, 3), atol=1e-4)


def test_moved_keys_meet_at_the_time_between() -> None:
    start, end = moving((4, 0))
    keys = Keys(start, end, torch.full((1, 1, 1, 1), 0.5))
    met = keys.moved(torch.tensor([4.0, 0.0])[None, :, None, None].expand(1, 2, 48, 64))
    assert torch.allclose(met.first[..., 4:-4], met.last[..., 4:-4], atol=1e-5)
    assert torch.allclose(met.first[..., 4:-4], start.roll(2, -1)[..., 4:-4], atol=1e-5)


def test_a_line_that_is_drawn_between_two_pixels_stays_a_line() -> None:
    line = torch.full((1, 3, 9, 9), -1.0)
    line[..., 4] = 1.0
    keys, motion = Keys(line, line.roll(1, -1), torch.full((1, 1, 1, 1), 0.5)), torch.zeros(1, 2, 9, 9)
    motion[:, 0] = 1.0
    drawn = keys.mixed(torch.zeros(1, 5, 9, 9), motion)
    assert (drawn[..., 4:6] > 0.15).all()  # bilinear reading leaves 0, half of the contrast


def test_what_is_searched_is_drawn() -> None:
    """With active costs and a free choice of images, the untrained head draws the true middle of a pan."""
    start, end = moving((8, 0))
    guide = still(start, end, torch.tensor([0.5]))
    costs = MatchCosts(LEVELS, 4)
    head = GuideRedraw(4, 4, 48, 1.0, LEVELS)
    with torch.no_grad():
        head.search.sharpness.fill_(7.0)
        head.refine.search.sharpness.fill_(7.0)
    answer, _ = head(torch.zeros(1, 4, 12, 16), guide, costs(guide))
    ideal = head.to_latents(start.roll(4, -1) - (start + end) / 2)
    inside = (..., slice(3, -3), slice(4, -4))
    left = (answer - ideal)[inside].square().mean() / ideal[inside].square().mean()
    # Untrained the guide's own picture, the cross-fade, keeps four fifths of the say.
    assert left < 0.75


def test_every_part_of_the_search_learns_from_its_first_step() -> None:
    torch.manual_seed(0)
    model = MiniUNet(**CONFIG)
    start, end = moving((8, 0))
    guide = still(start, end, torch.tensor([0.0, 0.5, 1.0]))
    (model(torch.randn(1, 3, 8, 12, 16), 7.0, guide=guide) - 1).square().mean().backward()
    # What is begun at zero lets nothing through to what stands before it.
    behind_zero = {"refine.look"}
    for name, parameter in model.guide_redraw.named_parameters():
        if not any(name.startswith(part) for part in behind_zero):
            assert parameter.grad is not None and parameter.grad.any(), name


def test_a_search_survives_saving_bit_for_bit(tmp_path: object) -> None:
    torch.manual_seed(0)
    model = MiniUNet(**CONFIG).eval()
    model.save_pretrained(tmp_path)
    again = MiniUNet.from_pretrained(tmp_path, local_files_only=True)
    start, end = moving((4, 4))
    guide, sample = still(start, end, torch.tensor([0.0, 0.5, 1.0])), torch.randn(1, 3, 8, 12, 16)
    with torch.no_grad():
        assert torch.equal(model(sample, 7.0, guide=guide), again(sample, 7.0, guide=guide))


def test_a_narrower_network_knows_which_inputs_of_the_second_look_are_features() -> None:
    axes = weight_axes(MiniUNet(**CONFIG))
    parts = axes["guide_redraw.refine.look.0.weight"][1]
    assert [size for (size,) in parts] == [16, 96, 25]
