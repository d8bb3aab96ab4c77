"""A run from a recipe file on a tiny model: its folder, resuming, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from safetensors import SafetensorError

from nakawari import variants
from nakawari.errors import NakawariError, UsageError
from nakawari.training import tensors
from nakawari.training.recipe import load_recipe
from nakawari.training.run import train_from_recipe
from tiny_models import UNET as TOONCRAFTER
from tiny_models import VAE

UNET = {"model_channels": 8, "num_head_channels": 4, "norm_num_groups": 4, "guide_hidden": 4, "dropout": 0.1}
RECIPE = {
    "name": "tiny",
    "seed": 3,
    "model": {
        "new": {
            "family": "mini",
            "unet": UNET,
            "pipeline": {"max_frames": 3},
        }
    },
    "objective": {"kind": "denoise", "pixel": {"weight": 1.0}, "guide_dropout": 0.3, "sampling": {"steps": 2}},
    "data": {"sources": [{"kind": "synthetic"}], "size": [16, 24], "frames": [3]},
    "optim": {"lr": 1e-3, "steps": 4, "batch_size": 2, "ema": 0.9},
    "validation": {"every": 2, "samples": 1},
    "checkpoint": {"every": 2},
    "log": {"samples_every": 4},
}


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def lines(run: Path) -> list[dict]:
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in entry.items() if k not in ("seconds", "samples_per_second")} for entry in entries]


def weights(run: Path) -> bytes:
    return (run / "checkpoints" / "step-4" / "weights.safetensors").read_bytes()


class Cut(Exception):
    pass


def cut_at_3(progress) -> None:
    if progress.step == 3:
        raise Cut


def test_a_run_that_was_cut_goes_on_as_if_nothing_had_happened(recipe, tmp_path):
    train_from_recipe(recipe, tmp_path / "uncut")
    with pytest.raises(Cut):
        train_from_recipe(recipe, tmp_path / "cut", progress=cut_at_3)
    outcome = train_from_recipe(recipe, tmp_path / "cut", resume="auto")
    assert (outcome.status, outcome.step) == ("finished", 4)
    assert lines(tmp_path / "cut") == lines(tmp_path / "uncut")
    assert weights(tmp_path / "cut") == weights(tmp_path / "uncut")
    run = tmp_path / "cut"
    assert (run / "samples" / "step-4" / "000.png").exists()
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"
    assert {"packages", "git", "machine", "data", "processes"} == load_recipe(run / "recipe.yaml").provenance.keys()
    assert variants.load(str(run)).pipeline.config.max_frames == 3


def test_another_objective_trains_another_model(recipe, tmp_path):
    new = {"family": "tooncrafter", "unet": TOONCRAFTER, "vae": VAE, "pipeline": {"double_decode": False}}
    model = f"model.new={json.dumps(new)}"
    overrides = [model, "objective={kind: autoencode}", "optim.steps=2", "log.samples_every=null"]
    train_from_recipe(recipe, tmp_path / "run", overrides)
    assert all(entry["loss"] > 0 and entry["baseline"] > 0 for entry in lines(tmp_path / "run"))


def test_a_model_that_was_put_into_the_run_folder_is_not_replaced(recipe, tmp_path):
    best = tmp_path / "run" / "best"
    best.mkdir(parents=True)
    (best / "adapter_model.safetensors").write_bytes(b"from another machine")
    with pytest.raises(UsageError, match="best exists already and would be replaced"):
        train_from_recipe(recipe, tmp_path / "run", ["optim.steps=1", "validation.samples=0"])
    assert [path.name for path in best.iterdir()] == ["adapter_model.safetensors"]


def test_what_a_run_refuses(recipe, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(NakawariError, match="no complete checkpoint to resume"):
        train_from_recipe(recipe, run, resume=True)
    assert not run.exists()
    short = ["optim.steps=2", "validation.samples=0"]
    train_from_recipe(recipe, run, short)
    with pytest.raises(UsageError, match="already holds a run"):
        train_from_recipe(recipe, run, short)
    with pytest.raises(UsageError, match=r"differs .* in optim\.lr; resume with"):
        train_from_recipe(recipe, run, [*short, "optim.lr=1"], resume=True)
    with pytest.raises(UsageError, match=r"data folder .*absent does not exist"):
        train_from_recipe(recipe, tmp_path / "b", [f"data.sources=[{{kind: clips, path: {tmp_path}/absent}}]"])
    longer = train_from_recipe(recipe, run, ["optim.steps=3", "validation.samples=0"], resume=True)
    assert [entry["step"] for entry in lines(run)] == [1, 2, 3] and longer.step == 3


def test_a_model_with_spoilt_weights_is_refused_before_the_first_step(recipe, tmp_path):
    train_from_recipe(recipe, tmp_path / "run", ["optim.steps=1", "validation.samples=0"])
    model = variants.load(str(tmp_path / "run")).pipeline
    next(model.denoiser.parameters()).data.flatten()[0] = float("nan")
    model.save_pretrained(tmp_path / "spoilt")
    with pytest.raises(NakawariError, match="holds values that are not finite, so it cannot be trained"):
        train_from_recipe(recipe, tmp_path / "other", [f"model={{base: {tmp_path}/spoilt}}"])
    assert not (tmp_path / "other").exists()


def test_a_full_disk_is_one_sentence_for_caches_too(recipe, tmp_path, monkeypatch):
    def full(*about, **more):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensors, "save_file", full)
    cached = ["objective={kind: denoise}", f"objective.cache={tmp_path}/cache", "validation.samples=0"]
    with pytest.raises(NakawariError, match=r"Could not write .*No space left on device"):
        train_from_recipe(recipe, tmp_path / "run", cached)
