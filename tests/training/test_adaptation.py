"""The recipe that `nakawari adapt --data` makes from its options."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nakawari.cli.adapt import command, size_of
from nakawari.errors import NakawariError, NakawariWarning
from nakawari.training.adaptation import Words, make_recipe
from nakawari.training.data_files import DataFiles
from nakawari.training.defaults import defaults_of
from nakawari.training.recipe import Recipe, load_recipe
from nakawari.variants import load

RECIPE = Path(__file__).parents[2] / "recipes" / "adapt" / "show.yaml"


def words(data: Path, model: str = "mini") -> Words:
    """The command line's default options."""
    given = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    return Words(
        model, data, given["target"], given["rank"], given["steps"], given["batch"], given["learning_rate"],
        given["frames"], size_of(given["size"]), given["seed"], given["decoder_rank"], given["windows"],
    )  # fmt: skip


def published(folder: Path, family: str, frames: int) -> Path:
    """A folder with the configuration of a converted full-size model; its weights are only a header."""
    parts = {name: ["x", "y"] for name in ("image_encoder", "vae")}
    index = {"_class_name": f"{family}Pipeline", "max_frames": frames, "default_steps": 50, **parts}
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(index | {"unet": ["x", "y"]}))
    header = json.dumps({"all": {"dtype": "F16", "shape": [1_400_000_000], "data_offsets": [0, 0]}}).encode()
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    return folder


def write_clips(folder: Path, count: int, frames: int = 8) -> Path:
    """Clips named clip000, clip001, ... of a moving square."""
    for clip in range(count):
        (folder / f"clip{clip:03d}").mkdir(parents=True)
        for number in range(frames):
            picture = Image.new("RGB", (48, 40), "white")
            picture.paste((200, 40, 10 * clip), (4 * number, 10, 4 * number + 10, 22))
            picture.save(folder / f"clip{clip:03d}" / f"frame{number}.png")
    return folder


def plain(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def test_the_recipe_that_ships_is_what_the_command_does(tmp_path: Path):
    write_clips(tmp_path / "show", 5)
    changes = ["optim.mixed_precision=bf16", "data.sources.0.held_out=0.1"]
    made = plain(make_recipe(words(tmp_path / "show"), changes))
    shipped = plain(load_recipe(RECIPE, [f"data.sources.0.path={tmp_path / 'show'}"]))
    assert made == shipped


@pytest.mark.parametrize(("said", "share"), [({"default_steps": 1}, 0.9), ({"default_steps": 25}, 0.04), ({}, 0.0)])
def test_the_noisiest_time_is_trained_as_often_as_it_is_sampled(tmp_path: Path, said: dict[str, int], share: float):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "ToonCrafterPipeline"} | said))
    made = make_recipe(words(write_clips(tmp_path / "show", 1), str(tmp_path)), [])
    assert made.objective.last_time_share == share


def test_a_model_that_is_not_there(tmp_path: Path):
    with pytest.raises(NakawariError, match="'absent' is not a model"):
        make_recipe(words(write_clips(tmp_path, 1), "absent"), [])


def test_guides_are_made_once_where_there_is_one_and_the_data_are_clips(tmp_path: Path):
    show = write_clips(tmp_path / "show", 1, frames=12)
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


@pytest.mark.parametrize(("clips", "held_out"), [(1, 1), (3, 1), (4, 1), (10, 1), (30, 3)])
def test_about_a_tenth_is_held_out_and_validated_on(tmp_path: Path, clips: int, held_out: int):
    made = make_recipe(words(write_clips(tmp_path / "show", clips, frames=12)), ["data.windows=null"])
    assert made.validation.samples == 8
    files = DataFiles(made.data)
    train, validation = files.clips(0, "train"), files.clips(0, "validation")
    assert len(validation) == held_out
    if clips < 4:  # the end of one clip
        assert (len(validation[0].frames), min(len(clip.frames) for clip in train)) == (5, 7)
        assert not np.array_equal(validation[0].frames[0], train[0].frames[-1])
    else:
        assert len(train) == clips - held_out and not {c.name for c in train} & {c.name for c in validation}


