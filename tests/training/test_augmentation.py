"""Augmentation is off unless the recipe enables it: no mirroring, colour changes or reversed time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import Result

from nakawari.data.augmentation import ALL, NONE
from nakawari.errors import UsageError
from nakawari.guide.motion import MotionGuide
from nakawari.media import read_rgb
from nakawari.training.adaptation import Words, make_recipe
from nakawari.training.data_params import AugmentParams
from nakawari.training.data_sources import training_samples
from nakawari.training.recipe import Recipe
from tiny_models import mini_model

Cli = Callable[..., Result]
KINDS = ("mirror", "flip", "reverse", "channels", "inversion")


@pytest.fixture
def show(tmp_path: Path) -> Path:
    """Five clips in which red increases to the right, green downwards, and blue with time, in separate ranges."""
    y, x = np.mgrid[0:48, 0:64]
    for clip in range(5):
        folder = tmp_path / "show" / f"clip{clip}"
        folder.mkdir(parents=True)
        for number in range(12):
            picture = np.stack([x, 70 + y, np.full_like(x, 130 + 8 * number)], -1).astype(np.uint8)
            Image.fromarray(picture).save(folder / f"frame{number:02d}.png")
    return tmp_path / "show"


def recipe(show: Path, *changes: str, windows: int = 0) -> Recipe:
    words = Words("mini", show, None, 2, 2, 2, 1e-3, 3, (32, 32), windows=windows)
    cache = f"data.cache={show.parent / 'cache'}"
    size = ["data.windows.size=[40,48]"] if windows else []
    return make_recipe(words, [cache, *size, *changes])


def kinds_seen(frames: Tensor) -> set[str]:
    """The `KINDS` applied to a sample of `show`."""
    pictures = (frames + 1) * 127.5
    means = pictures.mean((0, 2, 3))
    if any(not low <= mean <= high for mean, low, high in zip(means, (0, 70, 130), (64, 118, 226), strict=True)):
        return {"channels", "inversion"}
    middle = pictures[1]
    found = {
        "mirror": middle[0, :, -1].mean() < middle[0, :, 0].mean(),
        "flip": middle[1, -1].mean() < middle[1, 0].mean(),
        "reverse": pictures[-1, 2].mean() < pictures[0, 2].mean(),
    }
    return {name for name, done in found.items() if done}


@pytest.mark.parametrize("windows", [0, 6])
def test_an_adapter_sees_footage_as_it_is(show: Path, windows: int):
    stream = training_samples(recipe(show, windows=windows), MotionGuide())
    assert set().union(*(kinds_seen(stream.sample(index)["frames"]) for index in range(24))) == set()


@pytest.mark.parametrize("windows", [0, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_key_of_its_own(show: Path, kind: str, windows: int):
    stream = training_samples(recipe(show, f"data.augment.{kind}=1", windows=windows), MotionGuide())
    seen = [kinds_seen(stream.sample(index)["frames"]) for index in range(12)]
    colours = {"channels", "inversion"}
    if kind in colours:  # a random order of three is the old one in one case of six
        assert colours in seen and all(found in (set(), colours) for found in seen)
    else:
        assert seen == [{kind}] * 12


def test_a_share_of_the_samples_is_changed(show: Path):
    stream = training_samples(recipe(show, "data.augment.mirror=0.5"))
    mirrored = sum(kinds_seen(stream.sample(index)["frames"]) == {"mirror"} for index in range(60))
    assert 18 <= mirrored <= 42


def test_what_earlier_recipes_say_means_what_it_meant():
    assert AugmentParams.model_validate(True).shares() == ALL
    none = AugmentParams.model_validate(False)
    assert none.shares() == NONE and not none.crop
    assert AugmentParams.model_validate(True).model_dump() is True and none.model_dump() is False
    mirror = AugmentParams(mirror=0.5)
    assert AugmentParams.model_validate(mirror.model_dump()) == mirror
    with pytest.raises(UsageError, match=r"unknown key .data\.augment\.mirrors"):
        recipe(Path("show"), "data.augment.mirrors=1")


def test_crops_are_random_unless_told_otherwise(show: Path):
    def first(*changes: str) -> list[Tensor]:
        stream = training_samples(recipe(show, "data.sources.0.span=[2,2]", *changes))
        return [stream.sample(index)["frames"][0, 0, 0] for index in range(4)]

    centred = first("data.augment.crop=false")
    assert all(torch.equal(row, centred[0]) for row in centred)
    assert not all(torch.equal(row, centred[0]) for row in first())


def test_the_sheet_shows_what_training_sees(cli: Cli, show: Path, tmp_path: Path):
    mini_model().save_pretrained(tmp_path / "base")
    words: list[Any] = ["--data", show, "--model", tmp_path / "base", "--size", "32x32", "--frames", "3"]
    words += ["--windows", "0", "--set", f"data.cache={tmp_path / 'cache'}"]
    result = cli("adapt", *words, "--show-data", tmp_path / "plain.png")
    assert result.exit_code == 0, result.stderr
    assert "3 frames of 32x32, random crops; changed: none" in result.stdout
    inverted = cli("adapt", *words, "--set", "data.augment.inversion=1", "--show-data", tmp_path / "inverted.png")
    assert "changed: inversion 100%" in inverted.stdout
    plain, other = (read_rgb(tmp_path / name).astype(int) for name in ("plain.png", "inverted.png"))
    assert plain.shape == other.shape
    different = (plain != other).any(-1)
    assert different.mean() > 0.1  # the pictures; paper, ink and borders are the same
    np.testing.assert_array_equal(plain[different] + other[different], 255)
    assert not (tmp_path / "runs").exists()
