"""Memory of a training run, computed without weights, and the chosen settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import Result

import tiny_framer
from nakawari import variants
from nakawari.resources.tracking import track_step
from nakawari.training import fitting
from nakawari.training.counting import counted, empty_objective
from nakawari.training.objectives.base import sample_generator
from nakawari.training.recipe import Recipe, parse_recipe
from nakawari.training.run import build_objective
from tiny_models import towered_model

Cli = Callable[..., Result]
MODELS = {"towered": lambda: towered_model(8), "framer": tiny_framer.tiny}


@pytest.fixture(params=MODELS)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    MODELS[request.param]().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def recipe_of(base: Path, objective: dict[str, object] | None = None, **optim: object) -> Recipe:
    pixel = {"weight": 1.0, "frames": 1, "perceptual": "st-lpips"}
    return parse_recipe(
        {
            "name": "tiny",
            "model": {"base": str(base)},
            "objective": {"kind": "adapt", "lora": {"target": ".*", "rank": 2}, "pixel": pixel} | (objective or {}),
            "data": {"sources": [{"kind": "clips", "path": "show"}], "size": [48, 64], "frames": [5]},
            "optim": {"lr": 1e-3, "steps": 2, "batch_size": 4} | optim,
        }
    )


@pytest.mark.parametrize("how", ["plain", "bf16", "checkpointing", "int8"])
def test_a_step_without_numbers_takes_what_the_real_one_takes(base: Path, how: str):
    """Compared with the count over real tensors."""
    words = {"bf16": {"base_dtype": "bf16"}, "checkpointing": {"gradient_checkpointing": True}}
    words["int8"] = {"base_dtype": "int8"}
    recipe = recipe_of(base, words.get(how), mixed_precision="bf16" if how == "bf16" else "no")
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(4, 5, 3, 48, 64, generator=generator) * 2 - 1
    taken = {}
    for kind, objective in (("real", build_objective(recipe).train()), ("empty", empty_objective(recipe, "cpu")[0])):
        place = next(objective.parameters()).device
        batch = {"frames": frames.to(place), "index": list(range(4))}
        generators = [sample_generator(0, index) for index in range(4)]
        with torch.autocast("cpu", torch.bfloat16, enabled=how == "bf16"):
            taken[kind] = track_step(lambda: objective(batch, generators).loss)  # noqa: B023 - called at once
    assert taken["empty"].flops == pytest.approx(taken["real"].flops, rel=0.01)
    assert taken["empty"].peak == pytest.approx(taken["real"].peak, rel=0.05)


def test_parts_are_counted_as_the_loaded_model_has_them(base: Path):
    recipe = recipe_of(base, ema=0.9)
    need, real = counted(recipe, "cpu"), build_objective(recipe)
    learning = real.trainable_parameters()
    assert need.trained == sum(value.numel() for value in learning.values())
    assert need.kept["optimizer"] == 8 * need.trained and need.kept["averaged weights"] == 4 * need.trained
    whole = {
        name: sum(v.numel() * v.element_size() for v in part.state_dict().values())
        for name, part in real.networks.items()
    }
    assert sum(need.weights.values()) == sum(whole.values()) - 4 * need.trained


def test_each_saving_needs_less():
    recipe = recipe_of(Path("mini"))
    every = list(fitting.alternatives(recipe, "cpu", ()))
    assert [list(changes)[-1:] for changes in every] == [
        [],
        ["optim.accumulation"],
        ["objective.gradient_checkpointing"],
        ["optim.mixed_precision"],
    ]
    fixed = list(fitting.alternatives(recipe, "cpu", ["objective.gradient_checkpointing", "optim.mixed_precision"]))
    assert fixed == [{}, {"optim.accumulation": 4}]


def test_processes_divide_a_step_and_may_divide_the_denoiser(towered: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = recipe_of(towered, ema=0.9)
    alone = counted(recipe, "cpu")
    monkeypatch.setenv("WORLD_SIZE", "4")
    four = counted(recipe, "cpu")
    assert (four.weights, four.kept) == (alone.weights, alone.kept)
    assert four.step < alone.step and four.flops * 4 == pytest.approx(alone.flops, rel=0.1)
    shared = counted(recipe.model_copy(update={"shard": True}), "cpu")
    assert shared.weights == alone.weights | {"unet": alone.weights["unet"] // 4}
    assert {part: shared.kept[part] / size for part, size in alone.kept.items()} == pytest.approx(
        dict.fromkeys(alone.kept, 0.25), rel=1e-3
    )
    # A block is whole while it runs.
    assert four.step < shared.step < four.step + alone.weights["unet"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(fitting.alternatives(recipe, "cpu", ()))[1] == {"optim.accumulation": 2}


@pytest.fixture
def towered(tmp_path: Path) -> Path:
    towered_model(8).save_pretrained(tmp_path / "towered")
    return tmp_path / "towered"


@pytest.fixture
def everything_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every model as large, and fail if one is loaded."""
    monkeypatch.setattr(fitting, "LARGE", 0)
    monkeypatch.setattr(variants, "load", lambda *_, **__: pytest.fail("loaded"))


