"""A model's turbo adapter and smaller student: `--fast`, and the demo with both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import Result

from nakawari.adapters import save_turbo
from nakawari.cli import demo
from nakawari.errors import NakawariError
from nakawari.evaluation.efficiency import variant_bytes
from nakawari.families.adapter_files import PEFT_WEIGHTS
from nakawari.media import read_frames, read_image
from nakawari.training.lora import ADAPTER, add_lora
from nakawari.training.objectives.params_parts import LoraParams
from nakawari.variants import MINI, SMALL, TURBO, faster, load, model_folder, parse
from tiny_models import mini_model

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def fast_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model for 3 steps, with an adapter for 1 step."""
    folder = tmp_path_factory.mktemp("models") / "fast"
    torch.manual_seed(0)  # half of the adapter is random
    pipeline = mini_model()
    pipeline.register_to_config(default_steps=3)
    pipeline.save_pretrained(folder)
    add_lora(pipeline, LoraParams(target="linear-and-convolution", rank=1))
    with torch.no_grad():
        for name, parameter in pipeline.unet.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.2)
    save_turbo(pipeline.unet, folder / TURBO, ADAPTER, steps=1)
    return folder


@pytest.fixture
def slow_model(tmp_path: Path) -> Path:
    mini_model().save_pretrained(tmp_path / "slow")
    return tmp_path / "slow"


def test_fast_is_the_models_own_adapter(cli: Cli, fast_model: Path, keys: list[Path], tmp_path: Path):
    def frames(name: str, model: Any, *words: Any) -> np.ndarray:
        drawn = cli("interpolate", *keys[:2], "-o", tmp_path / name, "--between", "1", "--model", model, *words)
        assert drawn.exit_code == 0, drawn.stderr
        return np.stack(read_frames(tmp_path / name))

    fast = frames("fast", fast_model, "--fast")
    assert np.array_equal(fast, frames("named", f"{fast_model}+turbo"))
    assert np.array_equal(fast, frames("given", fast_model, "--adapter", fast_model / TURBO))
    assert not np.array_equal(fast, frames("plain", fast_model))
    assert json.loads((tmp_path / "fast/interpolation.json").read_text())["model"] == f"{fast_model}+turbo"
    assert not np.array_equal(fast, frames("two-steps", fast_model, "--fast", "--steps", "2"))


def test_merged_it_is_a_model_for_few_steps(cli: Cli, fast_model: Path, tmp_path: Path):
    assert cli("merge", f"{fast_model}+turbo", "-o", tmp_path / "merged").exit_code == 0
    merged = load(str(tmp_path / "merged")).pipeline
    assert (merged.config.default_steps, merged.scheduler.config.sampler) == (1, "consistency")


def test_a_variant_knows_its_bases_own_adapter(fast_model: Path):
    spec = parse(f"{fast_model}+turbo@0.5:bf16")
    assert (spec.adapters[0].folder, spec.adapters[0].scale, spec.precision) == (fast_model / TURBO, 0.5, "bf16")
    assert parse("x+./turbo").adapters[0].folder == Path("turbo")
    assert load(f"{fast_model}+turbo").pipeline.config.default_steps == 1
    assert load(str(fast_model)).pipeline.config.default_steps == 3
    files = [file for file in (fast_model / TURBO).iterdir() if file.name != PEFT_WEIGHTS]  # the same once more
    adapter = sum(file.stat().st_size for file in files)
    assert variant_bytes(f"{fast_model}+turbo") == variant_bytes(str(fast_model)) + adapter


