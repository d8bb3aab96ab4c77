"""What is kept between steps of sampling instead of computed anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nakawari.errors import UsageError
from nakawari.families.cache import LEVELS, CacheLevel, Carried, cache_level
from tiny_framer import tiny
from tiny_models import towered_model

STEPS = 12


def drawn(pipeline: Any, seeds: tuple[int, ...] = (0,), **options: Any) -> Tensor:
    keys = [torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    first, last = (key.expand(len(seeds), -1, -1, -1) for key in keys)
    told = {"num_frames": 5, "num_inference_steps": STEPS, "guidance_scale": 4.0, "output_type": "latent"} | options
    return pipeline(first, last, generator=[torch.Generator().manual_seed(seed) for seed in seeds], **told).frames


@pytest.mark.parametrize("together", [True, False])
def test_where_nothing_is_left_out_every_bit_is_the_same(together: bool) -> None:
    pipeline = towered_model(8)
    pipeline.batched_guidance = together
    assert torch.equal(drawn(pipeline, cache=CacheLevel(depth=2)), drawn(pipeline))
    assert torch.equal(drawn(pipeline, cache="none"), drawn(pipeline))


def test_more_is_left_out_from_level_to_level() -> None:
    pipeline = towered_model(8)
    whole, work, away = drawn(pipeline), [], []
    for name in LEVELS:
        with FlopCounterMode(display=False) as counter:
            found = drawn(pipeline, cache=name)
        work.append(counter.get_total_flops())
        away.append((found - whole).norm().item())
    assert work == sorted(work, reverse=True) and len(set(work)) == len(work)
    assert away[0] == 0 < away[1] and max(away) < 0.05 * whole.norm()


def test_a_sample_does_not_depend_on_its_batch() -> None:
    pipeline = towered_model(8)
    both = drawn(pipeline, (3, 4), cache="medium")
    torch.testing.assert_close(both[1:], drawn(pipeline, (4,), cache="medium"), atol=1e-4, rtol=1e-4)


def test_three_branches_and_none() -> None:
    pipeline = towered_model(8)
    for options in ({"image_guidance_scale": 2.0}, {"guidance_scale": 1.0}):
        whole, kept = drawn(pipeline, **options), drawn(pipeline, cache="low", **options)
        assert 0 < (kept - whole).norm() < 0.05 * whole.norm()


def test_carried_on_in_a_straight_line() -> None:
    carried = Carried()
    carried.keep(2, (torch.tensor(1.0), torch.tensor(5.0)))
    assert carried.at(3) == (1, 5)
    carried.keep(4, (torch.tensor(2.0), torch.tensor(5.0)))
    assert carried.at(5) == (2.5, 5) and carried.at(7) == (3.5, 5)
    carried.keep(6, (torch.tensor(2.0), torch.tensor(4.0)))
    assert carried.at(8) == (2, 3)


def test_which_steps_are_whole() -> None:
    level = CacheLevel(deep_every=2, guidance_every=4, last=1)
    assert [level.whole(index, 12) for index in range(12)].count(True) == 2 + 4 + 1
    assert [index for index in range(12) if level.all_branches(index, 12)] == [0, 1, 5, 9, 11]


def test_the_first_steps_are_a_share_and_two_at_least() -> None:
    level = CacheLevel(deep_every=5, guidance_every=5, first=0.2)
    assert [index for index in range(30) if level.whole(index, 30)] == [0, 1, 2, 3, 4, 5, 10, 15, 20, 25, 29]
    assert [index for index in range(8) if level.whole(index, 8)] == [0, 1, 6, 7]


def test_a_level_that_is_none() -> None:
    with pytest.raises(UsageError, match="no cache level 'huge'; take one of none, low"):
        cache_level("huge")


FRAMER: dict[str, Any] = {"guidance_scale": None, "tracks": np.linspace([[4.0, 6.0]], [[20.0, 9.0]], 5)}


@pytest.mark.parametrize(
    "options", [{}, {"tracks": None}, {"control_range": (0.2, 0.7)}, {"guidance_scale": 1.0}], ids=str
)
def test_framer_where_nothing_is_left_out(options: dict[str, Any]) -> None:
    pipeline = tiny()
    told = FRAMER | options
    for depth in (1, 2):
        kept = drawn(pipeline, cache=CacheLevel(depth=depth), **told)
        torch.testing.assert_close(kept, drawn(pipeline, **told), atol=0, rtol=0)


@pytest.mark.parametrize("options", [{}, {"control_range": (0.2, 0.7)}], ids=str)
def test_framer_leaves_out_more_from_level_to_level(options: dict[str, Any]) -> None:
    pipeline = tiny()
    told = FRAMER | options
    whole, work, away = drawn(pipeline, **told), [], []
    for name in LEVELS:
        with FlopCounterMode(display=False) as counter:
            found = drawn(pipeline, cache=name, **told)
        work.append(counter.get_total_flops())
        away.append((found - whole).norm().item())
    assert away[0] == 0 and max(away) < 0.2 * whole.norm()
    # where the ControlNet begins and where it ends, all is evaluated at every level
    assert max(work[1:]) < work[0] and work[3] == min(work) and away[1] > 0


def test_more_layers_than_the_last_block_has() -> None:
    with pytest.raises(ValueError, match="depth=9 is more than"):
        drawn(tiny(), cache=CacheLevel(depth=9))
