"""Several processes are one run: as many as were started, one folder, one voice, one loss curve, shared or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import commands_in_turn
import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

import tiny_framer
from nakawari.errors import UsageError
from nakawari.training.batches import check_divides
from nakawari.variants import load
from tiny_models import plain_model

ROUNDING = 2**-23
"""One unit in the last place of float32: a mean over two halves rounds otherwise than one over the whole."""
CLUSTER = Path(__file__).parents[2] / "recipes" / "cluster"
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2")
IN_TURN = str(Path(commands_in_turn.__file__))
ADAPT = ["adapt", "--data", "show", "--model", "base", "--batch", "4", "--frames", "3"]
ADAPT += ["--windows", "0", "--size", "32x32", "--rank", "2", "--set", "optim.mixed_precision=no"]
ADAPT += ["--set", "optim.ema=0.9", "--set", "optim.accumulation=2", "--set", "objective.gradient_checkpointing=true"]
ADAPT += ["--set", "validation.samples=1", "--set", "validation.every=9", "--set", "objective.sampling.steps=1"]
THREE, FOUR = ["--steps", "3"], ["--steps", "4"]
BF16 = ["--set", "optim.mixed_precision=bf16", "--set", "objective.base_dtype=bf16"]
SHARD = ["--set", "shard=true"]
FRAMER = ["train", "framer.yaml"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and a show, and a recipe with drags for a Framer."""
    folder = tmp_path_factory.mktemp("processes")
    plain_model().save_pretrained(folder / "base")
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
        "objective": {"kind": "denoise", "train_control": True, "control_dropout": 0.3, "gradient_checkpointing": True},
        "data": {"sources": [{"kind": "drags"}], "size": [64, 96], "frames": [5]},
        "optim": {"lr": 1e-3, "steps": 2, "batch_size": 2},
    }
    (folder / "framer.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def launched(place: Path, launcher: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *launcher, *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300)


def in_turn(place: Path, *commands: list[str]) -> Path:
    """Run commands in two processes that `torchrun` starts once; the folder says what each process held."""
    sizes = Path(tempfile.mkdtemp(dir=place))
    done = launched(place, TORCHRUN, IN_TURN, str(sizes), *(json.dumps(words) for words in commands))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished at step") == len(commands)
    return sizes


def losses(run: Path, processes: int) -> list[float]:
    """The losses of a run that so many processes took part in."""
    assert yaml.safe_load((run / "recipe.yaml").read_text())["provenance"]["processes"] == processes
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, len(log) + 1))
    return [entry["loss"] for entry in log]


@pytest.fixture(scope="module")
def sizes(place: Path) -> Path:
    """Two runs of two processes: each process has the whole model, and each its share."""
    return in_turn(place, [*ADAPT, *THREE, "-o", "two"], [*ADAPT, *THREE, *SHARD, "-o", "shared"])


