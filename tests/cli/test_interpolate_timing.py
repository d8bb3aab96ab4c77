"""Options for spacing, exposure, holds and frame numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from crossfade import CrossFade
from nakawari.media import read_frames, read_image

Cli = Callable[..., Result]


def grey_keys(folder: Path, **levels: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, level in levels.items():
        Image.new("RGB", (8, 6), (level,) * 3).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in levels]


def frames_of(out: Path) -> dict[str, int]:
    names = [one["file"] for one in json.loads((out / "interpolation.json").read_text())["frames"]]
    return {name: round(float(read_image(out / name).mean())) for name in names}


@pytest.fixture
def stub(stub: CrossFade) -> CrossFade:
    stub.noise, stub.draws_any_time = 0.0, True
    return stub


def test_numbers_in_the_keys_names_say_how_many_and_where(cli: Cli, stub: CrossFade, tmp_path: Path):
    keys = grey_keys(tmp_path / "in", cut012_A_0001=0, cut012_A_0005=100, cut012_A_0007=200)
    out = tmp_path / "out"
    assert cli("interpolate", *keys, "-o", out).exit_code == 0
    assert frames_of(out) == {f"cut012_A_000{n}.png": v for n, v in zip(range(1, 8), (0, 25, 50, 75, 100, 150, 200))}  # noqa: B905
    breakdown = grey_keys(tmp_path / "in", cut012_A_0003=90)
    assert cli("interpolate", tmp_path / "in", "-o", out).exit_code == 0
    assert list(frames_of(out).values()) == [0, 45, 90, 95, 100, 150, 200]
    assert json.loads((out / "interpolation.json").read_text())["between"] == [1, 1, 1]
    assert read_image(out / "cut012_A_0003.png").tolist() == read_image(breakdown[0]).tolist()


def test_on_twos_half_the_drawings(cli: Cli, stub: CrossFade, tmp_path: Path):
    keys = grey_keys(tmp_path / "in", a0001=0, a0009=160)
    assert cli("interpolate", *keys, "-o", tmp_path / "ones").exit_code == 0
    ones = stub.calls[-1]["num_frames"] - 2
    assert cli("interpolate", *keys, "-o", tmp_path / "twos", "--exposure", 2, "--format", "png,mp4,gif").exit_code == 0
    assert (ones, stub.calls[-1]["num_frames"] - 2) == (7, 3)
    assert frames_of(tmp_path / "twos") == {
        "a0001.png": 0,
        "a0003.png": 40,
        "a0005.png": 80,
        "a0007.png": 120,
        "a0009.png": 160,
    }
    assert [round(float(f.mean()) / 10) for f in read_frames(tmp_path / "twos" / "in-betweens.mp4")] == [
        0, 0, 4, 4, 8, 8, 12, 12, 16, 16,
    ]  # fmt: skip
    assert cli("interpolate", *keys, "-o", tmp_path / "copies", "--exposure", 2, "--copies").exit_code == 0
    copies = sorted(path.name for path in (tmp_path / "copies").glob("a*.png"))
    assert copies == [f"a{number:04d}.png" for number in range(1, 11)]


def test_uneven_room_on_threes_is_uneven_spacing(cli: Cli, stub: CrossFade, tmp_path: Path):
    keys = grey_keys(tmp_path / "in", a0001=0, a0011=100)
    assert cli("interpolate", *keys, "-o", tmp_path / "out", "--exposure", 3).exit_code == 0
    assert frames_of(tmp_path / "out") == {
        "a0001.png": 0,
        "a0004.png": 30,
        "a0007.png": 60,
        "a0010.png": 90,
        "a0011.png": 100,
    }


def test_spacing_start_name_and_hold(cli: Cli, stub: CrossFade, tmp_path: Path):
    keys = grey_keys(tmp_path / "in", x=0, y=200, z=0)
    out = tmp_path / "out"
    words = ("--spacing", "0.1,0.3,0.7", "--spacing", "0.5", "--start", 101, "--name", "A_#####", "--hold", "3,1,2")
    assert cli("interpolate", *keys, "-o", out, *words).exit_code == 0
    assert frames_of(out) == {
        "A_00101.png": 0, "A_00104.png": 20, "A_00105.png": 60, "A_00106.png": 140,
        "A_00107.png": 200, "A_00108.png": 100, "A_00109.png": 0,
    }  # fmt: skip
    record = json.loads((out / "interpolation.json").read_text())
    assert [frame["length"] for frame in record["frames"]] == [3, 1, 1, 1, 1, 1, 2]
    assert [gap["asked"] for gap in record["gaps"]] == [[0.1, 0.3, 0.7], [0.5]]
    assert cli("interpolate", *keys, "-o", out, "--between", 1, "--spacing", "ease-in").exit_code == 0
    assert list(frames_of(out).values()) == [0, 50, 200, 150, 0]


def test_the_contact_sheet_numbers_drawings_as_the_files_and_only_do(
    cli: Cli, stub: CrossFade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A drawing that looks bad on the sheet is redrawn by the number below it."""
    shown: list[str] = []
    monkeypatch.setattr(
        "nakawari.interpolation.sheet.contact_sheet",
        lambda rows, labels, captions, marked: shown.extend(name for row in captions for name in row) or rows[0][0],
    )
    keys = grey_keys(tmp_path / "in", x=0, y=200)
    words = ("--between", 2, "--loop", "--exposure", 2, "--start", 101)
    assert cli("interpolate", *keys, "-o", tmp_path / "out", *words).exit_code == 0
    assert list(frames_of(tmp_path / "out")) == [f"0{number}.png" for number in (101, 103, 105, 107, 109, 111)]
    assert shown == ["101 x.png", "103", "105", "107 y.png", "107 y.png", "109", "111", "101 x.png"]


