"""`nakawari quantize` on a tiny saved model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import Result

from nakawari.media import read_image
from nakawari.variants import load
from tiny_models import mini_model

Cli = Callable[..., Result]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    mini_model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_one_precision(cli: Cli, model: Path, keys: list[Path], tmp_path: Path):
    result = cli("quantize", model, "--precision", "int8-dynamic", "-o", tmp_path / "q")
    assert result.exit_code == 0, result.output
    assert "83 layers int8-dynamic" in result.stdout and "written to" in result.stdout
    assert cli("interpolate", *keys[:2], "--model", tmp_path / "q", "--between", 1, "-o", tmp_path / "f").exit_code == 0
    assert cli("quantize", model, "-o", tmp_path / "i").exit_code == 0
    assert json.loads((tmp_path / "i" / "quantization.json").read_text())["precision"] == "int8"
    printed = cli("quantize", model, "--precision", "bf16", "-o", tmp_path / "b", "--json")
    assert json.loads(printed.stdout)["dtypes"]["unet"] == "bfloat16"


def test_nothing_that_exists_is_replaced(cli: Cli, model: Path, tmp_path: Path):
    mine = tmp_path / "mine"
    mine.mkdir()
    assert cli("quantize", model, "-o", mine).exit_code == 0  # an empty folder
    (tmp_path / "a.ckpt").write_bytes(b"a checkpoint")

    def listing() -> list[tuple[Path, bytes]]:
        return sorted((path, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file())

    before = listing()
    for words in (
        ("-o", mine),
        ("-o", model),
        ("-o", tmp_path),
        ("--plan", "--budget", "0.46x", "-o", mine),
        ("--precision", "fp16", "--export-checkpoint", "-o", tmp_path / "a.ckpt"),
    ):
        result = cli("quantize", model, *words)
        assert (result.exit_code, "exists already; give a new path or an empty folder" in result.stderr) == (2, True)
        assert listing() == before


def test_plan_and_what_is_made_of_it(cli: Cli, model: Path, tmp_path: Path):
    words = ("--clips", 1, "--times", 1, "--frames", 3, "--size", "16x16", "--candidates", "int4,int8")
    made = cli("quantize", model, "--plan", "--budget", "0.46x", *words, "-o", tmp_path / "plan")
    assert made.exit_code == 0, made.output
    assert "dB to the parent" in made.stdout
    plan = yaml.safe_load((tmp_path / "plan" / "plan.yaml").read_text())
    trials = plan["about"]["trials"]
    assert trials["int4"]["bytes"] < trials["plan"]["bytes"] < trials["int8"]["bytes"]
    assert trials["plan"]["psnr"] > trials["int4"]["psnr"]
    assert read_image(tmp_path / "plan" / "plan.png").shape[1] > 900
    layers = json.loads((tmp_path / "plan" / "sensitivity.json").read_text())["layers"]
    assert {layer["kind"] for layer in layers.values()} == {"linear", "conv"}
    assert all(layer["costs"]["int4"]["bytes"] > 0 for layer in layers.values())
    result = cli("quantize", model, "--plan-file", tmp_path / "plan" / "plan.yaml", "-o", tmp_path / "q", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["bytes"] == trials["plan"]["bytes"] and record["plan"]["precisions"] == plan["precisions"]
    assert {"int4", "int8"} == set(record["layers"])
    assert load(str(tmp_path / "q")).pipeline.unet.dtype.is_floating_point


def test_a_plan_from_clips(cli: Cli, model: Path, tmp_path: Path):
    for name in ("one", "two"):
        for index in range(10):
            draw_square(tmp_path / "clips" / name / f"{index:02}.png", index, 40 if name == "one" else 120)
    words = ("--clips", 2, "--times", 1, "--frames", 3, "--size", "16x16", "--candidates", "int4,int8")
    made = cli(
        "quantize",
        model,
        "--plan",
        "--budget",
        "0.46x",
        *words,
        "--calibrate",
        tmp_path / "clips",
        "-o",
        tmp_path / "p",
    )
    assert made.exit_code == 0, made.output
    about = yaml.safe_load((tmp_path / "p" / "plan.yaml").read_text())["about"]
    assert about["calibration"]["folder"] == "clips"
    few = cli(
        "quantize", model, "--plan", "--budget", "0.46x", "--clips", 3, "--calibrate", tmp_path / "clips", "-o", "p"
    )
    assert few.exit_code == 1 and "has 2 clips of 7 moving frames, not 3; lower --clips or --frames" in few.stderr


def draw_square(path: Path, place: int, shade: int) -> None:
    picture = np.full((16, 24, 3), 255, np.uint8)
    picture[4:12, place : place + 8] = shade
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--precision", "int8", "--plan"), "takes one of --precision, --plan-file and --plan"),
        (("--precision", "int5"), "'int5' is not a precision for --precision; give fp16, bf16, int8"),
        (("--precision", "int8", "--budget", "0.5x"), "need --plan"),
        (("--precision", "int8", "--calibrate", "clips"), "need --plan"),
        (("--precision", "int8", "--export-checkpoint"), "--export-checkpoint needs fp16 or bf16, not int8"),
        (("--precision", "fp16", "--export-checkpoint"), "this is a mini model; leave it out"),
        (("--plan", "--export-checkpoint"), "--export-checkpoint needs --precision fp16 or bf16"),
        (("--precision", "int8", "--parts", "all"), "--parts all needs fp16 or bf16"),
        (("--precision", "fp16", "--parts", "vae"), "give denoiser or all"),
        (("--plan",), "needs either --budget or --min-psnr-to-parent"),
        (("--plan", "--budget", "much"), "'much' is not a budget"),
        (("--plan", "--budget", "0.5x", "--candidates", "int4,int3"), "'int3' is not a precision for --candidates"),
        (("--plan", "--budget", "0.5x", "--size", "big"), "'big' is not a size"),
        (("--plan-file", "absent.yaml"), "The plan absent.yaml cannot be read"),
    ],
)
def test_wrong_words(cli: Cli, model: Path, tmp_path: Path, words: tuple[str, ...], sentence: str):
    result = cli("quantize", model, *words, "-o", tmp_path / "q")
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "q").exists()
