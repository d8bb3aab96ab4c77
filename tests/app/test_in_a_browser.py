"""The Draw page, in Chromium."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.drawings import ball, red_centre
from app.waiting import json_when, said

FILES = ".nk-is-strip input[type=file] >> nth=0"


def add(page: Any, *files: Path) -> None:
    there = page.locator(".nk-key").count()
    page.locator(FILES).set_input_files([str(file) for file in files])
    page.wait_for_selector(f".nk-key >> nth={there + len(files) - 1}")


def folder_of(server: Any, page: Any) -> Path:
    """The user's folder, from the URL of a key's image."""
    token = page.locator(".nk-key img").first.get_attribute("src").split("/")[1]
    return server.work / "users" / token


def test_draw_play_and_go_on_after_a_reload(visit: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    page = visit()
    add(page, ball(tmp_path / "a.png", 30), ball(tmp_path / "b.png", 110))
    page.get_by_label("In-betweens of gap 1").fill("3")
    page.get_by_label("In-betweens of gap 1").press("Enter")
    page.wait_for_selector(".nk-tick >> nth=2")
    page.click("#draw")
    said(page, "Drawn.")
    assert page.locator(".nk-film .nk-frame").count() == 5
    assert page.locator(".nk-film .nk-framed").count() == 2
    page.locator(".nk-stage").click()
    page.keyboard.press("ArrowRight")
    assert page.locator(".nk-about").text_content().startswith("Frame 2 · in-between of gap 1, 25 %")
    page.keyboard.press("f")
    assert page.locator(".nk-about").text_content().startswith("Frame 1 · key a.png")
    page.keyboard.press("o")
    assert page.locator(".nk-stage .nk-later").count() == 1
    page.keyboard.press(" ")
    page.wait_for_function("document.querySelector('.nk-film [aria-selected=true]').textContent === '4'")
    page.keyboard.press(" ")
    folder = folder_of(server, page)
    assert 45 < red_centre(folder / "out" / "0003.png")[0] < 95
    page.reload()
    page.wait_for_selector(".nk-stage img")
    assert page.locator(".nk-key").count() == 2
    assert page.get_by_label("In-betweens of gap 1").input_value() == "3"
    page.wait_for_timeout(1000)
    settings = json.loads((folder / "work.json").read_text())
    assert (settings["parts"], settings["loop"], settings["fps"]) == (True, False, 12.0)


def test_what_was_drawn_goes_on_at_the_command_line(
    visit: Callable[..., Any], server: Any, tmp_path: Path, cli: Callable[..., Any], monkeypatch: Any
) -> None:
    page = visit()
    add(page, ball(tmp_path / "a.png", 30), ball(tmp_path / "b.png", 60))
    page.click("#draw")
    said(page, "Drawn.")
    monkeypatch.chdir(folder_of(server, page))
    words = page.locator("textarea").last.input_value().split()
    result = cli(*words[1:], "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["gaps_drawn"] == []


def test_take_away_and_make_a_key(visit: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    page = visit()
    add(page, ball(tmp_path / "a.png", 30), ball(tmp_path / "b.png", 60))
    page.get_by_label("Fewer in-betweens in gap 1").click()
    page.wait_for_function("document.querySelectorAll('.nk-tick').length === 6")
    page.click("#draw")
    said(page, "Drawn.")
    with page.expect_download() as taken:
        page.get_by_text("PNG (zip)").click()
    with zipfile.ZipFile(taken.value.path()) as archive:
        assert sum(name.startswith("A/") for name in archive.namelist()) == 8
    page.get_by_label("Frame 4", exact=True).click()
    page.get_by_role("button", name="Make this frame a key").click()
    page.wait_for_selector(".nk-key >> nth=2")
    assert [one.get_attribute("title").split(",")[0] for one in page.locator(".nk-name").all()] == [
        "a.png",
        "a_3.png",
        "b.png",
    ]
    counts = [one.input_value() for one in page.locator(".nk-gap input").all()]
    assert counts == ["2", "3"]


def test_a_long_job_outlives_a_reload_is_cancelled_and_keeps_what_is_done(
    visit: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    page = visit()
    keys = [ball(tmp_path / f"k{number}.png", 40 + 30 * number, size=(256, 160)) for number in range(6)]
    add(page, *keys)
    for box in page.get_by_label("Parts").all():
        box.uncheck()
    count = page.get_by_label("In-betweens of gap 5")
    count.fill("300")  # so many that the job is at work for long, however slow the page is
    count.press("Enter")
    page.wait_for_selector(".nk-tick >> nth=327")
    page.click("#draw")
    # Six keys and one gap that is done are to be seen before the others are drawn; then the page is loaded anew.
    page.wait_for_selector("#player .nk-frame >> nth=12")
    page.reload()
    page.wait_for_selector("#player .nk-frame >> nth=12")
    page.click("#cancel")
    said(page, "Stopped: interrupted;")
    words = page.locator("#status p").text_content()
    kept = int(re.search(r"(\d) of 5 gaps are kept", words)[1])
    assert 1 <= kept < 5
    page.wait_for_function("count => document.querySelectorAll('#player .nk-frame').length === count", arg=6 + 7 * kept)
    count.fill("1")
    count.press("Enter")
    page.wait_for_function("document.querySelectorAll('.nk-tick').length === 29")
    page.click("#draw")
    said(page, "Drawn.")
    record = json.loads((folder_of(server, page) / "out" / "interpolation.json").read_text())
    assert len(record["frames"]) == 6 + 4 * 7 + 1


def test_bad_input_is_one_sentence(visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit()
    page.click("#draw")
    said(page, "In-betweens need two or more key drawings; add key drawings.")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    page.locator(FILES).set_input_files([str(broken)])
    said(page, "broken.png is")
    add(page, ball(tmp_path / "a.png", 30))
    page.locator(FILES).set_input_files([str(ball(tmp_path / "other.png", 30, size=(80, 60)))])
    said(page, "all key drawings must have one size")
    assert page.locator(".nk-key").count() == 1


def test_draw_a_gap_again_and_put_a_mended_drawing_in(visit: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    page = visit()
    add(page, ball(tmp_path / "a.png", 30), ball(tmp_path / "b.png", 60))
    page.click("#draw")
    said(page, "Drawn.")
    record = folder_of(server, page) / "out" / "interpolation.json"
    before = record.stat().st_mtime_ns
    page.get_by_role("button", name="Draw this gap again").click()
    said(page, "Choose an in-between in the player first; its gap is drawn again.")
    page.get_by_label("Frame 3", exact=True).click()
    page.get_by_role("button", name="Draw this gap again").click()
    said(page, "Drawn.")
    assert record.stat().st_mtime_ns > before
    page.get_by_label("Frame 5", exact=True).click()
    mended = ball(tmp_path / "<b onclick=alert(1)>mended.png", 45)
    page.locator("#frame-tools input[type=file]").set_input_files([str(mended)])
    page.wait_for_selector(".nk-key >> nth=2")
    names = [one.text_content() for one in page.locator(".nk-name").all()]
    assert names[1].endswith("mended.png") and "<" not in names[1]
    page.click("#draw")
    said(page, "Drawn.")
    assert page.locator(".nk-film .nk-framed").count() == 3


def test_keyboard_and_drag_set_the_timing(visit: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    page = visit()
    add(page, ball(tmp_path / "a.png", 30), ball(tmp_path / "b.png", 60))
    page.get_by_label("In-betweens of gap 1").fill("1")
    page.get_by_label("In-betweens of gap 1").press("Enter")
    page.wait_for_function("document.querySelectorAll('.nk-tick').length === 1")
    page.locator(".nk-tick").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.nk-gap select').value === 'own'")
    chart = page.locator(".nk-chart").bounding_box()
    tick = page.locator(".nk-tick").bounding_box()
    middle = tick["y"] + tick["height"] / 2
    page.mouse.move(tick["x"] + tick["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(chart["x"] + chart["width"] * (8 + 0.8 * 104) / 120, middle, steps=3)
    page.mouse.up()
    page.wait_for_function("Math.abs(document.querySelector('.nk-tick').getAttribute('aria-valuenow') - 0.8) < 0.02")
    state = folder_of(server, page) / "work.json"
    (spacing,) = json_when(page, state, lambda value: abs(value["spacing"][0][0] - 0.8) < 0.02)["spacing"]
    assert abs(spacing[0] - 0.8) < 0.02


def test_draw_does_not_wait_for_the_event_of_a_field(visit: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    """A field was changed just before the click, and its own event is still on the way when Draw arrives."""
    page, held = visit(), list[Any]()
    add(page, ball(tmp_path / "a.png", 30), ball(tmp_path / "b.png", 60))

    def hold_the_first(route: Any) -> None:
        route.continue_() if held else held.append(route)

    page.route("**/gradio_api/run/**", hold_the_first)
    page.get_by_label("Parts").first.uncheck()
    page.wait_for_timeout(500)
    assert len(held) == 1
    page.click("#draw")
    said(page, "Drawn.")
    record = json.loads((folder_of(server, page) / "out" / "interpolation.json").read_text())
    assert [gap["drawn_by"] for gap in record["gaps"]] == ["model"]
    held[0].continue_()


def test_the_fields_show_what_a_time_sheet_sets(visit: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    page = visit()
    add(page, ball(tmp_path / "A1.png", 30), ball(tmp_path / "A2.png", 60))
    page.get_by_label("Loop").check()
    state = folder_of(server, page) / "work.json"
    assert json_when(page, state, lambda value: value["loop"])["loop"]
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("A\n1\n\n○\n○\n2\n", encoding="utf-8")
    page.locator(FILES).set_input_files([str(sheet)])
    page.wait_for_function("document.querySelectorAll('.nk-tick').length === 2")
    assert not page.get_by_label("Loop").is_checked()
    page.get_by_label("Seed").fill("3")
    page.get_by_label("Seed").press("Enter")
    asked = json_when(page, state, lambda value: value["seed"] == 3)
    assert (asked["seed"], asked["loop"], len(asked["between"])) == (3, False, 1)
    page.click("#draw")
    said(page, "Drawn.")
    assert len(json.loads(state.read_text())["between"]) == 1