def test_the_curve_of_two_processes_is_that_of_one(place: Path, sizes: Path, cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    done = cli(*ADAPT, *THREE, "-o", "alone")
    assert done.exit_code == 0, done.output
    # Means over two halves may round otherwise: two units in the last place of a float32.
    assert losses(place / "two", 2) == pytest.approx(losses(place / "alone", 1), rel=2**-22)


def test_processes_that_share_the_denoiser_learn_as_those_that_do_not(place: Path, sizes: Path):
    assert losses(place / "shared", 2) == pytest.approx(losses(place / "two", 2), rel=2**-22)
    for rank in (0, 1):
        whole, share = (json.loads((sizes / f"{rank}-{run}.json").read_text()) for run in (0, 1))
        # Tensors of an odd length are not halved; what of the decoder learns stays whole.
        assert 0.49 < share["frozen"] / whole["frozen"] < 0.51
        for part in ("learning", "optimizer", "average"):
            own, decoder = share[part], whole[part + " outside"]
            assert 0.49 < (own - decoder) / (whole[part] - decoder) < 0.51


def test_what_a_shared_run_saves_is_whole(place: Path, sizes: Path, cli, monkeypatch: pytest.MonkeyPatch):
    """The layout is that of a run that is not shared, and one process goes on from it."""
    monkeypatch.chdir(place)
    for name in ("best", "checkpoints/step-3"):
        two, shared = place / "two" / name, place / "shared" / name
        files = sorted(path.relative_to(two) for path in two.rglob("*.safetensors"))
        assert files and files == sorted(path.relative_to(shared) for path in shared.rglob("*.safetensors"))
        for file in files:
            expected, found = load_file(two / file), load_file(shared / file)
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                # Adam divides by the gradient's size: where that is all but nothing, rounding shows.
                assert (found[key] - value).norm() <= 0.01 * value.norm() + 1e-8, (file, key)
    load("base+shared/best")
    for run in ("two", "shared"):
        done = cli(*ADAPT, *FOUR, "-o", run, "--resume")
        assert done.exit_code == 0, done.output
    assert losses(place / "shared", 1) == pytest.approx(losses(place / "two", 1), rel=2**-20)


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], BF16], ids=["float32", "bf16"])
def test_a_shared_run_that_stops_goes_on_bit_for_bit(place: Path, how: list[str]):
    """With a validation and a checkpoint before the cut."""
    how = [*how, "--set", "validation.every=2", "--set", "optim.schedule=constant"]
    run, cut = [*ADAPT, *SHARD, *how], Path(tempfile.mkdtemp(dir=place))
    uncut = cut.with_name(f"{cut.name}-uncut")
    in_turn(
        place,
        [*run, *FOUR, "-o", str(uncut)],
        [*run, *THREE, "-o", str(cut)],
        [*run, *FOUR, "-o", str(cut), "--resume"],
    )
    assert losses(cut, 2) == losses(uncut, 2)
    for name in ("weights", "optimizer", "ema"):
        files = [folder / "checkpoints" / "step-4" / f"{name}.safetensors" for folder in (cut, uncut)]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_torchrun_says_once_that_a_batch_cannot_be_split(place: Path):
    refused = launched(place, TORCHRUN, "-m", "nakawari", *ADAPT, *THREE, "--batch", "3", "-o", "refused")
    assert refused.returncode != 0
    said = [line for line in refused.stderr.splitlines() if line.startswith("nakawari:")]
    assert len(said) == 1 and "optim.batch_size 3 cannot be split evenly" in said[0] and "2 processes" in said[0]


@pytest.mark.slow
@pytest.mark.parametrize("template", ["ddp", "fsdp"])
def test_accelerate_starts_two_with_the_recipes_for_a_cluster(place: Path, sizes: Path, template: str):
    launcher = "accelerate.commands.launch", "--config_file", str(CLUSTER / f"{template}.yaml"), "--num_processes", "2"
    held = Path(tempfile.mkdtemp(dir=place))
    done = launched(place, launcher, IN_TURN, str(held), json.dumps([*ADAPT, *THREE, "-o", template]))
    assert done.returncode == 0, done.stderr
    assert losses(place / template, 2) == pytest.approx(losses(place / "two", 2), rel=2**-22)
    run = {"ddp": 0, "fsdp": 1}[template]
    assert (held / "1-0.json").read_text() == (sizes / f"1-{run}.json").read_text()


@pytest.mark.slow
def test_two_processes_train_a_framer_as_one_does(place: Path):
    alone = launched(place, ("nakawari", *FRAMER, "-o", "framer-alone"))
    assert alone.returncode == 0, alone.stderr
    runs = {"framer-two": [], "framer-shared": SHARD}
    in_turn(place, *([*FRAMER, *how, "-o", run] for run, how in runs.items()))
    for run in runs:
        assert losses(place / run, 2) == pytest.approx(losses(place / "framer-alone", 1), rel=2**-22)


def test_a_batch_that_does_not_divide_is_refused():
    check_divides(8, 2, 4)
    with pytest.raises(
        UsageError, match=r"batch_size 8 cannot be split evenly into optim\.accumulation 2 times 3 proc"
    ):
        check_divides(8, 2, 3)
