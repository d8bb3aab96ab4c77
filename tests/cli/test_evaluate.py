"""`nakawari evaluate` as a user runs it, on a tiny model and a tiny data set."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

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
