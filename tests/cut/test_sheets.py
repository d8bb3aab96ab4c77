"""Reading, drawing and writing time sheets: timing, and preservation of unknown content."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cut_sheets import Dense, dense_levels, document, sheets, spelled, write
from nakawari.cut.filling import Naming, filled, names_of
from nakawari.cut.placing import place
from nakawari.cut.sheet import Level, Sheet
from nakawari.cut.table import read_table, write_table
from nakawari.cut.xdts import read_xdts, write_xdts
from nakawari.errors import NakawariError

in_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)


def everything(name: str) -> bool:
    return True


def shown(level: Level, duration: int) -> Dense:
    exposures = place(level, duration, everything)
    return [None if number is None else exposures.drawings[number].name for number in exposures.shown(duration)]


def body(path: Path) -> dict[str, Any]:
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    assert first == "exchangeDigitalTimeSheet Save Data"
    return json.loads(rest)


def one_level(text: str, duration: int = 24) -> Sheet:
    from nakawari.cut.xdts import sheet_of

    return sheet_of(document({"A": spelled(text)}, duration))


@in_folder
@given(sheets())
def test_a_sheet_read_and_written_is_the_same_document(tmp_path: Path, drawn: tuple[dict[str, Any], list[Dense]]):
    value, levels = drawn
    sheet = read_xdts(write(tmp_path / "in.xdts", value))
    assert [shown(level, sheet.duration) for level in sheet.levels] == levels
    assert [level.name for level in sheet.levels] == list("ABC"[: len(levels)])
    write_xdts(tmp_path / "out.xdts", sheet)
    assert body(tmp_path / "out.xdts") == value


def without_names(value: dict[str, Any]) -> dict[str, Any]:
    """The document with every drawing's name removed."""
    value = copy.deepcopy(value)
    for field in value["timeTables"][0]["fields"]:
        for track in field["tracks"] if field["fieldId"] == 0 else ():
            for frame in track["frames"]:
                if not str(frame["data"][0]["values"][0]).startswith("SYMBOL"):
                    frame["data"][0]["values"] = ["?"]
    return value


@in_folder
@given(sheets(), st.sets(st.sampled_from(["1", "2", "3", "12", "A3", "2a", "07", "口"])), st.sampled_from(Naming))
def test_a_drawn_sheet_keeps_timing_and_all_that_is_not_a_name(
    tmp_path: Path, drawn: tuple[dict[str, Any], list[Dense]], files: set[str], naming: Naming
):
    value, levels = drawn
    sheet = read_xdts(write(tmp_path / "in.xdts", value))
    try:
        exposures = [place(level, sheet.duration, files.__contains__) for level in sheet.levels]
    except NakawariError as error:
        assert "is missing and has no drawing" in str(error)
        assume(False)
    write_xdts(tmp_path / "out.xdts", filled(sheet, exposures, naming))
    again = read_xdts(tmp_path / "out.xdts")
    for own, level, dense in zip(exposures, again.levels, levels, strict=True):
        called = dict(zip([drawing.name for drawing in own.drawings], names_of(own, naming), strict=True))
        assert shown(level, sheet.duration) == [None if name is None else called[name] for name in dense]
        if naming is Naming.renumber:
            order = list(dict.fromkeys(name for name in shown(level, sheet.duration) if name))
            assert order == [str(number + 1) for number in range(len(order))]
    assert without_names(body(tmp_path / "out.xdts")) == without_names(value)


@in_folder
@given(st.integers(1, 30).flatmap(lambda duration: st.lists(dense_levels(duration), min_size=1, max_size=3)))
def test_a_table_says_what_the_sheet_says(tmp_path: Path, levels: list[Dense]):
    duration = len(levels[0])
    rows = [spelled(" ".join(f"{name or 'x'}@{row}" for row, name in enumerate(level))) for level in levels]
    sheet = read_xdts(write(tmp_path / "in.xdts", document(dict(zip("ABC", rows, strict=False)), duration)))
    write_table(tmp_path / "t.csv", sheet)
    again = read_table(tmp_path / "t.csv")
    assert again.duration == duration
    assert [shown(level, duration) for level in again.levels] == levels
    write_xdts(tmp_path / "back.xdts", again)
    assert [shown(level, duration) for level in read_xdts(tmp_path / "back.xdts").levels] == levels


@st.composite
def key_sheets(draw: st.DrawFn) -> tuple[str, list[tuple[str, str, float]], int]:
    """A key sheet, the in-betweens of it in order as (key, key, share), and its length."""
    row, words, ways = 0, ["1@0"], []
    for key in range(1, draw(st.integers(2, 5))):
        if draw(st.booleans()):
            row += draw(st.integers(1, 6))
            words.append(f"{key}@{row}")  # a hold ends where the key is written again
        steps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
        length = sum(steps)
        for done in range(1, len(steps)):
            share = sum(steps[:done]) / length
            words.append(f"o@{row + sum(steps[:done])}")
            ways.append((str(key), str(key + 1), share))
        row += length
        words.append(f"{key + 1}@{row}")
    return " ".join(words), ways, row + 1


