"""The Lead, Compare and Teach pages, in Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.drawings import ball, balls, red_near
from app.test_in_a_browser import add, folder_of
from app.waiting import PATIENCE, ended, json_when, said
from nakawari.media import write_video
from reporting.conftest import NAMES, evaluated


def turn_to(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    page.wait_for_selector(f"#{ {'Lead': 'ways', 'Compare': 'slider', 'Teach': 'clips'}[name] } .nk")


def on_board(page: Any, end: int, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    """Screen position of a point of the drawing."""
    board = page.locator(".nk-board").nth(end)
    board.wait_for()
    box = board.bounding_box()
    return box["x"] + (x + 0.5) / size[0] * box["width"], box["y"] + (y + 0.5) / size[1] * box["height"]


Ways = list[list[list[float]]]


def ways_when(server: Any, page: Any, check: Callable[[Ways], bool]) -> Ways:
    """The tracks of the first gap, once they satisfy the condition; see `json_when`."""
    state = folder_of(server, page) / "work.json"
    return json_when(page, state, lambda value: check(value["tracks"].get("1", [])))["tracks"].get("1", [])


@pytest.mark.parametrize("touch", [False, True])
def test_ways_are_in_pixels_of_the_drawing_also_when_it_is_shown_smaller(
    visit: Callable[..., Any], server: Any, tmp_path: Path, touch: bool
) -> None:
    size = (1600, 960)
    page = visit(has_touch=touch, viewport={"width": 390, "height": 800}) if touch else visit()
    add(page, ball(tmp_path / "a.png", 300, 500, size), ball(tmp_path / "b.png", 900, 500, size))
    turn_to(page, "Lead")
    page.locator(".nk-board").first.scroll_into_view_if_needed()
    start = on_board(page, 0, 300, 500, size)
    (page.touchscreen.tap if touch else page.mouse.click)(*start)
    page.wait_for_selector(".nk-board >> nth=1 >> .nk-mine")
    page.locator(".nk-board").nth(1).scroll_into_view_if_needed()
    begin, end = on_board(page, 1, 300, 500, size), on_board(page, 1, 900, 400, size)
    page.mouse.move(*begin)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()
    shown = page.locator(".nk-board").first.bounding_box()["width"]
    one = size[0] / shown  # a pixel of the screen in pixels of the drawing

    def ends_at(x: float, y: float) -> Callable[[Ways], bool]:
        return lambda ways: len(ways) == 1 and np.abs(np.array(ways[0][1]) - [x, y]).max() <= one + 0.5

    (way,) = ways_when(server, page, ends_at(900, 400))
    assert np.abs(np.array(way) - [[300, 500], [900, 400]]).max() <= one + 0.5
    page.get_by_role("button", name="Undo (Ctrl+Z)").click()
    (way,) = ways_when(server, page, ends_at(300, 500))
    assert np.abs(np.array(way[1]) - [300, 500]).max() <= one + 0.5
    page.get_by_role("button", name="Remove all points of this gap").click()
    assert ways_when(server, page, lambda ways: not ways) == []


def test_of_edits_that_come_before_the_answer_to_the_first_the_last_is_kept(
    visit: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    size, page = (320, 192), visit()
    add(page, ball(tmp_path / "a.png", 60, 100, size), ball(tmp_path / "b.png", 180, 100, size))
    turn_to(page, "Lead")
    page.mouse.click(*on_board(page, 0, 60, 100, size))
    ((_, end),) = ways_when(server, page, lambda ways: len(ways) == 1)
    press = "document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }))"
    page.evaluate(f"() => {{ for (let n = 0; n < 5; n++) {press}; }}")
    ((_, moved),) = ways_when(server, page, lambda ways: ways[0][1][0] > end[0] + 4.5)
    assert moved == pytest.approx([end[0] + 5, end[1]], abs=0.02)


def test_match_for_me(visit: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    from PIL import Image

    source = np.random.default_rng(0)
    picture = np.kron(source.integers(0, 255, (24, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    for name, shift in (("a.png", 0), ("b.png", 16)):
        Image.fromarray(np.roll(picture, shift, axis=1)).save(tmp_path / name)
    page = visit()
    add(page, tmp_path / "a.png", tmp_path / "b.png")
    turn_to(page, "Lead")
    page.click("#match")
    ended(page, "#lead-status", "Matched")
    ways = ways_when(server, page, bool)
    assert len(ways) >= 3
    moves = np.array([[end[0] - start[0], end[1] - start[1]] for start, end in ways])
    assert np.abs(np.median(moves, axis=0) - [16, 0]).max() < 1


def test_compare_in_step(visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit()
    add(page, ball(tmp_path / "a.png", 30), ball(tmp_path / "b.png", 60))
    page.click("#draw")
    said(page, "Drawn.")
    turn_to(page, "Compare")
    page.click("#compare")
    ended(page, "#compare-status", "Compared.")
    page.wait_for_selector("#slider .nk-line")
    page.get_by_label("What is left and right of it").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("What is left and right of it").get_attribute("aria-valuenow") == "52"
    page.get_by_label("Frame", exact=True).fill("4")
    sources = [one.get_attribute("src") for one in page.locator("#slider .nk-pair img").all()]
    assert all("0005.png" in source for source in sources) and len(set(sources)) == 2


def clips(folder: Path) -> list[Path]:
    """Three clips of 24 frames in which a square slides over a pattern."""
    source = np.random.default_rng(0)
    files = []
    for number in range(3):
        ground = np.kron(source.integers(80, 255, (6, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        frames = []
        for frame in range(24):
            shown = ground.copy()
            shown[30 + 8 * number : 50 + 8 * number, 10 + 4 * frame : 30 + 4 * frame] = (200, 40, 40)
            frames.append(shown)
        files.append(folder / f"c{number}.mp4")
        write_video(files[-1], frames, 12)
    return files


LESSON = {"teach-steps": "400", "rank": "4", "windows": "0"}


def fill_in(page: Any, fields: dict[str, str]) -> None:
    """Set numbers on the Teach page."""
    for field, value in fields.items():
        page.fill(f"#{field} input", value)
        page.locator(f"#{field} input").blur()


def taught_to_be(page: Any, tmp_path: Path, fields: dict[str, str]) -> None:
    """Drop three clips on the Teach page and fill its fields."""
    turn_to(page, "Teach")
    page.locator("#clips input[type=file]").first.set_input_files([str(file) for file in clips(tmp_path)])
    page.wait_for_selector("#clips li >> nth=2")
    fill_in(page, fields)


@pytest.mark.usefixtures("only_svg")
def test_a_report_opens(visit: Callable[..., Any], server: Any, tmp_path: Path, cli: Callable[..., Any]) -> None:
    result = evaluated(tmp_path, NAMES[:2], cost=False, guide=False)
    written = cli("report", result, "-o", server.work / "report", "--cases", 0)
    assert written.exit_code == 0, written.output
    page = visit()
    turn_to(page, "Compare")
    page.locator("#report-name input").click()
    page.get_by_role("option", name="report").click()
    inside = page.frame_locator("#report iframe")
    inside.get_by_text("Six discs & squares.").first.wait_for()
    page.locator("#report-name input").fill("../../etc")
    page.locator("#report-name input").press("Enter")
    ended(page, "#compare-status", "is outside the work folder")


@pytest.mark.slow
def test_plan_stop_after_a_reload_and_go_on_teaching(visit: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    page = visit()
    add(page, ball(tmp_path / "a.png", 30))
    folder = folder_of(server, page)
    taught_to_be(page, tmp_path, LESSON)
    page.click("#plan")
    ended(page, "#teach-status", "Planned; nothing is trained yet.")
    rows = page.locator("#teach-rows").text_content()
    assert re.search(r"400 steps of \d+\.\d+ s", rows) and "MiB" in rows
    assert not (folder / "teach" / "show").exists()
    page.click("#teach")
    page.wait_for_selector("#run polyline")
    page.reload()
    turn_to(page, "Teach")
    page.wait_for_selector("#run polyline")
    page.click("#teach-stop")
    ended(page, "#teach-status", "Stopped")
    (stopped,) = [int(one.name.partition("-")[2]) for one in (folder / "teach" / "show" / "checkpoints").iterdir()]
    assert 0 < stopped < 400
    fill_in(page, LESSON)
    page.click("#teach")
    log = folder / "teach" / "show" / "log.jsonl"
    for _ in range(int(PATIENCE)):
        steps = [json.loads(line)["step"] for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if max(steps) > stopped:
            break
        page.wait_for_timeout(1000)
    page.click("#teach-stop")
    ended(page, "#teach-status", "Stopped")
    assert max(steps) > stopped and steps == sorted(set(steps))  # it went on, and did no step twice


@pytest.mark.slow
def test_teach_ten_steps_and_draw_with_it(visit: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    page = visit()
    add(page, ball(tmp_path / "a.png", 30), ball(tmp_path / "b.png", 60))
    turn_to(page, "Teach")
    page.click("#teach")
    ended(page, "#teach-status", "There are no clips yet; add some first.")
    taught_to_be(page, tmp_path, LESSON | {"teach-steps": "10"})
    page.click("#check")
    ended(page, "#teach-status", "Checked.")
    assert "3 videos" in page.locator("#teach-rows").text_content()
    page.click("#teach")
    ended(page, "#teach-status", "Trained", 240)
    assert page.locator("#run polyline").count() >= 1
    assert page.locator("#run .nk-sample").count() >= 1
    page.click("#try")
    page.wait_for_selector("#draw:visible")
    page.wait_for_function(
        "[...document.querySelectorAll('textarea')].some((one) => one.value.includes('teach/show@1'))"
    )
    page.click("#draw")
    said(page, "Drawn.")
    record = json.loads((folder_of(server, page) / "out" / "interpolation.json").read_text())
    assert record["model"] == "mini+teach/show@1"


def test_a_thing_that_is_led_lands(visit: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    """Of two like balls the upper one goes far, which the model loses; led by its point, it stands half-way."""
    size = (200, 120)
    for name, places in (("a.png", [(40, 30), (40, 90)]), ("b.png", [(150, 60), (60, 90)])):
        balls(tmp_path / name, places, size)
    page = visit()
    add(page, tmp_path / "a.png", tmp_path / "b.png")
    page.get_by_label("In-betweens of gap 1").fill("1")
    page.get_by_label("In-betweens of gap 1").press("Enter")
    page.wait_for_function("document.querySelectorAll('.nk-tick').length === 1")
    page.get_by_label("Parts").first.uncheck()
    page.click("#draw")
    said(page, "Drawn.")
    middle = folder_of(server, page) / "out" / "0002.png"
    assert red_near(middle, (95, 45)) is None
    turn_to(page, "Lead")
    page.mouse.click(*on_board(page, 0, 40, 30, size))
    page.wait_for_selector(".nk-board >> nth=1 >> .nk-mine")
    page.mouse.move(*on_board(page, 1, 40, 30, size))
    page.mouse.down()
    page.mouse.move(*on_board(page, 1, 150, 60, size), steps=4)
    page.mouse.up()
    ways_when(server, page, lambda ways: len(ways) == 1 and ways[0][0] != ways[0][1])
    page.click("#lead-draw")
    assert json_when(page, middle.with_name("interpolation.json"), lambda value: bool(value["tracks"]))["tracks"]
    place = red_near(middle, (95, 45))
    assert place is not None and np.abs(np.array(place) - (95, 45)).max() <= 4
