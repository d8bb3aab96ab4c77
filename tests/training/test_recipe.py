"""Recipes: parsing, and one-sentence errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from nakawari.errors import UsageError
from nakawari.training.recipe import changed_keys, load_recipe, write_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
TEXT = """
name: small
model: {base: mini}
objective: {kind: denoise, weighting: {x0: 1, native: 1e-1}}
data:
  sources: [{kind: synthetic}, {kind: clips, path: clips, weight: 2}]
  size: [64, 96]
  frames: [3, 7]
optim: {lr: 1e-4, steps: 10, batch_size: 8, mixed_precision: no}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return path


def test_numbers_and_words_are_read_as_people_write_them(path):
    recipe = load_recipe(path, ["optim.lr=3e-5", "optim.betas=[0.9, 0.99]", "data.sources.1.weight=0.5"])
    assert recipe.optim.lr == 3e-5
    assert recipe.optim.mixed_precision == "no"
    assert recipe.optim.betas == (0.9, 0.99)
    assert recipe.data.sources[1].weight == 0.5
    assert recipe.objective.weights == {"x0": 1, "native": 0.1}


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optim.lrr=1", r"unknown key 'optim\.lrr' \(did you mean 'lr'\?\); allowed there: lr, betas"),
        ("optin.lr=1", r"unknown key 'optin' \(did you mean 'optim'\?\)"),
        ("optim.lr=abc", r"'optim\.lr' 'abc': input should be a valid number"),
        ("optim.lr=-1", r"'optim\.lr' -1: input should be greater than 0"),
        ("optim.lr=.nan", r"'optim\.lr'"),
        ("optim.schedule=cosin", r"'optim\.schedule' 'cosin'; allowed are 'constant', 'cosine' or 'linear'"),
        ("optim.accumulation=3", r"wrong at 'optim': batch_size 8 is not a multiple of accumulation 3"),
        ("objective.kind=denoize", r"'denoize', which does not exist; allowed are .*autoencode, denoise, "),
        ("objective.guide_droput=1", r"unknown key 'objective\.guide_droput' \(did you mean 'guide_dropout'\?\)"),
        ("objective.pixel={weight: 1, frame: 2}", r"'objective\.pixel\.frame' \(did you mean 'frames'\?\)"),
        ("objective.weighting=x1", r"objective\.weighting"),
        ("model.new={}", r"'model': give exactly one of base, new and student"),
        ("data.sources=[{kind: clip}]", r"'data\.sources\.0\.kind' 'clip'; allowed are 'synthetic', 'clips'"),
        ("data.sources=[{path: a}]", r"lacks the key 'data\.sources\.0\.kind'"),
        ("data.sources=[{kind: clips}]", r"lacks the key 'data\.sources\.0\.path'"),
        ("data.sources.1.spam=1", r"'data\.sources\.1\.spam' \(did you mean 'span'\?\); allowed there: kind, path"),
        ("data.sources.7.weight=1", r"cannot be placed at '7': give a number below 2"),
        ("name.first=1", r"cannot be placed at 'first': the key holds no further keys"),
        ("optim.lr", r"not of the form key=value"),
        ("optim.lr=[1", r"not valid YAML"),
    ],
)
def test_wrong_words_get_one_sentence(path, override, sentence):
    with pytest.raises(UsageError, match=sentence) as caught:
        load_recipe(path, [override])
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a", "holds no mapping"),
        ("a: [", "not valid YAML"),
        ("name: a\nname: b", "'name' occurs twice"),
        (TEXT.replace("name: small", ""), "lacks the key 'name'"),
        (TEXT.replace("kind: denoise, ", ""), r"lacks the key 'objective\.kind'"),
    ],
)
def test_broken_files_get_one_sentence(path, text, sentence):
    path.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        load_recipe(path)


def test_an_absent_recipe_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml cannot be read"):
        load_recipe(tmp_path / "none.yaml")


def test_the_resolved_recipe_reads_back_as_itself(path, tmp_path):
    recipe = load_recipe(path)
    write_recipe(tmp_path / "recipe.yaml", recipe, {"data": "abc"})
    again = load_recipe(tmp_path / "recipe.yaml")
    assert again.provenance == {"data": "abc"}
    assert changed_keys(recipe, again) == []
    assert again.objective == recipe.objective


def test_changes_that_make_another_run_are_named(path):
    before = load_recipe(path)
    after = load_recipe(
        path, ["optim.lr=1", "optim.steps=99", "objective.kind=denoise", "validation.every=3", "seed=4"]
    )
    assert changed_keys(before, after) == ["optim.lr", "seed"]


@pytest.mark.parametrize("recipe", sorted(RECIPES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_that_we_ship_is_valid(recipe):
    if "cluster" in recipe.parts:
        pytest.skip("settings for accelerate, not a recipe")
    load_recipe(recipe)