@given(key_sheets())
def test_in_betweens_lie_at_the_share_of_their_row(drawn: tuple[str, list[tuple[str, str, float]], int]):
    text, ways, duration = drawn
    (level,) = one_level(text, duration).levels
    exposures = place(level, duration, lambda name: name.isdecimal())
    found = [drawing.way for drawing in exposures.drawings if drawing.way]
    assert [(way.start, way.end) for way in found] == [(start, end) for start, end, _ in ways]
    assert [way.share for way in found] == pytest.approx([share for *_, share in ways])
    names = [drawing.name for drawing in exposures.drawings if drawing.way]
    assert len(set(names)) == len(names)
    assert all(name.startswith(way.start) for name, way in zip(names, found, strict=True))


@given(key_sheets())
def test_a_reverse_run_repeats_the_gap_before_it_last_first(drawn: tuple[str, list[tuple[str, str, float]], int]):
    text, ways, duration = drawn
    keys = [word.split("@")[0] for word in text.split() if not word.startswith("o")]
    last = max(map(int, keys))
    run = sum(start == str(last - 1) for start, _, _ in ways)
    words = [text, *(f"*@{duration + 2 * place}" for place in range(run)), f"{last - 1}@{duration + 2 * run}"]
    end = duration + 2 * run + 1
    (level,) = one_level(" ".join(words), end).levels
    forward = shown(one_level(text, duration).levels[0], duration)
    between = list(dict.fromkeys(name for name in forward if name and not name.isdecimal()))[len(ways) - run :]
    assert shown(level, end)[duration:] == [name for name in reversed(between) for _ in (0, 1)] + [str(last - 1)]


def ways_of(text: str, files: str, duration: int = 24) -> dict[str, tuple[str, str, float] | None]:
    (level,) = one_level(text, duration).levels
    found = place(level, duration, files.split().__contains__).drawings
    return {d.name: (d.way.start, d.way.end, round(d.way.share, 4)) if d.way else None for d in found}


@pytest.mark.parametrize(
    ("text", "files", "ways"),
    [
        ("1@0 2@2 3@3 4@8", "1 4", {"1": None, "2": ("1", "4", 0.25), "3": ("1", "4", 0.375), "4": None}),
        ("1@0 2@2 3@4 2@6 1@8", "1 3", {"1": None, "2": ("1", "3", 0.5), "3": None}),
        ("1@-3 2@2 3@8", "1 3", {"1": None, "2": ("1", "3", 0.25), "3": None}),
        ("1@0 x@2 o@4 2@8", "1 2", {"1": None, "1a": ("1", "2", 0.5), "2": None}),
        ("2@0 1a@1 1@2 o@4 2@6", "1 2", {"2": None, "1a": ("2", "1", 0.5), "1": None, "1b": ("1", "2", 0.5)}),
        ("1@0 o@2 o@4 2@6", "1 1a 2", {"1": None, "1a": None, "1b": ("1a", "2", 0.5), "2": None}),
        ("1@0 2@2 1@4 2@6 3@8", "1 3", {"1": None, "2": ("1", "3", 0.5), "3": None}),
    ],
)
def test_where_missing_drawings_lie(text: str, files: str, ways: dict[str, tuple[str, str, float] | None]):
    assert ways_of(text, files) == ways


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("1@0 o@1 o@2 2@3 *@4 *@5 1@6", "1 1a 1b 2 1b 1a 1"),
        ("1@0 o@1 2@2 o@3 3@4 *@5 2@6 *@7 1@8", "1 1a 2 2a 3 2a 2 1a 1"),
        ("1@0 o@1 o@2 2@3 *@4 |@5 *@6 x@7", "1 1a 1b 2 1b 1b 1a None"),
        ("1@0 o@1 2@2 2@3 *@4 1@5", "1 1a 2 2 1a 1"),
    ],
)
def test_reverse_runs(text: str, shows: str):
    duration = len(shows.split())
    assert list(map(str, shown(one_level(text, duration).levels[0], duration))) == shows.split()


