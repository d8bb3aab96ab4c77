"""Keys in pairs: one gap each, from start to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import Result

from crossfade import CrossFade
from nakawari.data.check import check
from nakawari.media import read_frames, read_image

Cli = Callable[..., Result]


def write(folder: Path, **levels: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, level in levels.items():
        Image.new("RGB", (8, 6), (level,) * 3).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in levels]


@pytest.fixture
def stub(stub: CrossFade) -> CrossFade:
    stub.noise = 0.0
    return stub


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write(tmp_path / "in", a_end=40, a_start=0, b_end=100, b_start=200)
    return tmp_path / "in"


def levels(out: Path) -> list[int]:
    return [round(float(frame[..., :3].mean())) for frame in read_frames(out)]


def test_a_folder_of_pairs_is_one_gap_each_from_start_to_end(cli: Cli, stub: CrossFade, pairs: Path, tmp_path: Path):
    assert cli("interpolate", pairs, "--between", "1", "-o", tmp_path / "out").exit_code == 0
    assert levels(tmp_path / "out") == [0, 20, 40, 200, 150, 100]
    record = json.loads((tmp_path / "out/interpolation.json").read_text())
    assert [frame["key"] for frame in record["frames"]] == [
        "a_start.png",
        None,
        "a_end.png",
        "b_start.png",
        None,
        "b_end.png",
    ]
    rows = read_image(tmp_path / "out/contact-sheet.png")
    assert rows.shape[0] == 8 + 2 * 64  # two rows of 64: nothing is shown between the pairs


def test_one_count_for_each_pair_and_keys_one_by_one(cli: Cli, stub: CrossFade, pairs: Path, tmp_path: Path):
    keys = [pairs / f"{name}.png" for name in ("b_start", "b_end", "a_start", "a_end")]
    assert cli("interpolate", *keys, "--between", "3,1", "-o", tmp_path / "out").exit_code == 0
    assert levels(tmp_path / "out") == [200, 175, 150, 125, 100, 0, 20, 40]


def test_what_cannot_be_with_pairs(cli: Cli, stub: CrossFade, pairs: Path, tmp_path: Path):
    for words, sentence in (("--loop", "cannot loop"), ("--between 1,2,3", "2 pairs, but 3 counts")):
        result = cli("interpolate", pairs, *words.split(), "-o", tmp_path / "out")
        assert result.exit_code == 2 and sentence in result.stderr
    write(pairs, c_start=10)
    result = cli("interpolate", pairs, "-o", tmp_path / "out")
    assert result.exit_code == 2 and "c_start.png belongs to no pair" in result.stderr
    assert not (tmp_path / "out").exists()
    assert [(fault.kind, fault.path) for fault in check(pairs).faults][-1] == ("lone-key", "c_start.png")


def test_a_single_pair_is_drawn_from_start_to_end(cli: Cli, stub: CrossFade, tmp_path: Path):
    write(tmp_path / "in", x_end=40, x_start=0)
    assert cli("interpolate", tmp_path / "in", "--between", "1", "-o", tmp_path / "out").exit_code == 0
    assert levels(tmp_path / "out") == [0, 20, 40]


def test_gaps_are_counted_as_pairs_are(cli: Cli, stub: CrossFade, pairs: Path, tmp_path: Path):
    words = ("interpolate", pairs, "--between", "1", "-o", tmp_path / "out")
    assert cli(*words).exit_code == 0
    result = cli(*words, "--only", "gap:2", "--seed", "5", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["gaps_drawn"] == [2]
    refused = cli(*words, "--only", "gap:3")
    assert (refused.exit_code, "the gaps are 1 to 2" in refused.stderr) == (2, True)