def test_a_large_model_is_planned_without_being_loaded(
    cli: Cli, show: Path, towered: Path, tmp_path: Path, everything_large: None
):
    words = (
        "adapt",
        "--data",
        show,
        "--model",
        towered,
        "--size",
        "48x32",
        "--steps",
        "2",
        "--plan",
    )
    first = cli(*words, "--json", "-o", tmp_path / "run")
    assert first.exit_code == 0, first.output
    assert first.stderr.startswith("nakawari: needs ") and not (tmp_path / "run").exists()
    plan = json.loads(first.stdout)
    assert plan["need"] > sum(plan["memory"].values()) > 0 and plan["seconds_per_step"] > 0
    exact = cli(*words, "--memory", f"{plan['need'] / 1e6 - 1:.0f}MB")
    assert exact.exit_code == 0, exact.output
    assert exact.stderr.startswith("nakawari: chosen to fit: optim.accumulation=4; needs ")
    assert "at the peak; nothing was loaded" in exact.stdout
    refused = cli(*words, "--memory", "1MB")
    assert refused.exit_code == 1
    sentence = f"Training {towered} on 4 clips of 5 frames of 48x32 a step does not fit into 1 MB of memory: its"
    assert sentence in refused.stderr and "give a smaller --size" in refused.stderr


def test_a_large_run_that_does_not_fit_is_refused_before_loading(
    cli: Cli, show: Path, towered: Path, tmp_path: Path, everything_large: None, monkeypatch: pytest.MonkeyPatch
):
    recipe = recipe_of(towered)
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe.model_dump(mode="json", exclude={"provenance"})))
    need = counted(recipe, "cpu").peak("cpu")
    monkeypatch.setattr(fitting, "free", lambda _: need - 1)
    refused = cli("adapt", path, "-o", tmp_path / "run")
    assert refused.exit_code == 1 and not (tmp_path / "run").exists()
    assert "are free: with --set optim.accumulation=4 it takes " in refused.stderr


def test_a_run_that_goes_on_keeps_what_it_chose(tmp_path: Path):
    chosen = fitting.with_changes(recipe_of(Path("mini")), {"optim.accumulation": 2})
    (tmp_path / "recipe.yaml").write_text(json.dumps(chosen.model_dump(mode="json")))
    assert fitting.chosen_before(recipe_of(Path("mini")), tmp_path / "recipe.yaml") == chosen


def test_a_distillation_is_planned_with_its_teacher_and_without_loading(
    cli: Cli, show: Path, towered: Path, tmp_path: Path, everything_large: None
):
    words = ("--data", show, "--teacher", towered, "--width", "0.5", "--batch", "2", "--size", "32x32", "--frames", "3")
    planned = cli("distill", *words, "--steps", "2", "--plan", "--json", "-o", tmp_path / "run")
    assert planned.exit_code == 0, planned.output
    roles, plan = map(json.loads, planned.stdout.splitlines())
    assert roles["student_parameters"] == plan["trained"] == plan["parameters"] < roles["teacher_parameters"]
    assert plan["memory"]["teacher's unet"] == 4 * roles["teacher_parameters"]
    assert plan["memory"]["averaged weights"] == 4 * plan["trained"] and plan["memory"]["unet"] == 0
