"""The hash of what a guide draws of a fixed gap: of the same guide always equal, of another one not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nakawari.guide import Guide, GuideMaker, motion, still
from nakawari.guide.motion import MotionGuide
from nakawari.guide.trial import trial_hash


def test_one_guide_has_one_hash_on_any_number_of_threads():
    threads, found = torch.get_num_threads(), set()
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            found.add(trial_hash(MotionGuide()))
    finally:
        torch.set_num_threads(threads)
    assert len(found) == 1


@pytest.mark.parametrize("name", ["start", "end", "trust", "motion"])
def test_a_guide_that_draws_otherwise_has_another_one(name: str):
    def other(*inputs: Any) -> Guide:
        drawn = MotionGuide()(*inputs)
        tensor = getattr(drawn, name)
        tensor[0, 0, :, 30:34, 60:64] += 0.05  # of four pixels
        return drawn

    makers: list[GuideMaker] = [MotionGuide(), other, still]
    assert len({trial_hash(maker) for maker in makers}) == 3


def test_a_changed_rule_of_the_guide_changes_it(monkeypatch: pytest.MonkeyPatch):
    before = trial_hash(MotionGuide())
    monkeypatch.setattr(motion, "settled", lambda start, end, flows: flows)
    assert trial_hash(MotionGuide()) != before
