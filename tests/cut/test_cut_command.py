"""`nakawari cut` with a stub model."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from crossfade import CrossFade
from cut_sheets import document, spelled, write
from nakawari.cut.xdts import read_xdts
from nakawari.media import read_frames, read_image

Cli = Callable[..., Result]


@pytest.fixture
def stub(stub: CrossFade) -> CrossFade:
    stub.noise, stub.draws_any_time = 0.0, True
    return stub


def drawing(path: Path, level: int, alpha: int = 255) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((6, 8, 4), (level, level, level, alpha), np.uint8)
    pixels[:, :2, 3] = 0
    Image.fromarray(pixels).save(path)
    return path


def sheet(path: Path, duration: int = 12, **levels: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, document({name: spelled(text) for name, text in levels.items()}, duration, frameRate=12))


@pytest.fixture
def cut(tmp_path: Path) -> dict[str, Any]:
    """Three levels: keys with a reverse run, in-betweens with a cycle, and a held level."""
    folder = tmp_path / "drawings"
    files = [
        drawing(folder / "A" / "1.png", 0),
        drawing(folder / "A" / "2.png", 120),
        drawing(folder / "B0001.png", 200),
        drawing(folder / "B_0003.png", 100),
        drawing(folder / "C" / "C.0001.png", 50),
    ]
    path = sheet(
        tmp_path / "cut1.xdts",
        A="1@0 o@2 o@4 2@6 *@8 *@10",
        B="1@-3 2@2 3@4 2@6 1@8 2@10 x@11",
        C="1@0 x@12",
    )
    return {"sheet": path, "drawings": folder, "files": files, "out": tmp_path / "out"}


def run(cli: Cli, cut: dict[str, Any], *words: object) -> Result:
    return cli("cut", cut["sheet"], "--drawings", cut["drawings"], "-o", cut["out"], *words)


def listing(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def level_of(path: Path) -> int:
    return int(read_image(path)[0, 4, 0])


def test_a_cut_is_drawn_and_given_back(cli: Cli, stub: CrossFade, cut: dict[str, Any]):
    result = run(cli, cut)
    assert result.exit_code == 0, result.stderr
    assert "3 levels, 12 frames, 3 missing drawings" in result.stdout
    out = cut["out"]
    assert sorted(listing(out)) == [
        *("A/1.png", "A/1a.png", "A/1b.png", "A/2.png", "B/1.png", "B/2.png", "B/3.png", "C/1.png"),
        *("contact-A.png", "contact-B.png", "contact-C.png", "cut.json", "cut1.xdts", "preview.mp4"),
    ]
    for file, name in zip(cut["files"], ("A/1", "A/2", "B/1", "B/3", "C/1"), strict=True):
        assert (out / f"{name}.png").read_bytes() == file.read_bytes()
    assert [level_of(out / f"{name}.png") for name in ("A/1a", "A/1b", "B/2")] == [40, 80, 150]
    cells = {
        level.name: {row: cell.text for row, cell in level.cells.items()}
        for level in read_xdts(out / "cut1.xdts").levels
    }
    assert cells["A"] == {0: "1", 2: "1a", 4: "1b", 6: "2", 8: "1b", 10: "1a"}
    assert cells["B"] == {-3: "1", 2: "2", 4: "3", 6: "2", 8: "1", 10: "2", 11: "×"}
    assert len(read_frames(out / "preview.mp4")) == 12


def test_every_drawing_once_and_nothing_twice(cli: Cli, stub: CrossFade, cut: dict[str, Any]):
    """Two gaps, colour and matte: four calls, however often a cycle or a reverse run shows the drawings."""
    assert run(cli, cut).exit_code == 0
    assert [call["num_frames"] for call in stub.calls] == [4, 4, 3, 3]
    before = listing(cut["out"])
    again = run(cli, cut)
    assert "of which 3 were already drawn" in again.stdout
    assert len(stub.calls) == 4
    assert listing(cut["out"]) == before
    drawing(cut["drawings"] / "A" / "2.png", 180)
    assert run(cli, cut).exit_code == 0
    assert len(stub.calls) == 6
    assert level_of(cut["out"] / "A" / "1b.png") == 120
    assert listing(cut["out"])["B/2.png"] == before["B/2.png"]


def test_twos_need_half_the_calls_of_ones(cli: Cli, stub: CrossFade, tmp_path: Path):
    for name, text in (
        ("ones", "1@0 " + " ".join(f"o@{n}" for n in range(1, 8)) + " 2@8"),
        ("twos", "1@0 o@2 o@4 o@6 2@8"),
    ):
        folder = tmp_path / name
        for number in (1, 2):
            drawing(folder / "A" / f"{number}.png", 100 * number)
        path = sheet(tmp_path / f"{name}.xdts", A=text)
        stub.calls.clear()
        assert cli("cut", path, "--drawings", folder, "-o", tmp_path / f"{name}-out").exit_code == 0
        drawn = sum(call["num_frames"] - 2 for call in stub.calls) // 2  # colour and matte
        assert drawn == {"ones": 7, "twos": 3}[name]


def test_renumbered_every_level_counts_from_one(cli: Cli, stub: CrossFade, cut: dict[str, Any]):
    assert run(cli, cut, "--names", "renumber", "--preview", "gif").exit_code == 0
    out = cut["out"]
    assert sorted(name for name in listing(out) if name.startswith("A/")) == [
        "A/1.png",
        "A/2.png",
        "A/3.png",
        "A/4.png",
    ]
    assert (out / "A/4.png").read_bytes() == cut["files"][1].read_bytes()
    level = read_xdts(out / "cut1.xdts").levels[0]
    assert {row: cell.text for row, cell in level.cells.items()} == {0: "1", 2: "2", 4: "3", 6: "4", 8: "3", 10: "2"}
    assert (out / "preview.gif").exists()


def test_levels_stand_over_the_ground(cli: Cli, stub: CrossFade, cut: dict[str, Any], tmp_path: Path):
    Image.new("RGB", (20, 10), (10, 20, 30)).save(tmp_path / "ground.png")
    assert run(cli, cut, "--ground", tmp_path / "ground.png", "--preview", "gif").exit_code == 0
    with Image.open(cut["out"] / "preview.gif") as film:
        film.seek(0)
        first = np.asarray(film.convert("RGB"))
        assert film.info["duration"] >= 80
    assert first.shape == (10, 20, 3)
    assert abs(first[5, 12].astype(int) - 50).max() < 12  # the top level, over the two below
    assert abs(first[5, 6].astype(int) - (10, 20, 30)).max() < 12  # where all levels are clear
    assert abs(first[0, 0].astype(int) - (10, 20, 30)).max() < 12


def test_a_drawing_made_by_hand_takes_its_place(cli: Cli, stub: CrossFade, cut: dict[str, Any]):
    by_hand = drawing(cut["drawings"] / "A" / "1a.png", 90)
    assert run(cli, cut).exit_code == 0
    assert (cut["out"] / "A" / "1a.png").read_bytes() == by_hand.read_bytes()
    assert level_of(cut["out"] / "A" / "1b.png") == 105  # half way from there to the second key


def test_cut_off_it_goes_on(cli: Cli, stub: CrossFade, cut: dict[str, Any], tmp_path: Path, monkeypatch):
    whole = cut | {"out": tmp_path / "whole"}
    assert run(cli, whole).exit_code == 0
    stub.calls.clear()
    draw = CrossFade.__call__

    def stopping(self, *args, **options):
        if len(self.calls) == 2:
            raise KeyboardInterrupt
        return draw(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(CrossFade, "__call__", stopping)
        result = run(cli, cut)
    assert result.exit_code == 130
    assert "1 of 2 gaps are kept; run the same command to resume" in result.stderr
    assert not cut["out"].exists()
    stub.calls.clear()
    assert run(cli, cut).exit_code == 0
    assert len(stub.calls) == 2
    assert listing(cut["out"]) == listing(tmp_path / "whole")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_drawing_changed_by_hand_is_refused_then_named(cli: Cli, stub: CrossFade, cut: dict[str, Any]):
    assert run(cli, cut).exit_code == 0
    changed = drawing(cut["out"] / "A" / "1a.png", 7)
    (cut["out"] / "A" / "notes.txt").write_text("mine")
    before = listing(cut["out"])
    assert "A/notes.txt" in run(cli, cut).stderr
    (cut["out"] / "A" / "notes.txt").unlink()
    refused = run(cli, cut)
    assert refused.exit_code == 2
    assert f"{changed} was changed since it was drawn" in refused.stderr
    (cut["out"] / "A" / "notes.txt").write_text("mine")
    assert listing(cut["out"]) == before
    done = run(cli, cut, "--overwrite")
    assert done.exit_code == 0
    assert "1a.png was changed since it was drawn, and is replaced" in done.stderr
    assert (level_of(changed), (cut["out"] / "A" / "notes.txt").read_text()) == (40, "mine")


def test_a_table_goes_in_and_comes_out(cli: Cli, stub: CrossFade, cut: dict[str, Any], tmp_path: Path):
    table = tmp_path / "cut1.csv"
    assert cli("sheet", "convert", cut["sheet"], "-o", table).exit_code == 0
    assert run(cli, cut | {"sheet": table}).exit_code == 0
    rows = (cut["out"] / "cut1.csv").read_text().splitlines()
    assert rows[0] == "A,B,C"
    column = [row.split(",")[0] for row in rows[1:]]
    assert column == [name for name in ("1", "1a", "1b", "2", "1b", "1a") for _ in (0, 1)]


def put(name: str, level: int = 0) -> Callable[[dict[str, Any]], Any]:
    return lambda cut: drawing(cut["drawings"] / name, level)


def say(**levels: str) -> Callable[[dict[str, Any]], Any]:
    return lambda cut: sheet(cut["sheet"], **levels)


def text(content: str) -> Callable[[dict[str, Any]], Any]:
    return lambda cut: cut["sheet"].write_text(content)


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "TDTS": (text("toeiDigitalTimeSheet Save Data\n{}"), "this is a TDTS sheet"),
    "no first line": (text('{"version": 5}'), "the first line of an XDTS file is"),
    "not JSON": (text("exchangeDigitalTimeSheet Save Data\n{,"), "is not JSON"),
    "no table": (text('exchangeDigitalTimeSheet Save Data\n{"timeTables": []}'), "it has no time table"),
    "no frames": (text('exchangeDigitalTimeSheet Save Data\n{"timeTables": [{"duration": 0}]}'), "the duration is 0"),
    "not text": (lambda cut: cut["sheet"].write_bytes(b"\xff\xfe\x00"), "it is not UTF-8 text"),
    "no sheet": (lambda cut: cut["sheet"].unlink(), "does not exist"),
    "no drawings": (lambda cut: cut.update(drawings=cut["sheet"].parent / "nowhere"), "does not exist"),
    "drawings a file": (lambda cut: cut.update(drawings=cut["sheet"]), "is not a folder"),
    "nothing after": (say(A="1@0 2@4 3@6"), "the drawing 3 on frame 7 is missing and has no drawing after it"),
    "nothing before": (say(A="9@0 1@4"), "the drawing 9 on frame 1 is missing and has no drawing before it"),
    "in-between first": (say(A="o@0 1@4"), "is missing and has no drawing before it"),
    "nothing to repeat": (say(A="1@0 *@4 2@6"), "the gap before it has 0 in-betweens to repeat"),
    "empty level": (say(A="1@0", D="1@0 o@2 2@4"), "Level D has no drawings in"),
    "nothing shown": (say(A="x@0"), "shows no drawings"),
    "two files": (put("A/0001.png"), "are both drawing 1"),
    "closed format": (lambda cut: (cut["drawings"] / "A" / "3.clip").touch(), "in an unsupported format"),
    "broken drawing": (lambda cut: cut["files"][0].write_bytes(b"\x89PNG"), "1.png is"),
    "another size": (lambda cut: Image.new("RGBA", (9, 9)).save(cut["files"][1]), "is 9x9 but"),
    "level named as a path": (say(**{"A/B": "1@0"}), "'A/B' cannot be the name of a file"),
    "drawing named as a path": (say(A="1@0 ../x@2 2@4"), "'../x' cannot be the name of a file"),
    "level twice": (say(**{"A": "1@0", " A": "1@0"}), "Two levels with drawings are named A"),
    "sheet of another kind": (lambda cut: cut.update(sheet=cut["files"][0]), "a time sheet is a .xdts or a .csv file"),
    "output among drawings": (lambda cut: cut.update(out=cut["drawings"]), "an input of the cut"),
    "output a file": (lambda cut: cut["out"].write_text(""), "is a file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(cli: Cli, stub: CrossFade, cut: dict[str, Any], case: str):
    spoil, sentence = BAD[case]
    spoil(cut)
    result = run(cli, cut)
    assert result.exit_code in (1, 2), result.output
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert not stub.calls
    assert not cut["out"].is_dir() or cut["out"] == cut["drawings"]


def test_a_preview_of_another_kind_is_refused(cli: Cli, stub: CrossFade, cut: dict[str, Any]):
    result = run(cli, cut, "--preview", "webm")
    assert result.exit_code == 2
    assert "The preview 'webm' is not known" in result.stderr


def test_the_record_says_where_every_drawing_comes_from(cli: Cli, stub: CrossFade, cut: dict[str, Any]):
    assert run(cli, cut).exit_code == 0
    record = json.loads((cut["out"] / "cut.json").read_text())
    level = record["levels"][0]["drawings"]
    assert [(one["name"], one["in_sheet"]) for one in level] == [("1", "1"), ("1a", None), ("1b", None), ("2", "2")]
    assert level[1]["between"] == ["1", "2"]
    assert level[1]["share"] == pytest.approx(1 / 3, abs=1e-6)
    assert level[0]["source"] == str(cut["files"][0])
    assert record["model_hash"] == "hash of mini"


def test_a_cut_takes_the_options_that_choose_how_is_drawn(cli: Cli, stub: CrossFade, cut: dict[str, Any], monkeypatch):
    variants = sys.modules["nakawari.variants"]
    monkeypatch.setattr(variants, "with_adapters", lambda name, more: "+".join([name, *more]), raising=False)
    monkeypatch.setattr(variants, "with_precision", lambda name, precision: f"{name}:{precision}", raising=False)
    result = run(cli, cut, "--adapter", "show@0.7", "--precision", "int8", "--seed", 3, "--no-parts")
    assert result.exit_code == 0, result.stderr
    record = json.loads((cut["out"] / "cut.json").read_text())
    assert (record["model"], record["seed"]) == ("mini+show@0.7:int8", 3)
    refused = run(cli, cut, "--seed", 4, "--offload", "model")
    assert (refused.exit_code, "--offload moves networks from a GPU" in refused.stderr) == (2, True)


def test_the_record_says_how_sure_every_drawing_is(cli: Cli, stub: CrossFade, cut: dict[str, Any], monkeypatch):
    from nakawari.cut import work

    draw = work.draw

    def sure(*words: Any) -> Any:
        drawn = draw(*words)
        count = len(drawn.frames) - 2
        return replace(
            drawn, used=(dict(drawn.used[0]) | {"confidence": [0.9 - 0.2 * number for number in range(count)]},)
        )

    monkeypatch.setattr(work, "draw", sure)
    assert run(cli, cut).exit_code == 0
    record = json.loads((cut["out"] / "cut.json").read_text())
    drawn = {one["name"]: one["confidence"] for one in record["levels"][0]["drawings"] if "share" in one}
    assert drawn == {"1a": 0.9, "1b": pytest.approx(0.7)}
    assert record["gaps"][0]["confidence"] == [0.9, pytest.approx(0.7)]


def test_doubtful_drawings_and_settings_without_effect_are_named(
    cli: Cli, stub: CrossFade, cut: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    from nakawari.cut import work

    draw = work.draw
    doubt = {"confidence": [0.9, 0.13], "cut": False, "drawn_by": "model"}
    monkeypatch.setattr(work, "draw", lambda *words: replace(own := draw(*words), used=({**own.used[0], **doubt},)))
    monkeypatch.setattr(CrossFade, "reads_noise", lambda self, steps=None: False)
    for _ in ("drawn", "there already"):
        told = run(cli, cut, "--seed", 5, "--steps", 4, "--no-parts").stderr
        assert "so --seed 5 has no effect" in told
        assert "A/1a.png to A/1b.png: lowest confidence is 0.13; look at its frames" in told
    record = json.loads((cut["out"] / "cut.json").read_text())
    assert (record["seed"], record["steps"]) == (None, 4)
    doubt["cut"] = True
    assert "B/2.png: a cut? Little of one key" in run(cli, cut, "--steps", 3, "--no-parts").stderr


def test_what_the_model_did_not_draw_has_none_of_its_settings(cli: Cli, stub: CrossFade, cut: dict[str, Any]):
    assert run(cli, cut, "--on-cut", "hold", "--steps", 4).exit_code == 0
    record = json.loads((cut["out"] / "cut.json").read_text())
    assert [gap["drawn_by"] for gap in record["gaps"]] == ["hold"] * 2
    assert (record["seed"], record["steps"]) == (None, None)


def test_a_full_disk_is_told_by_the_place_that_was_asked_for(
    cli: Cli, stub: CrossFade, cut: dict[str, Any], monkeypatch
):
    save = Image.Image.save

    def full(self: Image.Image, path: Any, **options: Any) -> None:
        if "contact-B" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    result = run(cli, cut)
    assert result.exit_code == 1
    assert f"Could not write {cut['out']}/contact-B.png: No space left on device" in result.stderr
    assert "2 of 2 gaps are kept" in result.stderr
