"""Network evaluations equal steps times guidance branches, for sequential and batched branches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nakawari.evaluation.efficiency import counted
from nakawari.families.framer import build
from nakawari.families.framer.configs import TINY
from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline
from tiny_models import mini_model, towered_model

KEYS = torch.rand(2, 1, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def towered() -> ToonCrafterPipeline:
    return towered_model(projector=8)


def asked(pipeline: Any, clips: int = 1, **words: Any) -> int:
    keys = KEYS.expand(2, clips, 3, 16, 24)
    with counted(pipeline.denoiser) as count:
        pipeline(keys[0], keys[1], num_frames=3, output_type="latent", **words)
    return count[0]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("words", "branches"),
    [
        ({"guidance_scale": 1.0}, 1),
        ({"guidance_scale": 5.0}, 2),
        ({"guidance_scale": 5.0, "image_guidance_scale": 2.0}, 3),
        ({"guidance_scale": 1.0, "image_guidance_scale": 1.0}, 1),
    ],
)
@pytest.mark.parametrize("sampler", ["ddim", "consistency"])
def test_steps_times_branches(
    towered: ToonCrafterPipeline, words: dict[str, float], branches: int, together: bool, sampler: str
) -> None:
    towered.batched_guidance = together
    for steps in (1, 4):
        assert asked(towered, num_inference_steps=steps, sampler=sampler, **words) == steps * branches
    assert asked(towered, clips=2, num_inference_steps=2, sampler=sampler, **words) == 2 * 2 * branches


def test_a_model_without_words_has_one_branch() -> None:
    assert asked(mini_model(), num_inference_steps=4, guidance_scale=7.5) == 4


def test_a_model_for_few_steps_is_asked_as_often_as_it_wants() -> None:
    for pipeline in (mini_model(), build(**TINY)):
        pipeline.set_progress_bar_config(disable=True)
        pipeline.sample_in_few_steps(2)
        assert asked(pipeline) == 2
        assert asked(pipeline, num_inference_steps=1) == 1


def test_framer_has_two_branches_where_guidance_is_above_one() -> None:
    pipeline = build(**TINY)
    pipeline.set_progress_bar_config(disable=True)
    assert asked(pipeline, num_inference_steps=3) == 6
    assert asked(pipeline, num_inference_steps=3, guidance_scale=1.0) == 3