def test_a_model_with_fixed_places_says_where_it_drew(cli: Cli, stub: CrossFade, tmp_path: Path):
    stub.draws_any_time, stub.max_frames = False, 5
    keys = grey_keys(tmp_path / "in", x=0, y=100)
    assert cli("interpolate", *keys, "-o", tmp_path / "out", "--spacing", "0.3").exit_code == 0
    (gap,) = json.loads((tmp_path / "out" / "interpolation.json").read_text())["gaps"]
    assert gap["asked"] == [0.3]
    assert gap["shares"] == pytest.approx([1 / 3])


def test_one_frame_or_one_gap_again(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    stub.noise = 0.2
    out = tmp_path / "out"
    assert cli("interpolate", *keys, "-o", out, "--between", 3).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.glob("0*.png")}
    assert cli("interpolate", *keys, "-o", out, "--between", 3, "--seed", 5, "--only", "gap:2").exit_code == 0
    gap = {path.name: path.read_bytes() for path in out.glob("0*.png")}
    assert {name for name in before if before[name] != gap[name]} == {"0006.png", "0007.png", "0008.png"}
    Image.fromarray(np.zeros((14, 22, 3), np.uint8)).save(out / "0004.png")
    by_hand = (out / "0004.png").read_bytes()
    assert cli("interpolate", *keys, "-o", out, "--between", 3, "--seed", 9, "--only", 3).exit_code == 0
    frame = {path.name: path.read_bytes() for path in out.glob("0*.png")}
    assert {name for name in gap if gap[name] != frame[name]} == {"0003.png", "0004.png"}
    assert frame["0004.png"] == by_hand
    assert "0004.png was changed" in cli("interpolate", *keys, "-o", out, "--between", 3).stderr


def test_a_record_without_the_settings_of_each_gap_is_read(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    words = ("interpolate", *keys, "-o", tmp_path / "out", "--between", 1)
    assert cli(*words, "--steps", 4).exit_code == 0
    path = tmp_path / "out" / "interpolation.json"
    old = json.loads(path.read_text())
    new = ("steps", "guidance", "scheduler", "seed", "redrawn", "model")
    old["gaps"] = [{name: value for name, value in gap.items() if name not in new} for gap in old["gaps"]]
    old["gaps"][0]["drawn_by"] = "parts"
    path.write_text(json.dumps(old))
    assert cli(*words, "--steps", 4, "--seed", 3, "--only", "gap:2").exit_code == 0
    gaps = json.loads(path.read_text())["gaps"]
    assert [(gap["steps"], gap["seed"], gap["model"]) for gap in gaps] == [(None, None, None), (4, 3, "mini")]
    path.write_text(json.dumps(old))
    assert cli(*words, "--steps", 4).exit_code == 0
    gaps = json.loads(path.read_text())["gaps"]
    assert [(gap["steps"], gap["seed"], gap["model"]) for gap in gaps] == [(None, None, None), (4, 0, "mini")]


def test_the_record_has_the_settings_of_every_gap_and_of_frames_drawn_again(
    cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path
):
    stub.noise = 0.2
    out = tmp_path / "out"
    words = ("interpolate", *keys, "-o", out, "--between", 3)

    def record() -> dict:
        return json.loads((out / "interpolation.json").read_text())

    assert cli(*words, "--steps", 4).exit_code == 0
    sure = record()["gaps"][1]["confidence"]
    assert cli(*words, "--steps", 6, "--seed", 5, "--only", "gap:1").exit_code == 0
    assert [(gap["seed"], gap["steps"], gap["model"]) for gap in record()["gaps"]] == [(5, 6, "mini"), (0, 4, "mini")]
    assert cli(*words, "--seed", 9, "--steps", 8, "--only", 7).exit_code == 0
    one, two = record()["gaps"]
    assert (one["redrawn"], one["seed"], two["seed"], two["steps"]) == (None, 5, 0, 4)
    assert [(own["number"], own["seed"], own["steps"], own["model"]) for own in two["redrawn"]] == [(7, 9, 8, "mini")]
    assert two["confidence"][::2] == sure[::2]  # only the middle frame is another one
    assert two["confidence"][1] != sure[1]
    assert cli(*words, "--seed", 3, "--only", 6).exit_code == 0
    assert cli(*words, "--seed", 4, "--only", 7).exit_code == 0
    assert [(own["number"], own["seed"]) for own in record()["gaps"][1]["redrawn"]] == [(6, 3), (7, 4)]
    assert cli(*words, "--seed", 2, "--only", "gap:2").exit_code == 0
    assert [(gap["seed"], gap["redrawn"]) for gap in record()["gaps"]] == [(5, None), (2, None)]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--spacing", "slow"), "The spacing 'slow' is not known"),
        (("--spacing", "0.5,0.2"), "do not increase"),
        (("--spacing", "0.5", "--between", "3"), "Gap 1 has 3 in-betweens but its spacing has 1"),
        (("--spacing", "even", "--spacing", "ease", "--spacing", "ease"), "2 gaps but 3 spacings"),
        (("--spacing", "0.5", "--spacing", "ease"), "give --between for the curves"),
        (("--hold", "0"), "not numbers of frames"),
        (("--hold", "1,2"), "3 keys but 2 holds"),
        (("--name", "frame"), "write # for each digit"),
        (("--name", "a#b#"), "write # for each digit"),
        (("--only", "frame3"), "neither a frame (3) nor a gap"),
        (("--only", "1"), "is not an in-between"),
        (("--only", "gap:3"), "the gaps are 1 to 2"),
        (("--only", "2"), "no finished sequence of these keys"),
        (("--exposure", "0"), "is not a number of frames"),
    ],
)
def test_wrong_words(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path, words: tuple, sentence: str):
    result = cli("interpolate", *keys, "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
