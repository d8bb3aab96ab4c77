"""The app in a real browser: screenshots of its pages, time to the first drawing, response times.

    python benchmarks/app_in_browser.py -o benchmarks/results/app.json --pictures docs/images

Needs the extra `app`, Playwright and Chromium. A screenshot shows a page at 390, 1280 and 2560 pixels, light and dark.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

from nakawari.files import write_json
from nakawari.media import write_video
from nakawari.provenance import provenance

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
SIZES = {390: 844, 1280: 800, 2560: 1440}
INK = (30, 26, 34)
TALL = 480
"""Height of one screen in a screenshot."""
PAGES = {"Draw": "#status", "Lead": "#lead-status", "Compare": "#compare-status", "Teach": "#teach-status"}


@contextmanager
def served(work: Path) -> Iterator[str]:
    """Run the app on a work folder; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "nakawari", "app", "--work", str(work), "--port", str(port), "--no-browser"]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(400):
            try:
                urllib.request.urlopen(url).close()
                break
            except OSError:
                time.sleep(0.25)
        yield url
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()


def ended(page: Page, where: str, words: str) -> None:
    """Wait until a status line contains the text."""
    script = "([where, words]) => document.querySelector(where + ' p').textContent.includes(words)"
    page.wait_for_function(script, arg=[where, words], timeout=600_000)


def keys(folder: Path, count: int = 2) -> list[str]:
    """Drawings of 480 x 300, flat colours with outlines: a figure on a hill raising an arm."""
    paths = []
    for number in range(count):
        turn = number / max(1, count - 1)
        picture = Image.new("RGB", (480, 300), (168, 208, 232))
        pen = ImageDraw.Draw(picture)
        pen.ellipse((-200, 210, 680, 640), fill=(126, 176, 98), outline=INK, width=3)
        pen.ellipse((380, 30, 440, 90), fill=(250, 220, 110), outline=INK, width=3)
        x, angle = 150 + 110 * turn, np.deg2rad(70 - 150 * turn)
        for side in (-16, 16):
            pen.rounded_rectangle((x + side - 9, 180, x + side + 9, 236), 6, (52, 70, 120), INK, 3)
        pen.rounded_rectangle((x - 32, 100, x + 32, 190), 14, (206, 72, 60), INK, 3)
        hand = x + 24 + 70 * np.cos(angle), 120 + 70 * np.sin(angle)
        pen.line((x + 24, 120, *hand), INK, 24)
        pen.line((x + 24, 120, *hand), (206, 72, 60), 18)
        pen.ellipse((hand[0] - 12, hand[1] - 12, hand[0] + 12, hand[1] + 12), (248, 208, 170), INK, 3)
        pen.ellipse((x - 36, 36, x + 36, 108), (248, 208, 170), INK, 3)
        pen.chord((x - 36, 36, x + 36, 108), 180, 360, (84, 52, 36), INK, 3)
        paths.append(folder / f"hill{number + 1}.png")
        picture.save(paths[-1])
    return [str(path) for path in paths]


