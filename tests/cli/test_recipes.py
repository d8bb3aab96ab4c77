"""`nakawari recipes`, in a clone and in a wheel."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import Result

from nakawari.training import shipped
from nakawari.training.recipe import load_recipe

Cli = Callable[..., Result]
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["clone", "wheel"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with the recipes at the path of each kind of installation."""
    if request.param == "wheel":
        package = tmp_path / "site" / "nakawari"
        package.mkdir(parents=True)
        (package / "recipes").symlink_to(ROOT / "recipes", target_is_directory=True)
        monkeypatch.setattr(shipped, "_PLACES", (package / "recipes", tmp_path / "no-clone" / "recipes"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_a_wheel_takes_the_recipes_along():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"recipes": "nakawari/recipes"}
    assert shipped._PLACES[0] == Path(shipped.__file__).parents[1] / "recipes"


def test_all_are_listed_with_a_line_and_can_be_read(cli: Cli, place: Path):
    lines = cli("recipes", "list").stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert {"adapt/show", "adapt/tooncrafter", "mini/1-draw", "framer/1-autoencoder"} <= set(names)
    assert not any(name.startswith("cluster") for name in names)
    assert all(len(line.split()) > 4 for line in lines)
    for name in names:
        assert load_recipe(shipped.recipe_file(Path(name))).name


def test_one_is_copied_once_changed_and_checked(cli: Cli, place: Path):
    assert cli("recipes", "copy", "adapt/show", "-o", "mine.yaml").exit_code == 0
    assert (place / "mine.yaml").read_text() == (ROOT / "recipes/adapt/show.yaml").read_text()
    again = cli("recipes", "copy", "adapt/show", "-o", "mine.yaml")
    assert again.exit_code == 2 and "exists already" in again.stderr
    assert cli("recipes", "show", "mine.yaml").stdout == (place / "mine.yaml").read_text()
    wrong = cli("recipes", "check", "mine.yaml", "--set", "model.base=absent")
    assert wrong.exit_code == 1
    assert "wrong: 'absent' is not a model" in wrong.stdout and "The data folder data/show does not" in wrong.stdout
    (place / "show" / "clip").mkdir(parents=True)
    for number in range(9):
        Image.new("RGB", (32, 32)).save(place / "show" / "clip" / f"{number}.png")
    right = cli("recipes", "check", "mine.yaml", "--set", "data.sources.0.path=show")
    assert right.exit_code == 0 and "keys, model and data are valid" in right.stdout


def test_a_name_that_is_none(cli: Cli, place: Path):
    for words in (("recipes", "show", "adapt/shwo"), ("train", "adapt/shwo"), ("adapt", "adapt/shwo")):
        result = cli(*words)
        assert result.exit_code == 2 and "did you mean adapt/show?" in result.stderr


def test_a_shipped_name_is_trained(cli: Cli, place: Path):
    """Until the missing data are reported."""
    result = cli("adapt", "adapt/show", "-o", "run")
    assert result.exit_code == 2 and "The data folder data/show does not exist" in result.stderr
