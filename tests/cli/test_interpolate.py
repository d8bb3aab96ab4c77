"""`nakawari interpolate` with a stub model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import Result

from crossfade import CrossFade
from nakawari.media import read_frames, read_image

Cli = Callable[..., Result]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_three_keys_with_loop(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    out = tmp_path / "out"
    result = cli("interpolate", *keys, "-o", out, "--between", "7,3,5", "--loop")
    assert result.exit_code == 0, result.stderr
    assert all("a cut?" in line for line in result.stderr.splitlines())  # the keys are noise
    assert "18 frames (3 keys, 15 in-betweens) of 22x14" in result.stdout
    names = [f"{number:04d}.png" for number in range(1, 19)]
    assert sorted(contents(out)) == sorted([*names, "in-betweens.gif", "contact-sheet.png", "interpolation.json"])
    for name, key in zip(("0001.png", "0009.png", "0013.png"), keys, strict=True):
        assert np.array_equal(read_image(out / name), read_image(key))
    record = json.loads((out / "interpolation.json").read_text())
    assert [frame["key"] for frame in record["frames"] if frame["key"]] == [key.name for key in keys]
    assert (record["seed"], record["between"], record["loop"], record["model"]) == (0, [7, 3, 5], True, "mini")
    assert len(read_frames(out)) == 18


def test_same_bytes_in_two_runs_and_at_any_batch(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    for name, batch in (("a", 1), ("b", 1), ("c", 3)):
        words = ("--between", "20", "--format", "png,gif,mp4,sheet", "--batch", batch)
        assert cli("interpolate", *keys, "-o", tmp_path / name, *words).exit_code == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_folder_of_rgba_and_rgb_keys_gives_rgba(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    folder = tmp_path / "drawings"
    folder.mkdir()
    for number, key in enumerate(keys):
        image = Image.open(key)
        image.putalpha(90) if number == 1 else None
        image.save(folder / f"{number}.png")
    assert cli("interpolate", folder, "-o", tmp_path / "out", "--between", 2).exit_code == 0
    frames = read_frames(tmp_path / "out")
    assert [frame.shape for frame in frames] == [(14, 22, 4)] * 7
    assert np.array_equal(frames[3], read_image(folder / "1.png"))
    assert (frames[0][..., 3] == 255).all()


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_one_file(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path, suffix: str):
    out = tmp_path / f"deep/er/clip{suffix}"
    assert cli("interpolate", *keys, "-o", out, "--between", 3).exit_code == 0
    assert [file.name for file in out.parent.iterdir()] == [out.name]
    assert len(read_frames(out)) == 9


def test_json_summary(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    result = cli("interpolate", *keys, "-o", tmp_path / "out", "--between", 1, "--format", "sheet", "--json")
    summary = json.loads(result.stdout)
    assert (summary["frames"], summary["keys"], summary["in_betweens"], summary["size"]) == (5, 3, 2, [22, 14])
    assert [Path(file).name for file in summary["files"]] == ["contact-sheet.png", "interpolation.json"]


def test_our_own_output_is_replaced_whole(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    out = tmp_path / "out"
    assert cli("interpolate", *keys, "-o", out, "--between", 9).exit_code == 0
    assert cli("interpolate", *keys, "-o", out, "--between", 1).exit_code == 0
    assert len(read_frames(out)) == 5


def test_files_of_others_stay_beside_ours(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    out = tmp_path / "out"
    assert cli("interpolate", *keys, "-o", out, "--between", 9).exit_code == 0
    (out / "notes.txt").write_text("mine")
    before = contents(out)
    refused = cli("interpolate", *keys, "-o", out, "--between", 1)
    assert refused.exit_code == 2
    assert "notes.txt" in refused.stderr
    assert contents(out) == before
    assert cli("interpolate", *keys, "-o", out, "--between", 1, "--overwrite").exit_code == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert len(read_frames(out)) == 5
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_nothing_between_loads_no_model(cli: Cli, keys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "nakawari.variants", None)
    assert cli("interpolate", *keys, "-o", tmp_path / "out", "--between", 0).exit_code == 0
    assert len(read_frames(tmp_path / "out")) == 3


def test_the_record_says_which_gaps_the_parts_drew(cli: Cli, stub: CrossFade, tmp_path: Path):
    keys = []
    for number, left in enumerate((20, 90)):
        picture = Image.new("RGB", (160, 100), (240, 235, 220))
        ImageDraw.Draw(picture).ellipse((left, 30, left + 36, 66), (210, 50, 40), (0, 0, 0), 2)
        keys.append(tmp_path / f"ball{number}.png")
        picture.save(keys[-1])
    noise = np.random.default_rng(0).integers(0, 256, (100, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    words = ("--between", 1, "-o", tmp_path / "out")
    result = cli("interpolate", *keys, tmp_path / "noise.png", *words)
    assert result.exit_code == 0, result.stderr
    assert "1 of 2 gaps drawn by their parts" in result.stdout
    record = json.loads((tmp_path / "out" / "interpolation.json").read_text())
    assert [gap["drawn_by"] for gap in record["gaps"]] == ["parts", "model"]
    assert cli("interpolate", *keys, tmp_path / "noise.png", *words).exit_code == 0  # nothing is drawn again
    assert json.loads((tmp_path / "out" / "interpolation.json").read_text())["gaps"] == record["gaps"]


def test_what_changes_nothing_is_said_and_not_recorded(cli: Cli, tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    words = (tmp_path / "0.png", tmp_path / "1.png", "--between", 1, "--seed", 5, "--guidance", 1)
    result = cli("interpolate", *words, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "the same for every seed, so --seed 5 has no effect" in result.stderr
    assert "has no guidance, so --guidance 1 has no effect" in result.stderr
    record = json.loads((tmp_path / "out" / "interpolation.json").read_text())
    assert (record["seed"], record["guidance"], record["steps"]) == (None, None, 1)
    assert len(record["notes"]) == 2
    # More steps begin from the noise: the seed counts, and is recorded.
    result = cli("interpolate", *words[:-2], "--steps", 2, "-o", tmp_path / "more", "--json")
    assert json.loads(result.stdout)["notes"] == []
    assert json.loads((tmp_path / "more" / "interpolation.json").read_text())["seed"] == 5


def test_a_model_that_learnt_from_longer_clips_is_said(
    cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stub, "frames_learnt", 16)
    result = cli("interpolate", *keys, "-o", tmp_path / "out", "--between", 7)
    assert "was trained on clips of 16 frames and draws 9 here" in result.stderr
    assert "--between 14" in result.stderr
    assert "learnt" not in cli("interpolate", *keys, "-o", tmp_path / "full", "--between", 14).stderr