@pytest.mark.parametrize(
    ("text", "files", "sentence"),
    [
        ("1@0 2@2 3@4", "1 2", "Level A: the drawing 3 on frame 5 is missing and has no drawing after it"),
        ("1@0 2@2 3@4", "2 3", "the drawing 1 on frame 1 is missing and has no drawing before it"),
        ("1@0 2@2 3@4", "", "has no drawing before and after it"),
        ("o@0 1@2", "1", "has no drawing before it"),
        ("1@0 *@2 2@4", "1 2", "has a ● on frame 3, but the gap before it has 0 in-betweens"),
        ("1@0 o@2 2@4 *@6 *@8 1@10", "1 2", "has a ● on frame 9, but the gap before it has 1 in-betweens"),
    ],
)
def test_what_cannot_be_placed_is_one_sentence(text: str, files: str, sentence: str):
    with pytest.raises(NakawariError) as error:
        ways_of(text, files)
    assert sentence in str(error.value)


def test_roles_come_and_go_with_their_names(tmp_path: Path):
    value = document({"A": spelled("1@0 o@2 2@4")}, 6)
    frames = value["timeTables"][0]["fields"][0]["tracks"][0]["frames"]
    frames[0]["data"][0]["options"] = ["OPTION_KEYFRAME"]
    sheet = read_xdts(write(tmp_path / "a.xdts", value))
    drawn = filled(sheet, [place(sheet.levels[0], 6, everything)], Naming.renumber)
    write_xdts(tmp_path / "b.xdts", drawn)
    track = body(tmp_path / "b.xdts")["timeTables"][0]["fields"][0]["tracks"][0]
    assert [(item["data"][0]["values"], item["data"][0].get("options")) for item in track["frames"]] == [
        (["1"], ["OPTION_KEYFRAME"]),
        (["2"], None),
        (["3"], None),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("toeiDigitalTimeSheet Save Data\n{}", "TDTS"),
        ('{"version": 5}', "first line"),
        ("", "first line"),
        ("exchangeDigitalTimeSheet Save Data\n{", "not JSON"),
        ("exchangeDigitalTimeSheet Save Data\n[]", "not a JSON object"),
        ('exchangeDigitalTimeSheet Save Data\n{"version": 5}', "timeTables is missing"),
        ('exchangeDigitalTimeSheet Save Data\n{"version": 7, "timeTables": []}', "version 7"),
        ('exchangeDigitalTimeSheet Save Data\n{"version": 5, "timeTables": []}', "no time table"),
        ('exchangeDigitalTimeSheet Save Data\n{"timeTables": [{"duration": 0}]}', "the duration is 0"),
        ('exchangeDigitalTimeSheet Save Data\n{"timeTables": [{"duration": "12"}]}', "the duration is '12'"),
        ('exchangeDigitalTimeSheet Save Data\n{"timeTables": [{"duration": 1e999}]}', "not a whole number"),
        ('exchangeDigitalTimeSheet Save Data\n{"timeTables": [{"duration": 9, "frameRate": 0}]}', "frameRate"),
    ],
)
def test_what_is_no_sheet_is_one_sentence(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "bad.xdts"
    path.write_text(text)
    with pytest.raises(NakawariError) as error:
        read_xdts(path)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)


def test_two_tracks_of_one_number_two_things_on_a_frame_and_unknown_symbols(tmp_path: Path):
    value = document({"A": spelled("1@0"), "B": spelled("1@0")}, 6)
    tracks = value["timeTables"][0]["fields"][0]["tracks"]
    for change, sentence in (
        ({"trackNo": 1}, "two tracks have the number 1"),
        ({"frames": spelled("1@0 2@0")}, "has two entries on frame 0"),
        ({"frames": spelled("SYMBOL_X@0")}, "SYMBOL_X is not known"),
    ):
        bad = copy.deepcopy(value)
        bad["timeTables"][0]["fields"][0]["tracks"][0] = tracks[0] | change
        with pytest.raises(NakawariError, match=sentence):
            read_xdts(write(tmp_path / "bad.xdts", bad))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "is empty"), ("A,B\n", "no frames"), ("A\n1,2\n", "has 2 cells in row 2"), ('A\n"1\n', "not a table")],
)
def test_what_is_no_table_is_one_sentence(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(NakawariError, match=sentence):
        read_table(path)


def test_a_table_counts_frames_in_a_column_of_its_own_or_not(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("Frame,A,B\n1,1,\n2,1,x1\n3,,x1\n")
    sheet = read_table(path)
    assert [(level.name, shown(level, 3)) for level in sheet.levels] == [
        ("A", ["1", "1", None]),
        ("B", [None, "x1", "x1"]),
    ]


def test_a_table_refuses_what_it_would_move(tmp_path: Path):
    with pytest.raises(NakawariError, match=r"repeats .* on frame 5"):
        write_table(tmp_path / "t.csv", one_level("1@0 1@4 o@6 2@8"))
    write_table(tmp_path / "t.csv", one_level("1@0 1@4 2@8"))
