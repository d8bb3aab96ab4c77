"""Training reads the train split, validation the val split, and the test split is never opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nakawari.errors import UsageError
from nakawari.training.adaptation import source_of
from nakawari.training.data_sources import held_out_samples, training_samples
from nakawari.training.recipe import Recipe, parse_recipe

LAYOUTS = {
    "atd12k": ("train_10k", "test_2k_540p", None),
    "splits": ("train", "test", "val"),
    "two-parts": ("train", "test", None),
}


def write_clip(folder: Path, frames: int, level: int = 0) -> None:
    folder.mkdir(parents=True)
    for number in range(frames):
        picture = np.full((16, 24, 3), level + 10 * number, np.uint8)
        Image.fromarray(picture).save(folder / f"frame{number + 1}.png")


def data_set(root: Path, layout: str, frames: int) -> Path:
    """A data set with folders named by split."""
    train, test, val = LAYOUTS[layout]
    for part, count, folder in (("train", 12, train), ("test", 12, test), ("val", 3, val)):
        for number in range(count if folder else 0):
            write_clip(root / folder / f"{part}{number}_film_{number:03d}", frames)
    return root


def recipe(source: dict[str, Any], samples: int = 8) -> Recipe:
    return parse_recipe(
        {
            "name": "data",
            "model": {"base": "mini"},
            "objective": {"kind": "denoise"},
            "data": {"sources": [source], "size": [16, 24], "frames": [3]},
            "optim": {"lr": 1e-3, "steps": 1, "batch_size": 2},
            "validation": {"samples": samples},
        }
    )


def names(samples: Any, count: int = 50) -> list[str]:
    return [samples.sample(index)["name"].rpartition("/")[2] for index in range(count)]


@pytest.mark.parametrize("frames", [3, 7], ids=["triplets", "clips"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_fifty_training_samples_are_of_the_training_part(tmp_path: Path, layout: str, frames: int):
    source = source_of(data_set(tmp_path, layout, frames), (6, 24)) | {"held_out": 0.3}
    assert source["kind"] == ("triplets" if frames == 3 else "clips")
    drawn = names(training_samples(recipe(source)))
    assert {name[:5] for name in drawn} == {"train"}
    held_out = [sample["name"].rpartition("/")[2] for sample in held_out_samples(recipe(source))]
    assert {name[:3] for name in held_out} == {"val" if LAYOUTS[layout][2] else "tra"}
    assert not set(held_out) & set(drawn)


def test_the_test_part_is_refused_by_name(tmp_path: Path):
    root = data_set(tmp_path, "atd12k", 3)
    with pytest.raises(UsageError, match=r"split' 'test'; allowed are 'train' or 'val'"):
        recipe({"kind": "triplets", "path": str(root), "split": "test"})
    for kind in ("triplets", "clips"):
        source = {"kind": kind, "path": str(root / "test_2k_540p")}
        with pytest.raises(UsageError, match=r"test_2k_540p is for testing, which training never reads"):
            training_samples(recipe(source))


def test_a_data_set_with_nothing_but_tests_is_refused(tmp_path: Path):
    write_clip(tmp_path / "test" / "a", 3)
    for kind in ("triplets", "clips"):
        with pytest.raises(UsageError, match="has nothing to train on"):
            training_samples(recipe({"kind": kind, "path": str(tmp_path)}))
