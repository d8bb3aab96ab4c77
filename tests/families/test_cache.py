"""The feature cache between sampling steps."""

from __future__ import annotations

import math
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
    many = {"num_inference_steps": 20}
    whole, work, away = drawn(pipeline, **many), [], []
    for name in LEVELS:
        with FlopCounterMode(display=False) as counter:
            found = drawn(pipeline, cache=name, **many)
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


NOISE = np.linspace(6.5, -6.0, 31).tolist()


def test_steps_are_whole_where_features_change() -> None:
    """Rarely at high noise and at the end, at every step between."""
    whole = CacheLevel(0.4).whole(NOISE)
    assert whole[0] and whole.count(True) == CacheLevel(0.4).count(31) == 12
    dense = [place for place, one in enumerate(whole) if one and -2.5 < NOISE[place] < 1.5]
    assert len(dense) >= 7 and np.diff(dense).max() <= 2
    assert sum(whole[:10]) <= 3 and sum(whole[-8:]) <= 2


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 50])
@pytest.mark.parametrize("share", [0.0, 0.27, 0.54, 1.0])
def test_as_many_steps_are_whole_as_are_counted(steps: int, share: float) -> None:
    level = CacheLevel(share)
    for high, low in ((6.5, -6.0), (math.inf, -2.0), (30.0, 20.0)):
        whole = level.whole([high, *np.linspace(min(high, 4.0), low, steps - 1).tolist()])
        assert whole[0] and whole.count(True) == level.count(steps) >= min(steps, 3)


def test_a_level_that_is_none() -> None:
    with pytest.raises(UsageError, match="no cache level 'huge'; give one of none, low"):
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
