"""`nakawari evaluate` on a tiny model and a tiny data set."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import Result

from nakawari.engines import Job, Watch
from nakawari.engines.processes import Command
from tiny_models import mini_model

Cli = Callable[..., Result]
PROTOCOL = """
name: tiny
width: 48
height: 32
guided: both
metrics: [psnr, ssim]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model/`, `data/` (two triplets) and `tiny.yaml`."""
    folder = tmp_path_factory.mktemp("evaluate")
    mini_model().save_pretrained(folder / "model")
    (folder / "tiny.yaml").write_text(PROTOCOL)
    for clip in range(2):
        for frame in range(3):
            picture = np.full((32, 48, 3), 40 + 30 * clip, np.uint8)
            picture[10:20, 5 + 8 * frame : 17 + 8 * frame] = (200, 90, 30)
            path = folder / "data" / "triplets" / f"clip{clip}" / f"frame{frame + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return folder


def _run(cli: Cli, place: Path, *words: str) -> Result:
    return cli(
        "evaluate", str(place / "model"), "--data", str(place / "data"), "--protocol", str(place / "tiny.yaml"), *words
    )


def test_a_table_a_csv_and_the_same_again(cli: Cli, place: Path, tmp_path: Path) -> None:
    result = _run(cli, place, "-o", str(tmp_path / "out"), "--no-cost")
    assert result.exit_code == 0, result.stderr
    rows = [line.split()[0] for line in result.stdout.splitlines()[1:]]
    assert "average" in " ".join(rows)
    model = str(place / "model")
    assert any(line.startswith(model[:27]) for line in result.stdout.splitlines())
    aggregates = json.loads((tmp_path / "out" / "aggregates.json").read_text())
    names = [entry["name"] for entry in aggregates["entries"]]
    assert model in names
    assert f"{model} (unguided)" in names
    files = sorted((tmp_path / "out").rglob("*.csv"))
    before = {path: path.read_bytes() for path in files}
    assert all(len(list(csv.reader(path.open()))) == 3 for path in files)
    again = _run(cli, place, "-o", str(tmp_path / "out"), "--no-cost", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["entries"] == aggregates["entries"]
    assert {path: path.read_bytes() for path in files} == before


def test_scores_go_into_the_card_of_the_model_that_was_evaluated(cli: Cli, place: Path, tmp_path: Path) -> None:
    card, weights = place / "model" / "README.md", place / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    plain, trained = card.read_text(), weights.read_bytes()
    assert _run(cli, place, "-o", str(tmp_path / "out"), "--no-cost").exit_code == 0
    words = ("report", str(tmp_path / "out"), "-o", str(tmp_path / "report"), "--cases", "0", "--cards")
    result = cli(*words)
    assert result.exit_code == 0 and f"{card}: scores" in result.stdout, result.output
    aggregates = json.loads((tmp_path / "out" / "aggregates.json").read_text())
    entry = next(one for one in aggregates["entries"] if one["name"] == str(place / "model"))
    written = card.read_text()
    assert written.startswith(plain.rstrip()) and "## Evaluation" in written
    assert f"{entry['results']['tiny']['psnr']['all']['mean']:.2f} [" in written
    assert aggregates["record"]["data"] in written
    assert cli(*words).exit_code == 0 and card.read_text() == written  # its section is replaced
    changed = {name: value + 0.01 for name, value in load_file(weights).items()}
    try:
        save_file(changed, weights, metadata={"format": "pt"})
        result = cli(*words)
        assert result.exit_code == 1 and "(the weights of unet differs" in result.stderr
    finally:
        weights.write_bytes(trained)
        card.write_text(plain)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "mini", "--data", "nowhere"), "nowhere"),
        (("evaluate", "absent", "--data", "{data}", "--no-floors"), "absent"),
        (("evaluate", "mini", "--data", "{data}", "--protocol", "quickest"), "quickest"),
        (("evaluate", "mini:int3", "--data", "{data}", "--no-floors"), "int3"),
    ],
)
def test_bad_words(cli: Cli, place: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    filled = [word.format(data=place / "data") for word in words]
    result = cli(*filled, "-o", str(tmp_path / "out"))
    assert result.exit_code in (1, 2)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert said in lines[0]


def test_trackers_are_told_means_differences_and_pictures(cli: Cli, place: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = ("-o", str(tmp_path / "out"), "--no-cost", "--json", "--log-with", "tensorboard")
    result = _run(cli, place, *words)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    (file,) = (tmp_path / "out" / "logs").rglob("events.out.tfevents*")
    told = EventAccumulator(str(file)).Reload()
    model, average = str(place / "model"), "average of the keys"
    for entry in found["entries"]:
        (event,) = told.Scalars(f"{entry['name']}/psnr/all")
        assert event.value == pytest.approx(entry["results"]["tiny"]["psnr"]["all"]["mean"])
    (gap,) = (
        item["difference"]["mean"]
        for item in found["paired"]
        if (item["entry"], item["metric"], item["level"]) == (average, "ssim", "all")
    )
    (event,) = told.Scalars(f"{average} minus {model}/ssim/all")
    assert event.value == pytest.approx(gap)
    assert f"{average}/clip0/t0.5000" in told.Tags()["images"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("by", ["command", "call"])
def test_an_engine_starts_a_share_for_each_worker_and_the_result_is_that_of_one_run(
    cli: Cli, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Workers run in this process, from their command line or as Ray calls them."""
    shares: list[str] = []

    def run_here(job: Job, commands: list[Command], places: object, watch: Watch) -> None:
        assert job.done() == 0
        for command in commands:
            words = list(command())
            shares.append(words[-1])
            if by == "call":
                pickle.loads(pickle.dumps(job.call))(words[-1])
            else:
                assert cli(*words[3:]).stdout.startswith(f"share {words[-1]} is done")
            watch(len(shares), len(commands))
        assert job.done() > 0

    monkeypatch.setattr("nakawari.engines.local.supervise", run_here)
    words = ("--limit", "2", "--no-cost", *(("--no-floors",) if by == "call" else ()))
    monkeypatch.chdir(place)
    assert _run(cli, Path(), "-o", str(tmp_path / "one"), *words).exit_code == 0
    drawn = tmp_path / "cut"
    result = _run(cli, Path(), "-o", str(drawn), *words, "--engine", "local", "--workers", "2")
    assert result.exit_code == 0, result.stderr
    assert shares == ["0/2", "1/2"]
    assert "2 samples, protocol tiny" in result.stdout
    assert contents(drawn) == contents(tmp_path / "one")


def test_slurm_does_not_wait_and_says_how_shares_are_joined(
    cli: Cli, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 7\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    result = _run(cli, place, "-o", str(tmp_path / "out"), "--no-floors", "--engine", "slurm", "--workers", "3")
    assert result.exit_code == 0, result.stderr
    assert "job 7 of Slurm; when it has ended, the same command without --engine joins" in result.stdout
    script = (tmp_path / "out" / "engine" / "slurm.sh").read_text()
    assert "#SBATCH --array=0-2" in script and '--no-floors --share "$SLURM_ARRAY_TASK_ID/3"' in script


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--engine", "local", "--share", "0/2"), "leave out --share and --list"),
        (("--engine", "local", "--list"), "leave out --share and --list"),
        (("--workers", "2"), "--workers is for --engine"),
    ],
)
def test_words_about_engines_that_contradict(
    cli: Cli, place: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    result = _run(cli, place, "-o", str(tmp_path / "out"), *words)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "package"), [("local", None), ("ray", "ray"), ("openjd", "openjd.cli")])
def test_real_workers_give_the_bytes_of_one_run(
    cli: Cli, place: Path, tmp_path: Path, engine: str, package: str | None
) -> None:
    if package:
        pytest.importorskip(package)
    words = ("-o", str(tmp_path / "out"), "--no-cost")
    assert _run(cli, place, "-o", str(tmp_path / "one"), "--no-cost").exit_code == 0
    result = _run(cli, place, *words, "--engine", engine, "--workers", "2")
    assert result.exit_code == 0, result.stderr
    shutil.rmtree(tmp_path / "out" / "engine", ignore_errors=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "one")
