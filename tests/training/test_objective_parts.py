"""Parts of the training loop: schedule, weight averaging, guards, log, sample order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nakawari.errors import NakawariError, UsageError
from nakawari.training import guards
from nakawari.training.batches import StepIndices
from nakawari.training.ema import WeightAverage
from nakawari.training.objectives.base import rand, randn, sample_generator
from nakawari.training.schedule import learning_rate


def rates(schedule: str, **changes) -> list[float]:
    settings = {"peak": 1.0, "schedule": schedule, "warmup_steps": 0, "steps": 4} | changes
    return [learning_rate(step, **settings) for step in range(settings["steps"])]


def test_schedules():
    assert rates("constant") == [1, 1, 1, 1]
    assert rates("linear") == [1, 0.75, 0.5, 0.25]
    assert rates("cosine") == pytest.approx([1, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert rates("linear", warmup_steps=2, steps=6) == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25])
    assert rates("linear", floor=0.2)[-1] == pytest.approx(0.4)


def test_average_warms_up_then_decays_and_gives_the_weights_back():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average = WeightAverage(dict(layer.named_parameters()), decay=0.5)
    nn.init.ones_(layer.weight)
    average.update(0)
    assert average.shadow["weight"].item() == pytest.approx(0.9)  # 1 - 1/10
    average.update(1000)
    assert average.shadow["weight"].item() == pytest.approx(0.95)  # halfway to 1
    with average.applied():
        assert layer.weight.item() == pytest.approx(0.95)
    assert layer.weight.item() == 1.0


def test_guards_sleep_until_enabled():
    bad = torch.tensor([1.0, float("nan"), 3.0])
    assert guards.check("x", bad) is bad
    with guards.enable():
        with pytest.raises(NakawariError, match=r"Tensor x is not finite .*nonfinite 1, min 1.0, max 3.0"):
            guards.check("x", bad)
        with pytest.raises(NakawariError, match=r"has shape \(3,\), not \('any', 2\)"):
            guards.check("x", bad, shape=(None, 2))
        with pytest.raises(NakawariError, match=r"has dtype torch\.float32, not torch\.float16"):
            guards.check("x", bad, dtype=torch.float16)
        fine = torch.ones(2, 3)
        assert guards.check("y", fine, shape=(None, 3), dtype=torch.float32) is fine
    assert guards.check("x", bad) is bad


def test_statistics_of_a_tensor_without_any_number():
    found = guards.statistics(torch.full((2,), float("inf")))
    assert found == {"shape": [2], "dtype": "float32", "nonfinite": 2}


@pytest.mark.parametrize(("accumulation", "processes"), [(1, 1), (4, 1), (2, 2), (1, 4)])
def test_every_split_sees_the_same_samples_in_a_step(accumulation, processes):
    seen = [[] for _ in range(3)]
    for rank in range(processes):
        lists = list(StepIndices(2, 5, 8, accumulation, rank, processes))
        assert len(lists) == 3 * accumulation
        for number, indices in enumerate(lists):
            seen[number // accumulation] += indices
    assert [sorted(step) for step in seen] == [list(range(first, first + 8)) for first in (16, 24, 32)]


def test_a_batch_that_cannot_be_split_is_refused():
    with pytest.raises(UsageError, match="cannot be split evenly"):
        StepIndices(0, 1, 8, 1, 0, 3)


def test_random_numbers_follow_from_seed_and_sample_alone():
    like = torch.zeros(1)
    both = randn([sample_generator(1, 5), sample_generator(1, 6)], (3,), like)
    alone = randn([sample_generator(1, 6)], (3,), like)
    assert torch.equal(both[1:], alone)
    assert not torch.equal(both[0], both[1])
    assert rand([sample_generator(1, 5)]) != rand([sample_generator(2, 5)])