def clips(folder: Path) -> list[str]:
    """Three clips in which a square slides over a pattern."""
    source, paths = np.random.default_rng(0), []
    for number in range(3):
        ground = np.kron(source.integers(120, 250, (5, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)
        frames = [ground.copy() for _ in range(24)]
        for place, frame in enumerate(frames):
            frame[30 + 8 * number : 55 + 8 * number, 10 + 5 * place : 35 + 5 * place] = (200, 40, 40)
        paths.append(folder / f"clip{number + 1}.mp4")
        write_video(paths[-1], frames, 12)
    return [str(path) for path in paths]


def measured(page: Page, url: str, folder: Path) -> dict[str, Any]:
    """Seconds from Draw to the first image of a two-key job, and response times in milliseconds meanwhile."""
    page.goto(url)
    page.wait_for_selector(".nk-add")
    page.locator(".nk-is-strip input[type=file]").first.set_input_files(keys(folder))
    page.wait_for_selector(".nk-key >> nth=1")
    page.get_by_label("Parts").first.uncheck()
    began = time.perf_counter()
    page.click("#draw")
    page.wait_for_selector("#player .nk-stage img")
    first = time.perf_counter() - began
    page.get_by_label("In-betweens of gap 1").fill("120")
    page.get_by_label("In-betweens of gap 1").press("Enter")
    page.wait_for_selector(".nk-tick >> nth=119")
    page.click("#draw")
    ended(page, "#status", "in-betweens:")
    loads, clicks = [], []
    for number in range(20):
        began = time.perf_counter()
        urllib.request.urlopen(url).read()
        loads.append(1000 * (time.perf_counter() - began))
        # From the key press on the picker to the server's response: the spacing of the gap changes.
        began = time.perf_counter()
        page.get_by_label("Spacing of gap 1").select_option(["ease", "even"][number % 2])
        want = ["ease", "even"][number % 2]
        page.wait_for_function(
            "want => document.querySelector('textarea')?.value !== undefined && "
            "[...document.querySelectorAll('textarea')].some((one) => one.value.includes('--spacing ' + want + ' '))",
            arg=want,
            polling=5,
        )
        clicks.append(1000 * (time.perf_counter() - began))
    page.click("#cancel")
    ended(page, "#status", "Stopped")
    return {
        "first_picture_seconds": round(first, 2),
        "page_load_ms": {"median": round(statistics.median(loads), 1), "most": round(max(loads), 1)},
        "click_to_answer_ms": {"median": round(statistics.median(clicks), 1), "most": round(max(clicks), 1)},
    }


def prepared(page: Page, url: str, folder: Path) -> None:
    """Prepare a work folder: three keys drawn, a point track set, two models compared, ten steps trained."""
    page.goto(url)
    page.wait_for_selector(".nk-add")
    page.locator(".nk-is-strip input[type=file]").first.set_input_files(keys(folder, 3))
    page.wait_for_selector(".nk-key >> nth=2")
    page.click("#draw")
    ended(page, "#status", "Drawn.")
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_timeout(1000)
    page.click("#compare")
    ended(page, "#compare-status", "Compared.")
    page.get_by_role("tab", name="Lead").click()
    page.wait_for_selector(".nk-board")
    page.click("#match")
    ended(page, "#lead-status", "Matched")
    page.get_by_role("tab", name="Teach").click()
    page.locator("#clips input[type=file]").first.set_input_files(clips(folder))
    page.wait_for_selector("#clips li >> nth=2")
    for field, value in (("teach-steps", "10"), ("rank", "4"), ("windows", "0")):
        page.fill(f"#{field} input", value)
        page.locator(f"#{field} input").blur()
    page.click("#teach")
    ended(page, "#teach-status", "Taught")


def pictured(browser: Any, url: str, state: Any, folder: Path) -> None:
    """A screenshot of each page, and one of the empty pages of a new user."""
    shots: dict[str, list[Image.Image]] = {name: [] for name in [*PAGES, "Empty"]}
    for scheme in ("light", "dark"):
        for width, height in SIZES.items():
            options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
            for name, images in shots.items():
                context = browser.new_context(**options, **({} if name == "Empty" else {"storage_state": state}))
                page = context.new_page()
                page.goto(url)
                page.wait_for_selector(".nk-add")
                if name != "Empty":
                    page.get_by_role("tab", name=name).click()
                page.wait_for_timeout(1500)
                page.screenshot(path=folder / "shot.png")
                images.append(Image.open(folder / "shot.png").convert("RGB").copy())
                context.close()
    for name, images in shots.items():
        sheet(images).save(folder / f"app-{name.lower()}.png", optimize=True)


def sheet(images: list[Image.Image]) -> Image.Image:
    """Screens side by side, those of one scheme in a row, in 128 colours."""
    small = [one.resize((round(one.width * TALL / one.height), TALL), Image.Resampling.LANCZOS) for one in images]
    row = len(SIZES)
    width = sum(one.width for one in small[:row]) + 8 * (row + 1)
    page = Image.new("RGB", (width, 2 * TALL + 24), (128, 128, 128))
    for number, one in enumerate(small):
        left = 8 + sum(other.width + 8 for other in small[number - number % row : number])
        page.paste(one, (left, 8 + (number // row) * (TALL + 8)))
    return page.quantize(128, dither=Image.Dither.NONE)


def main() -> None:
    """Measure, and with --pictures take screenshots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        with served(folder / "work") as url:
            browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
            time.sleep(15)  # the worker process has finished its imports
            found = measured(browser.new_page(), url, folder) | {"load": os.getloadavg()[0], "cores": os.cpu_count()}
            write_json(arguments.output, found | {"provenance": provenance(None)})
            print(found)
            if arguments.pictures is not None:
                context = browser.new_context()
                prepared(context.new_page(), url, folder)
                pictured(browser, url, context.storage_state(), folder)
                for picture in folder.glob("app-*.png"):
                    shutil.copy(picture, arguments.pictures / picture.name)
            browser.close()


if __name__ == "__main__":
    main()
