"""Plans: solving, writing, reading, errors."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from nakawari.errors import NakawariError, UsageError
from nakawari.quantization.layers import packable
from nakawari.quantization.planning import _cheapest, make_plan
from nakawari.quantization.plans import (
    Plan,
    fingerprint,
    parse_budget,
    predicted,
    read,
    resolve,
    shorten,
    upgrades,
    weights_size,
    within,
    write,
)
from nakawari.quantization.sensitivity import Cost, Sensitivity
from tiny_models import mini_model, plain_model


def problem(seed: int, layers: int = 6) -> Sensitivity:
    draw = random.Random(seed)
    costs = {}
    for index in range(layers):
        weights, weak = draw.randint(10, 200), draw.uniform(0.1, 100)
        errors = {"int4": weak, "int8": weak * draw.uniform(0, 0.3), "fp16": weak * draw.uniform(0, 1e-3)}
        sizes = {"int4": weights // 2, "int8": weights, "fp16": weights * 2}
        costs[f"layer{index}"] = {name: Cost(sizes[name], errors[name]) for name in errors}
    return Sensitivity(dict.fromkeys(costs, "linear"), costs, 1.0)


@pytest.mark.parametrize("seed", range(8))
def test_near_the_best_of_all_assignments(seed: int):
    found = problem(seed)
    least, most = (weights_size(found, dict.fromkeys(found.costs, name)) for name in ("int4", "fp16"))
    for share in (0.0, 0.2, 0.5, 0.8, 1.0):
        budget = int(least + share * (most - least))
        chosen = within(found, budget)
        assert weights_size(found, chosen) <= budget
        every = (
            dict(zip(found.costs, names, strict=True))
            for names in itertools.product(("int4", "int8", "fp16"), repeat=len(found.costs))
        )
        best = min(predicted(found, one) for one in every if weights_size(found, one) <= budget)
        largest = max(costs["int4"].error for costs in found.costs.values())
        assert best <= predicted(found, chosen) <= best + largest
    assert within(found, most) == dict.fromkeys(found.costs, "fp16")
    with pytest.raises(UsageError, match="is too small: with these precisions they need at least"):
        within(found, least - 1)


def test_a_precision_that_costs_more_and_gives_nothing_is_not_taken():
    costs = {"a": {"int4": Cost(10, 1.0), "int8": Cost(20, 1.5), "fp16": Cost(40, 0.5)}}
    assert within(Sensitivity({"a": "conv"}, costs, 1.0), 30) == {"a": "int4"}
    assert within(Sensitivity({"a": "conv"}, costs, 1.0), 40) == {"a": "fp16"}
    del costs["a"]["fp16"]
    assert within(Sensitivity({"a": "conv"}, costs, 1.0), 40) == {"a": "int4"}


def test_the_smallest_plan_of_the_wanted_fidelity():
    found = problem(3)

    def fidelity(precisions: dict[str, str]) -> float:
        return -predicted(found, precisions)

    wanted = -30.0
    chosen = _cheapest(found, fidelity, wanted)
    assert fidelity(chosen) >= wanted
    start, steps = upgrades(found)
    prefixes = [start | dict(steps[:count]) for count in range(len(steps) + 1)]
    place = prefixes.index(chosen)
    assert 0 < place < len(steps) and fidelity(prefixes[place - 1]) < wanted
    with pytest.raises(NakawariError, match=r"5 dB to the parent cannot be reached: .* gives -"):
        _cheapest(found, fidelity, 5.0)


def test_a_plan_survives_its_file(tmp_path: Path):
    denoiser = mini_model().unet
    names = list(packable(denoiser))
    precisions = {name: "int4" if index % 3 else "fp16" for index, name in enumerate(names)}
    plan = Plan(fingerprint(denoiser), shorten(precisions), {"budget": "0.5x"})
    write(tmp_path / "plan.yaml", plan)
    assert read(tmp_path / "plan.yaml") == plan
    assert resolve(plan, denoiser) == precisions
    assert len(plan.precisions) < len(precisions)


def test_patterns_are_tried_in_order():
    denoiser = mini_model().unet
    plan = Plan(fingerprint(denoiser), {"time_embed.0": "fp32", "time_embed.*": "fp16", "*": "int8-dynamic"}, {})
    found = resolve(plan, denoiser)
    assert (found["time_embed.0"], found["time_embed.2"], found["out.2"]) == ("fp32", "fp16", "int8-dynamic")


@pytest.mark.parametrize(
    ("precisions", "words"),
    [
        ({"time_embed.*": "fp16"}, r"leaves out guide_in\.1; end it with"),
        ({"*": "int8", "out.2": "fp16"}, r"pattern out\.2 of the plan matches no layer that is not matched above"),
        ({"nothing.*": "int8", "*": "int4"}, r"pattern nothing\.\* of the plan matches no layer"),
    ],
)
def test_patterns_that_do_not_fit(precisions: dict[str, str], words: str):
    denoiser = mini_model().unet
    with pytest.raises(UsageError, match=words):
        resolve(Plan(fingerprint(denoiser), precisions, {}), denoiser)


def test_a_plan_for_another_model():
    plan = Plan(fingerprint(mini_model().unet), {"*": "int8"}, {})
    with pytest.raises(UsageError, match="The plan is for another model: this ToonCrafterUNet has other layers"):
        resolve(plan, plain_model().unet)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a", "is not a plan"),
        ("model: x", "is not a plan"),
        ("model: x\nprecisions: {}", "must map layer patterns"),
        ("model: x\nprecisions: {'*': int5}", r"'int5' is not a precision for \* in the plan"),
        ("model: [", "cannot be read"),
    ],
)
def test_files_that_are_no_plans(tmp_path: Path, text: str, words: str):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(UsageError, match=words):
        read(tmp_path / "plan.yaml")


def test_budgets():
    assert parse_budget("0.35x", 1000) == 350
    assert parse_budget("12-MB", 1) == parse_budget("12MB", 1) == 12_000_000
    for words in ("12", "0x", "x", "-1MB", "1GB"):
        with pytest.raises(UsageError, match="is not a budget"):
            parse_budget(words, 1000)


def test_goals_that_cannot_be_met_are_refused_before_anything_is_measured():
    with pytest.raises(
        UsageError, match=r"The budget leaves .* which need at least .* in int8, fp16; raise the budget"
    ):
        make_plan(mini_model(), budget="0.3x", candidates=("int8", "fp16"))
    for goals in ({}, {"budget": "0.5x", "min_psnr": 40.0}):
        with pytest.raises(UsageError, match="needs either --budget or --min-psnr-to-parent"):
            make_plan(mini_model(), **goals)
