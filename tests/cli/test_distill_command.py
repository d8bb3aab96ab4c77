"""`nakawari distill` on a tiny teacher."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from nakawari.variants import load
from tiny_models import mini_model

Cli = Callable[..., Result]
QUICK = {
    "optim.steps": "2",
    "optim.ema": "0",
    "objective.teacher_sampling.steps": "1",
    "objective.pixel.perceptual": "none",
    "data.distinct": "2",
}
SMALL = ["--batch", "2", "--size", "32x32", "--frames", "3", "--windows", "0"]


def quick(tmp_path: Path) -> list[Any]:
    changes = QUICK | {"objective.cache": tmp_path / "drawings"}
    return [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    mini_model().save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


def test_a_smaller_student_is_made_and_trained(cli: Cli, teacher: Path, show: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--data", show, "--teacher", teacher, *SMALL, *quick(tmp_path), "-o", run]
    drawn = cli("distill", *words, "--prepare")
    assert drawn.exit_code == 0, drawn.stderr
    assert drawn.stdout.splitlines()[-1] == "2 drawings made; the others existed"
    assert not run.exists()
    result = cli("distill", *words)
    assert result.exit_code == 0, result.stderr
    first, second, third = result.stdout.splitlines()[:3]
    whole = sum(value.numel() for value in mini_model().unet.parameters())
    student = load(str(run)).pipeline.unet
    size = sum(value.numel() for value in student.parameters())
    assert first == f"teacher  {teacher}: denoiser of {whole:,} parameters, frozen, not saved"
    assert second == f"student  a part of {teacher}: denoiser of {size:,} parameters ({size / whole:.1%})"
    assert third.startswith(f"copied   {size:,} parameters; ") and third.endswith(" in part, 0 initialised randomly")
    assert "finished at step 2" in result.stdout
    assert student.config.model_channels == mini_model().unet.config.model_channels // 2


def test_the_layers_that_matter_least_are_left_out(cli: Cli, teacher: Path, show: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--data", show, "--teacher", teacher, *SMALL, *quick(tmp_path), "-o", run]
    words += ["--regime", "b", "--remove", "1"]
    result = cli("distill", *words)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "loss without each layer, least important first"
    layers = mini_model().unet.removable_layers()
    rows = [line.split() for line in lines[1 : 1 + len(layers)]]
    losses = [float(row[1]) for row in rows]
    assert {row[0] for row in rows} == set(layers) and losses == sorted(losses)
    assert [row[2:] for row in rows] == [["left", "out"]] + [[]] * (len(layers) - 1)
    saved = yaml.safe_load((run / "recipe.yaml").read_text())
    assert saved["model"]["student"]["remove"] == [rows[0][0]]
    assert saved["model"]["student"]["width"] == 1.0
    assert list(load(str(run)).pipeline.unet.config.removed_layers) == [rows[0][0]]
    asked = cli("distill", run / "recipe.yaml", "--plan", "--json")
    roles, plan = map(json.loads, asked.stdout.splitlines())
    assert roles["copied"]["removed"] == [rows[0][0]] and plan["steps"] == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "needs either a RECIPE or --data FOLDER"),
        (
            ["--data", "show", "--regime", "c"],
            "'c' is not a regime; --regime takes drawings (or a) and answers (or b).",
        ),
        (["--data", "show", "--teacher", "absent"], "'absent' is not a model"),
        (["--data", "show", "--remove", "99"], "layers can be removed, not 99; give --remove a smaller number."),
        (["--data", "show", "--set", "objective.kind=denoise"], "has the unknown key 'objective.teacher'"),
        (["--data", "show", "--prepare", "--regime", "b"], "--prepare is for the regime drawings"),
        (["--data", "show", "--width", "0.3"], "The student cannot be built: model_channels=2 must be divisible by"),
    ],
)
def test_wrong_words_get_one_sentence(
    cli: Cli,
    teacher: Path,
    show: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--teacher", "teacher"] if "--teacher" not in words else []
    result = cli("distill", *words, *given, "--size", "32x32", "--batch", "2", "--set", "objective.cache=drawings")
    assert result.exit_code in (1, 2)
    assert sentence in result.stderr and result.stderr.count("\n") == 1, result.stderr


def test_a_recipe_without_a_teacher_is_refused(cli: Cli) -> None:
    result = cli("distill", Path(__file__).parents[2] / "recipes" / "mini" / "1-draw.yaml")
    assert result.exit_code == 2
    assert "has no teacher; distill trains imitate and few_step, nakawari train any other." in result.stderr


def test_too_many_layers_to_leave_out_are_refused_before_anything_is_made(
    cli: Cli, teacher: Path, show: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    words = ["--data", show, "--teacher", teacher, "--size", "32x32", "--windows", "2", "--set", f"data.cache={cache}"]
    result = cli("distill", *words, "--set", "data.windows.size=[32, 48]", "--remove", "99")
    assert result.exit_code == 2 and "layers can be removed, not 99" in result.stderr
    assert not cache.exists()
