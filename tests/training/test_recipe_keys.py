"""The page of recipe keys matches the schema and explains every key."""

from __future__ import annotations

from pathlib import Path

import pytest

from nakawari.training.recipe import load_recipe, parse_recipe
from nakawari.training.recipe_keys import page, tables

ROOT = Path(__file__).parents[2]


def test_the_page_is_current():
    assert (ROOT / "docs" / "recipe-keys.md").read_text() == page(), (
        "run python -m nakawari.training.recipe_keys > docs/recipe-keys.md"
    )


def test_every_key_has_a_line():
    assert [key.name for keys in tables().values() for key in keys if not key.line] == []


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("optim.lr", ("number", "required", "> 0")),
        ("data.windows.count", ("whole number", "required", "≥ 1")),
        ("data.sources[clips].held_out", ("number", "0.05", "≥ 0, < 1")),
        ("objective.regime", ("drawings, answers", "drawings", "")),
        ("validation.patience", ("whole number or null", "null", "≥ 1")),
    ],
)
def test_rows_say_type_default_and_range(name: str, row: tuple[str, str, str]):
    found = {key.name: key for keys in tables().values() for key in keys}
    assert found[name][1:4] == row


def test_a_recipe_that_an_earlier_run_wrote_is_read_without_the_keys_that_are_gone():
    recipe = load_recipe(ROOT / "recipes" / "adapt" / "show.yaml")
    values = recipe.model_dump(mode="json")
    values["objective"] |= {"ablation": None}
    values["objective"]["pixel"]["true_latents"] = 0.0
    assert parse_recipe(values) == recipe
