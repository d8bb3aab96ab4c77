"""Several processes are one run: as many as were started, one folder, one voice, one loss curve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import tiny_framer
from nakawari.errors import UsageError
from nakawari.training.batches import check_divides
from tiny_models import mini_model

ROUNDING = 2**-23
"""One unit in the last place of float32: a mean over two halves rounds otherwise than one over the whole."""
CLUSTER = Path(__file__).parents[2] / "recipes" / "cluster"
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2")
ACCELERATE = ("accelerate.commands.launch", "--config_file", str(CLUSTER / "ddp.yaml"), "--num_processes", "2")
ADAPT = ["adapt", "--data", "show", "--model", "base", "--steps", "3", "--batch", "4", "--frames", "3"]
ADAPT += ["--windows", "0", "--size", "32x32", "--rank", "2", "--set", "optim.mixed_precision=no"]
FRAMER = ["train", "framer.yaml"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and a show, and a recipe with drags for a Framer."""
    folder = tmp_path_factory.mktemp("processes")
    mini_model().save_pretrained(folder / "base")
    tiny_framer.tiny().save_pretrained(folder / "framer")
    for clip in range(5):
        (folder / "show" / f"clip{clip:03d}").mkdir(parents=True)
        for number in range(8):
            picture = np.full((40, 48, 3), 230, np.uint8)
            picture[10:22, 4 * number : 4 * number + 10] = (200, 40, 50 * clip)
            Image.fromarray(picture).save(folder / "show" / f"clip{clip:03d}" / f"frame{number}.png")
    recipe = {
        "name": "framer",
        "model": {"base": "framer"},
        "objective": {"kind": "denoise", "train_control": True, "control_dropout": 0.3},
        "data": {"sources": [{"kind": "drags"}], "size": [64, 96], "frames": [5]},
        "optim": {"lr": 1e-3, "steps": 2, "batch_size": 2},
    }
    (folder / "framer.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def started(place: Path, words: list[str], launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    module = ["-m", launcher[0], *launcher[1:], "-m", "nakawari"] if launcher else ["-m", "nakawari"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *module, *words], cwd=place, env=environment, capture_output=True, text=True, timeout=300
    )


def trained(place: Path, run: str, words: list[str], launcher: tuple[str, ...] = ()) -> tuple[int, list[float]]:
    """How many processes took part in a run, and its losses; checks that one of them spoke."""
    done = started(place, [*words, "-o", run], launcher)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished at step") == 1
    count = yaml.safe_load((place / run / "recipe.yaml").read_text())["provenance"]["processes"]
    log = [json.loads(line) for line in (place / run / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, len(log) + 1))
    return count, [entry["loss"] for entry in log]


def test_torchrun_starts_two_and_the_curve_is_that_of_one(place: Path):
    one, alone = trained(place, "alone", ADAPT)
    two, shared = trained(place, "torchrun", ADAPT, TORCHRUN)
    assert (one, two) == (1, 2)
    # Means over two halves may round otherwise: two units in the last place of a float32.
    assert shared == pytest.approx(alone, rel=2**-22)


@pytest.mark.slow
def test_torchrun_says_once_that_a_batch_cannot_be_split(place: Path):
    refused = started(place, [*ADAPT, "--batch", "3", "-o", "refused"], TORCHRUN)
    assert refused.returncode != 0
    said = [line for line in refused.stderr.splitlines() if line.startswith("nakawari:")]
    assert len(said) == 1 and "optim.batch_size 3 cannot be split evenly" in said[0] and "2 processes" in said[0]


@pytest.mark.slow
def test_accelerate_starts_two_with_the_recipe_for_a_cluster(place: Path):
    _, alone = trained(place, "alone-2", ADAPT)
    two, shared = trained(place, "accelerate", ADAPT, ACCELERATE)
    assert two == 2 and shared == pytest.approx(alone, rel=ROUNDING)


@pytest.mark.slow
def test_two_processes_train_a_framer_as_one_does(place: Path):
    _, alone = trained(place, "framer-alone", FRAMER)
    two, shared = trained(place, "framer-two", FRAMER, TORCHRUN)
    assert two == 2 and shared == pytest.approx(alone, rel=ROUNDING)


def test_a_batch_that_does_not_divide_is_refused():
    check_divides(8, 2, 4)
    with pytest.raises(
        UsageError, match=r"batch_size 8 cannot be split evenly into optim\.accumulation 2 times 3 proc"
    ):
        check_divides(8, 2, 3)