@pytest.fixture(scope="module")
def model_with_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model for 3 steps, with a student for 1 step in its folder."""
    folder = tmp_path_factory.mktemp("models") / "teacher"
    for place, steps in ((folder, 3), (folder / SMALL, 1)):
        pipeline = mini_model()
        pipeline.register_to_config(default_steps=steps)
        pipeline.save_pretrained(place)
    return folder


def test_fast_is_the_smaller_student_where_there_is_no_adapter(
    cli: Cli, model_with_student: Path, keys: list[Path], tmp_path: Path
):
    words = ("interpolate", *keys[:2], "-o", tmp_path / "out", "--between", "1", "--fast")
    assert cli(*words, "--model", model_with_student).exit_code == 0
    assert json.loads((tmp_path / "out/interpolation.json").read_text())["model"] == str(model_with_student / SMALL)
    assert faster(f"{model_with_student}:bf16") == f"{model_with_student / SMALL}:bf16"
    student, alone = (variant_bytes(str(folder)) for folder in (model_with_student / SMALL, model_with_student))
    assert student < alone + 1000 and alone < student + 1000  # neither counts the other


def test_a_smaller_student_takes_no_adapters_of_its_teacher(model_with_student: Path):
    with pytest.raises(NakawariError, match=r"does not fit some@0\.5"):
        faster(f"{model_with_student}+some@0.5")


def test_mini_ships_with_its_student():
    assert faster("mini") == "mini/small"
    student, teacher = (load(name).pipeline for name in ("mini/small", "mini"))
    small, whole = (sum(p.numel() for p in pipeline.unet.parameters()) for pipeline in (student, teacher))
    assert small < 0.4 * whole
    assert variant_bytes("mini/small") < 5e6
    for name, value in teacher.vae.state_dict().items():
        assert torch.equal(value, student.vae.state_dict()[name])


def test_a_folder_of_ones_own_may_be_called_mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mini_model().save_pretrained(tmp_path / "mini" / "tuned")
    monkeypatch.chdir(tmp_path)
    assert model_folder("mini/tuned") == Path("mini/tuned")
    assert model_folder("mini/small") == MINI / SMALL


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("slow", "has neither a turbo adapter nor a smaller student; draw without --fast"),
        ("nowhere", "is not a model"),
    ],
)
def test_fast_without_an_adapter_is_one_sentence(
    cli: Cli, slow_model: Path, keys: list[Path], tmp_path: Path, model: str, sentence: str
):
    result = cli("interpolate", *keys[:2], "-o", tmp_path / "out", "--model", tmp_path / model, "--fast")
    assert result.exit_code == 1 and sentence in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture
def drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three key drawings of 32 x 24 in place of the bundled ones."""
    folder = tmp_path / "drawings"
    folder.mkdir()
    for number in range(3):
        picture = np.full((24, 32, 3), 220, np.uint8)
        picture[6:14, 6 * number : 6 * number + 8] = (200, 40, 60)
        Image.fromarray(picture).save(folder / f"{number}.png")
    monkeypatch.setattr(demo, "EXAMPLES", folder)
    return folder


def test_the_demo_sets_teacher_and_student_side_by_side(cli: Cli, fast_model: Path, drawings: Path, tmp_path: Path):
    out = tmp_path / "demo"
    for _ in range(2):  # a second run replaces the first
        result = cli("demo", "-o", out, "--model", fast_model, "--between", 2)
        assert result.exit_code == 0, result.stderr
    # Two gaps, one clip each: three steps of the teacher, one of the student.
    teacher, student = (line for line in result.stdout.splitlines() if "in-betweens in" in line)
    assert f"{fast_model}: 4 in-betweens in" in teacher and teacher.endswith(" 6 evaluations")
    assert f"{fast_model}+turbo: 4 in-betweens in" in student and student.endswith(" 2 evaluations")
    assert "times as fast" in result.stdout
    film = read_frames(out / "side-by-side.gif")
    assert len(film) == 7 and film[0].shape == (24, 2 * 32 + 8, 3)
    assert read_image(out / "side-by-side.png").shape[1] > 7 * 32
    assert len(read_frames(out / "in-betweens.gif")) == 7


def test_the_demo_replaces_no_files_of_others(cli: Cli, fast_model: Path, drawings: Path, tmp_path: Path):
    out = tmp_path / "demo"
    out.mkdir()
    (out / "0001.png").write_bytes(b"a drawing of mine")
    result = cli("demo", "-o", out, "--model", fast_model, "--between", 1)
    assert (result.exit_code, "holds other files (0001.png)" in result.stderr) == (2, True)
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("0001.png", b"a drawing of mine")]


def test_the_demo_of_a_model_without_a_student_says_so(cli: Cli, slow_model: Path, drawings: Path, tmp_path: Path):
    out = tmp_path / "demo"
    out.mkdir()
    (out / "side-by-side.png").write_bytes(b"of a model that was here before")
    result = cli("demo", "-o", out, "--model", slow_model, "--between", 1)
    assert result.exit_code == 0, result.stderr
    assert "no few-step adapter and no smaller student" in result.stdout
    assert len(read_frames(out / "in-betweens.gif")) == 5
    assert not list(out.glob("side-by-side.*"))
