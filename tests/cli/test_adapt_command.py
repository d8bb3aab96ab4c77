"""`nakawari adapt` on a tiny model and real images, and the adapter in `nakawari interpolate`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import Result

from nakawari.families.adapter_files import WEIGHTS
from nakawari.families.adapting import save_adapter
from nakawari.media import read_frames
from nakawari.training.lora import add_lora
from nakawari.training.objectives.params_parts import LoraParams
from tiny_models import mini_model

Cli = Callable[..., Result]
QUICK = ["--steps", "2", "--batch", "2", "--size", "32x32", "--rank", "2", "--lr", "0.05", "--set", "optim.ema=0"]
QUICK += ["--frames", "3", "--windows", "0", "--set", "validation.samples=2"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    mini_model().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_an_adapter_is_trained_and_drawn_with(cli: Cli, base: Path, show: Path, keys: list[Path], tmp_path: Path):
    run = tmp_path / "run"
    result = cli("adapt", "--data", show, "--model", base, *QUICK, "-o", run)
    assert result.exit_code == 0, result.stderr
    assert "finished at step 2" in result.stdout
    files = ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    files += ["pytorch_lora_weights.safetensors", "trained_on.json"]
    assert sorted(path.name for path in (run / "best").iterdir()) == files
    saved = yaml.safe_load((run / "recipe.yaml").read_text())
    _, head, card = (run / "best" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["base_model"] == str(base)
    assert f"`{saved['provenance']['data']}`" in card
    best = json.loads((run / "summary.json").read_text())["best"]
    assert f"| {saved['validation']['metric']} | {best['score']:.6g} |" in card and f"| {best['step']:,} of 2" in card
    recipe = yaml.safe_load(card.partition("```yaml\n")[2].partition("```")[0])
    assert recipe == {key: value for key, value in saved.items() if key != "provenance"}
    assert (saved["objective"]["kind"], saved["objective"]["lora"]["rank"]) == ("adapt", 2)

    def frames(name: str, *words: Any) -> np.ndarray:
        drawn = cli("interpolate", *keys[:2], "-o", tmp_path / name, "--between", "1", "--model", base, *words)
        assert drawn.exit_code == 0, drawn.stderr
        return np.stack(read_frames(tmp_path / name))

    plain, adapted = frames("plain"), frames("adapted", "--adapter", f"{run}@0.7")
    assert np.array_equal(frames("off", "--adapter", f"{run}@0"), plain)
    assert not np.array_equal(adapted, plain)
    merged = cli("merge", f"{base}+{run}@0.7", "-o", tmp_path / "merged")
    assert merged.exit_code == 0, merged.stderr
    drawn = frames("merged-drawn", "--model", tmp_path / "merged")
    assert np.abs(drawn.astype(int) - adapted).max() <= 1
    assert cli("merge", base, "-o", tmp_path / "again").exit_code == 2


def test_a_plan_is_printed_before_anything_runs(cli: Cli, base: Path, show: Path, tmp_path: Path):
    result = cli("adapt", "--data", show, "--model", base, *QUICK, "-o", tmp_path / "run", "--plan")
    assert result.exit_code == 0, result.stderr
    assert "parameters of the denoiser (" in result.stdout and "2 steps of " in result.stdout
    assert ", loss on noise and decoded frames, " in result.stdout
    for part in ("unet", "vae", "trained weights", "gradients", "optimizer", "activations", "all"):
        assert f"  {part} " in result.stdout
    assert not (tmp_path / "run").exists()
    asked = cli("adapt", "--data", show, "--model", base, *QUICK, "--plan", "--json")
    assert json.loads(asked.stdout)["steps"] == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "needs either a RECIPE or --data FOLDER"),
        (["a.yaml", "--data", "show"], "needs either a RECIPE or --data FOLDER"),
        (["a.yaml"], "a.yaml cannot be read"),
        (["--data", "absent"], "The data folder absent does not exist"),
        (["--data", "show", "--size", "big"], "'big' is not a size; give --size WIDTHxHEIGHT"),
        (["--data", "show", "--target", "attn9"], "'attn9' matches no layer of this mini denoiser; give a preset"),
        (
            ["--data", "show", "--set", "objective.lora.rnk=4"],
            "unknown key 'objective.lora.rnk' (did you mean 'rank'?)",
        ),
        (["--data", "empty"], "holds no clips; put videos"),
        (
            ["--data", "pairs"],
            "pairs holds pairs (<name>_start, <name>_end) and no clips: the frames between",
        ),
        (["--data", "show", "--frames", "20"], "No clip has 20 frames (the longest has 12)"),
        (["--data", "named"], "named/captions.csv names 1 missing clips, such as gone; correct the names"),
        (
            ["--data", "show", "--set", "objective.pixel.perceptual=lpips-vgg"],
            "LPIPS needs the packages lpips and torchvision; install them, or use the bundled st-lpips.",
        ),
    ],
)
def test_wrong_words_get_one_sentence(
    cli: Cli, base: Path, show: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    shutil.copytree(show, tmp_path / "named")
    (tmp_path / "named" / "captions.csv").write_text("name,caption\nclip,a square\ngone,a ghost\n")
    (tmp_path / "pairs" / "cut1").mkdir(parents=True)
    for role in ("start", "end"):
        shutil.copy(show / "clip" / "frame00.png", tmp_path / "pairs" / "cut1" / f"a_{role}.png")
    for package in ("lpips", "torchvision"):
        monkeypatch.setitem(sys.modules, package, None)
    result = cli("adapt", *words, "--model", "base", "-o", "run", "--set", "optim.steps=1")
    assert result.exit_code in (1, 2)
    assert sentence in result.stderr and result.stderr.count("\n") == 1


def test_a_recipe_of_another_kind_is_refused(cli: Cli, tmp_path: Path):
    recipe = Path(__file__).parents[2] / "recipes" / "mini" / "1-draw.yaml"
    result = cli("adapt", recipe)
    assert result.exit_code == 2 and "has the objective denoise; train it with nakawari train" in result.stderr


@pytest.mark.parametrize(
    ("adapter", "sentence"),
    [
        ("runs/a@abc", "'abc' is not a scale for adapter runs/a"),
        ("absent@0.5", "absent is not an adapter: it holds neither pytorch_lora_weights.safetensors"),
    ],
)
def test_wrong_adapters_get_one_sentence(
    cli: Cli, base: Path, keys: list[Path], tmp_path: Path, adapter: str, sentence: str
):
    result = cli("interpolate", *keys[:2], "-o", tmp_path / "out", "--model", base, "--adapter", adapter)
    assert result.exit_code in (1, 2) and sentence in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_family_or_rank_gets_one_sentence(cli: Cli, base: Path, keys: list[Path], tmp_path: Path):
    for name, change, sentence in (
        ("family", lambda key: f"down_blocks.0.{key}", "is made for another model: it adapts down_blocks.0."),
        ("rank", lambda key: key, "is broken: its header says rank 5, but "),
    ):
        pipeline = mini_model()
        add_lora(pipeline, LoraParams(target="linear-and-convolution", rank=2))
        save_adapter(pipeline.denoiser, tmp_path / name, "default")
        with safe_open(tmp_path / name / WEIGHTS, "pt") as file:
            tensors = {change(key): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
            about = file.metadata()
        config = json.loads(about["lora_adapter_metadata"]) | {"r": 5}
        save_file(tensors, tmp_path / name / WEIGHTS, metadata=about | {"lora_adapter_metadata": json.dumps(config)})
        adapter = f"{tmp_path / name}@0.5"
        result = cli("interpolate", *keys[:2], "-o", tmp_path / "out", "--model", base, "--adapter", adapter)
        assert result.exit_code == 1 and sentence in result.stderr and result.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_a_framer_is_adapted_by_its_own_defaults(cli: Cli, framer_model: Path, show: Path, tmp_path: Path):
    words = ["--steps", "1", "--batch", "1", "--size", "64x64", "--frames", "5", "--set", "objective.pixel=null"]
    words += ["--set", "validation.samples=2"]
    result = cli("adapt", "--data", show, "--model", framer_model, *words, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    saved = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert (saved["objective"]["lora"]["target"], saved["objective"]["lora"]["rank"]) == (".*", 8)  # a small one


def test_an_adapter_is_validated_and_the_best_is_kept_without_being_asked(
    cli: Cli, base: Path, show: Path, tmp_path: Path
):
    result = cli("adapt", "--data", show, "--model", base, *QUICK, "--steps", "5", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    scores = {entry["step"]: entry["validation"]["psnr"] for entry in log} | {0: log[0]["validation"]["psnr_nothing"]}
    best = json.loads((tmp_path / "run" / "summary.json").read_text())["best"]
    assert best == {"score": max(scores.values()), "step": max(scores, key=scores.get)}
    assert ("no step was better than the base" in result.stdout) == (best["step"] == 0)
