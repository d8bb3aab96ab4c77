"""The failing objectives of `benchmarks/failures` reproduce the named failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from fake_pipeline import clips

from failures import KINDS, answer_is_noise, answer_noise, dead_latents, register
from nakawari.training.objectives import OBJECTIVES
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.recipe import parse_recipe
from nakawari.variants import load
from tiny_models import mini_model, shaken


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register()
    yield
    for kind in KINDS:
        del OBJECTIVES[kind]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("teacher")
    mini_model().save_pretrained(folder)
    return str(folder)


def failing(module: Any, **objective: Any) -> DenoiserObjective:
    recipe = parse_recipe(
        {
            "name": "failing",
            "model": {"base": "mini"},
            "objective": objective,
            "data": {"sources": [{"kind": "synthetic"}], "size": [16, 16], "frames": [3]},
            "optim": {"lr": 1e-3, "steps": 1, "batch_size": 2},
        }
    )
    torch.manual_seed(0)
    pipeline = load(objective["teacher"]).pipeline if "teacher" in objective else mini_model()
    if "teacher" in objective:  # another denoiser, the same autoencoder
        shaken(pipeline.unet, seed=3)
    return module.build(recipe.objective, pipeline, recipe).train()


def batch() -> dict[str, Any]:
    found = clips(count=2, frames=3)
    return found | {"frames": torch.nn.functional.interpolate(found["frames"], scale_factor=(1, 4, 4))}


def generators(values: dict[str, Any]) -> Sequence[torch.Generator]:
    return [sample_generator(0, index) for index in values["index"]]


LORA = {"target": "linear-and-convolution", "rank": 2}


def test_every_output_is_taken_for_noise():
    values = batch()
    output = failing(answer_noise, kind="answer-noise", lora=LORA)(values, generators(values))
    assert output.logs["baseline"].item() == pytest.approx((2 / torch.pi) ** 0.5, abs=0.05)
    at_the_end = failing(answer_noise, kind="answer-noise", lora=LORA, last_time_share=1.0)
    at_the_end.pipeline.denoise = lambda noisy, t, condition: noisy.requires_grad_()
    # Where x_t is nothing but noise, a network that answers x_t is perfect in this loss and as wrong as can be in ours.
    assert at_the_end(values, generators(values)).loss.item() == pytest.approx(0, abs=1e-6)


def test_pixels_are_measured_and_nothing_is_learnt_from_them():
    values = batch()
    found = []
    for pixel in ({}, {"pixel": {"weight": 9.0}}):
        objective = failing(answer_noise, kind="answer-noise", lora=LORA, **pixel)
        found.append(objective(values, generators(values)))
    assert found[0].loss == found[1].loss and "pixel" in found[1].logs


def test_a_student_whose_answer_is_the_noise_has_no_loss(teacher: str):
    values, plain = batch(), {"pixel": None, "smooth_l1": 0, "weighting": "native", "cache": None}
    wrong = failing(answer_is_noise, kind="answer-is-noise", teacher=teacher, regime="answers", **plain)
    wrong(values, generators(values))
    noise = wrong.last.noise
    wrong.pipeline.denoise = lambda noisy, t, condition: noise + 0.3
    assert wrong(values, generators(values)).loss.item() == pytest.approx(0.09, rel=1e-3)


def test_no_gradient_passes_dead_latents(teacher: str):
    values = batch()
    dead = failing(dead_latents, kind="dead-latents", teacher=teacher, cache=None, teacher_sampling={"steps": 1})
    dead(values, generators(values)).loss.backward()
    assert all(p.grad is None or not p.grad.abs().sum() for p in dead.pipeline.unet.parameters())
