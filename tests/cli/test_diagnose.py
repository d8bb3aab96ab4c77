"""`nakawari diagnose` on a tiny saved model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import Result

from diagnosis.oracle import TINY
from nakawari import families
from nakawari.media import read_image

Cli = Callable[..., Result]
FILES = Path(__file__).parents[1] / "data_files"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """`good`, and `bad` with the output of the last layer scaled by 4."""
    torch.manual_seed(0)
    pipeline = families.build(TINY)
    torch.nn.init.normal_(pipeline.unet.out[-1].weight, std=0.1)
    pipeline.save_pretrained(tmp_path / "good")
    pipeline.unet.out[-1].weight.data *= 4
    pipeline.unet.out[-1].bias.data *= 4
    pipeline.save_pretrained(tmp_path / "bad")
    return tmp_path


def test_latents_of_a_healthy_and_a_broken_model(cli: Cli, models: Path, keys: list[Path]):
    words = ("--parent", models / "good", "--frames", 3, "--steps", 4, "-o", models / "out")
    good = cli("diagnose", "latents", f"{models / 'good'}:fp32", *keys[:2], *words)
    assert good.exit_code == 0, good.output
    assert "No collapse, no explosion." in good.stdout
    bad = cli("diagnose", "latents", models / "bad", *keys[:2], *words, "--json")
    assert bad.exit_code == 1 and bad.stderr == ""
    record = json.loads(bad.stdout)
    assert record["findings"][0]["kind"] == "explosion" and record["findings"][0]["step"] == 1
    assert record["mixture"]["own"] == pytest.approx(4, rel=1e-3)
    assert json.loads((models / "out" / "latents.json").read_text()) == record
    assert read_image(models / "out" / "latents.png").shape[1] > 1000


def test_latents_on_data_and_wrong_words(cli: Cli, models: Path, keys: list[Path], tmp_path: Path):
    clip = tmp_path / "data" / "one"
    clip.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((16, 24, 3), 60 * number, np.uint8)).save(clip / f"frame{number + 1}.png")
    words = ("diagnose", "latents", models / "good", "-o", tmp_path / "out")
    with_data = cli(*words, "--data", tmp_path / "data", "--parent", models / "good", "--steps", 4)
    assert with_data.exit_code == 0, with_data.output
    assert cli(*words).exit_code == 2
    assert cli(*words, keys[0]).exit_code == 2
    alone = cli(*words, *keys[:2])
    assert alone.exit_code == 1 and "give a parent" in alone.stderr


def test_log(cli: Cli, tmp_path: Path):
    shutil.copy(FILES / "never_left_warm_up.log", tmp_path / "run.log")
    result = cli("diagnose", "log", tmp_path / "run.log")
    assert result.exit_code == 0, result.output
    for word in ("never left its warm-up", "Gradient Accumulation steps", "3,385,344 of 1,442,240,324 (0.2347 %)"):
        assert word in result.stdout
    assert read_image(tmp_path / "run.log.png").shape[1] > 1000
    record = json.loads(cli("diagnose", "log", FILES / "healthy.log", "-o", tmp_path / "h.png", "--json").stdout)
    assert record["warnings"] == []
    wrong = cli("diagnose", "log", FILES / "healthy.log", "-o", tmp_path / "curves")
    assert wrong.exit_code == 2 and "curves is not a picture; give a name that ends in .png" in wrong.stderr


def test_variant(cli: Cli, models: Path):
    result = cli("diagnose", "variant", models / "good")
    assert result.exit_code == 0, result.output
    assert "ToonCrafterUNet" in result.stdout and "float32" in result.stdout
    record = json.loads(cli("diagnose", "variant", f"{models / 'good'}:fp16", "--json").stdout)
    assert {kind for part in record["parts"] for kind in part["dtypes"]} == {"float16"}
