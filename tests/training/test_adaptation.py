"""The recipe that `nakawari adapt --data` makes of a few words."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nakawari.cli.adapt import command, size_of
from nakawari.errors import NakawariError
from nakawari.training.adaptation import Words, make_recipe
from nakawari.training.recipe import Recipe, load_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "adapt" / "show.yaml"


def words(data: Path, model: str = "mini") -> Words:
    """What the command line gives without options."""
    given = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    return Words(
        model, data, given["target"], given["rank"], given["steps"], given["batch"], given["learning_rate"],
        given["frames"], size_of(given["size"]), given["seed"], given["decoder_rank"], given["windows"],
    )  # fmt: skip


def plain(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def test_the_recipe_that_ships_is_what_the_command_does(tmp_path: Path):
    (tmp_path / "show").mkdir()
    assert '= "128x96"' in inspect.getsource(command)
    changes = ["optim.mixed_precision=bf16", "objective.sampling.steps=1"]
    made = plain(make_recipe(words(tmp_path / "show"), changes))
    shipped = plain(load_recipe(RECIPE, [f"data.sources.0.path={tmp_path / 'show'}"]))
    assert made == shipped


@pytest.mark.parametrize(("said", "share"), [({"default_steps": 1}, 0.9), ({"default_steps": 25}, 0.04), ({}, 0.0)])
def test_the_noisiest_time_is_trained_as_often_as_it_is_sampled(tmp_path: Path, said: dict[str, int], share: float):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "ToonCrafterPipeline"} | said))
    made = make_recipe(words(tmp_path, str(tmp_path)), [])
    assert made.objective.last_time_share == share


def test_a_model_that_is_not_there(tmp_path: Path):
    with pytest.raises(NakawariError, match="'absent' is not a model"):
        make_recipe(words(tmp_path, "absent"), [])


def test_guides_are_made_once_where_there_is_one_and_the_data_are_clips(tmp_path: Path):
    show = tmp_path / "show"
    show.mkdir()
    with_guide = make_recipe(words(show), []).data
    assert with_guide.windows is not None and with_guide.frames == [5]
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "model_index.json").write_text(json.dumps({"_class_name": "ToonCrafterPipeline", "guide": [None, None]}))
    assert make_recipe(words(show, str(plain)), []).data.windows is None
    for name in ("frame1", "frame2", "frame3"):
        folder = tmp_path / "triplets" / "train" / "a"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16)).save(folder / f"{name}.png")
    triplets = make_recipe(words(tmp_path / "triplets"), []).data
    assert triplets.windows is None and triplets.frames == [3]