@pytest.mark.parametrize(("family", "leaves_out"), [("Mini", True), ("ToonCrafter", False), ("Framer", False)])
def test_keys_count_where_the_network_draws_them_too(tmp_path: Path, family: str, leaves_out: bool):
    """The keys' latents are sampled like the others; only mini keeps them fixed."""
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": f"{family}Pipeline"}))
    made = make_recipe(words(write_clips(tmp_path / "show", 1), str(tmp_path)), [])
    assert made.objective.inner_only is leaves_out


@pytest.mark.parametrize(("changes", "rank"), [([], 8), (["objective.pixel=null"], 0)])
def test_a_small_tooncrafters_decoder_learns_where_frames_teach_it(tmp_path: Path, changes: list[str], rank: int):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "ToonCrafterPipeline"}))
    made = make_recipe(words(write_clips(tmp_path / "show", 1), str(tmp_path)), changes)
    assert made.objective.lora.decoder_rank == rank


def test_too_little_to_hold_any_out_is_said(tmp_path: Path):
    with pytest.warns(NakawariWarning, match="there is no validation, and best/ holds the last weights"):
        made = make_recipe(words(write_clips(tmp_path / "show", 1, frames=6)), [])
    assert (made.validation.samples, made.data.sources[0].held_out) == (0, 0.0)
    write_clips(tmp_path / "parts" / "train", 1, frames=6)
    write_clips(tmp_path / "parts" / "val", 1, frames=6)
    assert make_recipe(words(tmp_path / "parts"), []).validation.samples == 8


def test_every_family_has_a_default_of_its_own(tmp_path: Path):
    show = write_clips(tmp_path / "show", 5)
    for model, target, size in (("mini", "linear-and-convolution", (96, 128)), ("framer-tiny", ".*", (80, 96))):
        made = make_recipe(words(show, model), [])
        assert (made.objective.lora.target, made.data.size) == (target, size)
        assert made.objective.lora.decoder_rank == 0  # their decoders take no adapter
        assert load(model).pipeline.lora_layers(target)
    assert made.data.frames == [3] and made.objective.image_dropout == 0  # the tiny Framer's three frames


@pytest.mark.parametrize(
    ("family", "frames", "target", "weighting"),
    [
        ("ToonCrafter", 16, "spatial-cross-attention", "native"),
        ("Framer", 14, "attention+feed-forward", "native"),
    ],
)
def test_a_published_model_is_adapted_as_it_was_trained(
    tmp_path: Path, family: str, frames: int, target: str, weighting: str
):
    model, show = published(tmp_path / "model", family, frames), write_clips(tmp_path / "show", 5, frames=40)
    made = make_recipe(words(show, str(model)), [])
    objective, optim = made.objective, made.optim
    assert (made.data.size, made.data.frames, made.data.distinct) == ((320, 512), [frames], 256)
    assert made.data.sources[0].span[0] == frames - 1
    assert (objective.lora.target, objective.weighting, objective.pixel) == (target, weighting, None)
    assert (optim.lr, optim.batch_size, optim.steps) == (1e-4, 4, 1000)
    # How it fits is for `fitting` to choose.
    assert (objective.base_dtype, objective.gradient_checkpointing, optim.accumulation) == ("fp32", False, 1)
    assert made.validation.samples == 4
    square = make_recipe(replace(words(show, str(model)), size=(576, 576), rank=8, batch_size=3), [])
    assert (square.data.size, square.objective.lora.rank) == ((576, 576), 8)
    assert square.data.distinct % 3 == 0


def test_validation_leaves_pictures_at_the_end(tmp_path: Path):
    made = make_recipe(words(write_clips(tmp_path / "show", 5)), [])
    assert made.log.samples_every == made.optim.steps


def test_a_plan_of_precisions_is_measured_on_what_the_model_draws(tmp_path: Path):
    assert defaults_of("mini").measured == (4, 4, (64, 96))
    assert defaults_of("framer-tiny").measured == (4, 3, (80, 96))
    assert defaults_of(str(published(tmp_path / "framer", "Framer", 14))).measured == (2, 14, (320, 512))
    assert defaults_of(str(published(tmp_path / "tooncrafter", "ToonCrafter", 16))).measured == (2, 16, (320, 512))
