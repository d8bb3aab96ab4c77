"""Arguments and output of `nakawari train` and `nakawari convert`, with the work itself stubbed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import Result

from nakawari.families.tooncrafter import convert
from nakawari.training import guards
from nakawari.training.run_state import Outcome, Progress

Cli = Callable[..., Result]


RECIPE = Path(__file__).parents[2] / "recipes" / "adapt" / "show.yaml"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files named in the arguments, as missing paths are refused first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    shutil.copy(RECIPE, "recipes/a.yaml")
    (tmp_path / "model.ckpt").touch()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple, dict[str, Any]]]:
    """The calls of the trainer and their arguments."""
    calls: list[tuple[tuple, dict[str, Any]]] = []

    def train_recipe(*words: Any, progress: Callable, preparing: Callable, **options: Any) -> Outcome:
        calls.append((words, options))
        progress(Progress(1, 2, 0.5, {"loss": 0.25}))
        return Outcome("finished", 2, "All steps are done.", {"psnr": 30.5})

    module = ModuleType("nakawari.training.run")
    module.train_recipe = train_recipe
    monkeypatch.setitem(sys.modules, "nakawari.training.run", module)
    return calls


def test_train(cli: Cli, trained: list):
    result = cli("train", "recipes/a.yaml", "--set", "seed=3", "--set", "optim.lr=1e-4", "--resume")
    assert result.exit_code == 0, result.stderr
    (((recipe, run), options),) = trained
    assert (recipe.seed, recipe.optim.lr, run, options) == (3, 1e-4, Path("runs/a"), {"resume": True})
    assert "finished at step 2: All steps are done." in result.stdout
    assert "30.5" in result.stdout


def test_debug_switches_the_tensor_guards_on(cli: Cli, trained: list, monkeypatch: pytest.MonkeyPatch):
    def broken(*words: Any, **options: Any) -> Outcome:
        guards.check("latents", torch.tensor([float("nan")]))
        return Outcome("finished", 2, "All steps are done.", {})

    monkeypatch.setattr(sys.modules["nakawari.training.run"], "train_recipe", broken)
    assert cli("train", "recipes/a.yaml").exit_code == 0
    guarded = cli("train", "recipes/a.yaml", "--debug")
    assert guarded.exit_code == 1
    assert "Tensor latents is not finite" in guarded.stderr


def test_train_json(cli: Cli, trained: list):
    result = cli("train", "recipes/a.yaml", "-o", "out", "--json")
    assert json.loads(result.stdout) == {
        "run": "out",
        "status": "finished",
        "step": 2,
        "reason": "All steps are done.",
        "best": {"psnr": 30.5},
    }


def test_convert(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    calls = []

    def convert_checkpoint(path: Path, output: Path, dtype: torch.dtype | None, words: Path | None) -> SimpleNamespace:
        calls.append((path, output, dtype, words))
        return SimpleNamespace(
            keys={"unet": 3, "extra": 1}, parameters={"unet": 1234}, output_dir=output, schedule_matches=False
        )

    monkeypatch.setattr(convert, "convert_checkpoint", convert_checkpoint)
    result = cli("convert", "model.ckpt", "-o", "out", "--dtype", "fp16")
    assert result.exit_code == 0, result.stderr
    assert calls == [(Path("model.ckpt"), Path("out"), torch.float16, None)]
    assert [line.split() for line in result.stdout.splitlines()[1:4]] == [
        ["unet", "3", "1,234"],
        ["extra", "1", "-"],
        ["all", "4", "1,234"],
    ]
    assert "noise schedule" in result.stdout
