"""Fingerprints of training images beside the weights, and evaluation on training data marked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from nakawari import trained_on
from tiny_models import mini_model

Cli = Callable[..., Result]
QUICK = ["--steps", "1", "--batch", "2", "--size", "32x32", "--rank", "2", "--set", "optim.mixed_precision=no"]
COST = ["--no-floors", "--no-cost"]
SMALL = "name: small\nwidth: 32\nheight: 32\nfit: pad\nmetrics: [psnr]\n"


def write_triplets(folder: Path, names: list[str], seed: int) -> None:
    random = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in (1, 2, 3):
            picture = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / name / f"frame{number}.png")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """An adapter `run` trained on `data/train`; `data/test` was held out."""
    folder = tmp_path_factory.mktemp("trained-on")
    mini_model().save_pretrained(folder / "base")
    (folder / "small.yaml").write_text(SMALL)
    write_triplets(folder / "data" / "train", [f"film{n}_a" for n in range(4)], seed=0)
    write_triplets(folder / "data" / "test", ["new1", "new2"], seed=1)
    words: list[Any] = ["adapt", "--data", folder / "data", "--model", folder / "base", *QUICK]
    trained = cli(*words, "-o", folder / "run")
    assert trained.exit_code == 0, trained.stderr
    return folder


def evaluated(cli: Cli, work: Path, variant: str, data: Path) -> tuple[str, dict[str, Any]]:
    out = work / f"out-{len(list(work.iterdir()))}"
    result = cli("evaluate", variant, "--data", data, "-o", out, *COST, "--protocol", work / "small.yaml")
    assert result.exit_code == 0, result.stderr
    return result.stderr, json.loads((out / "aggregates.json").read_text())["entries"][0]


def test_scores_on_what_was_trained_on_are_marked(cli: Cli, work: Path):
    variant = f"{work / 'base'}+{work / 'run'}"
    said, entry = evaluated(cli, work, variant, work / "data" / "train")
    assert "was trained on 4 of these 4 samples, such as film0_a: its scores say nothing about new drawings" in said
    assert entry["seen_in_training"] == [f"film{n}_a" for n in range(4)]
    shutil.copytree(work / "data" / "train" / "film2_a", work / "elsewhere" / "another-name")
    said, entry = evaluated(cli, work, variant, work / "elsewhere")
    assert entry["seen_in_training"] == ["another-name"]


def test_data_that_were_kept_out_are_not(cli: Cli, work: Path):
    said, entry = evaluated(cli, work, f"{work / 'base'}+{work / 'run'}", work / "data")
    assert "trained on" not in said and entry["seen_in_training"] == []
    said, _ = evaluated(cli, work, str(work / "base"), work / "data" / "train")
    assert "trained on" not in said


def test_a_merged_model_and_a_run_on_top_of_it_remember(cli: Cli, work: Path):
    merged = cli("merge", f"{work / 'base'}+{work / 'run'}@0.5", "-o", work / "merged")
    assert merged.exit_code == 0, merged.stderr
    seen = trained_on.of_variant(str(work / "merged"))
    assert seen == trained_on.of_folder(work / "run") and len(seen) == 12
    write_triplets(work / "more", [f"film{n}_b" for n in range(4)], seed=2)
    words: list[Any] = ["adapt", "--data", work / "more", "--model", work / "merged", *QUICK]
    assert cli(*words, "-o", work / "again").exit_code == 0
    assert trained_on.of_folder(work / "again") > seen
