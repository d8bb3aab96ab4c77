"""The running app: a server in its own process, and a browser that records requests and errors."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.waiting import PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@dataclass
class Server:
    """A running app."""

    url: str
    work: Path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`nakawari app` on a new work folder."""
    pytest.importorskip("gradio", reason="the extra app is not installed")
    work = tmp_path_factory.mktemp("app") / "work"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "nakawari", "app", "--work", str(work), "--port", str(port), "--no-browser"]
    log = (work.parent / "server.log").open("w")
    child = subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    url = f"http://127.0.0.1:{port}/"
    try:
        _wait_for(url, child, work.parent / "server.log")
        yield Server(url, work)
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()


def _wait_for(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(int(PATIENCE / 0.25)):
        if child.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.25)
    raise AssertionError(f"the app did not start:\n{log.read_text()}")


@dataclass
class Watched:
    """Records of pages: `wrong`, console errors; `hosts` of requests."""

    wrong: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def over(self, page: Any) -> Any:
        """Watch a page."""
        page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda asked: self.hosts.add(asked.url.split("/")[2]) if "://" in asked.url else None)
        page.set_default_timeout(PATIENCE * 1000)
        return page


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; apt-get install chromium")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def visit(server: Server, chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens the app as a new user: `visit(has_touch=True)`. Teardown checks for errors and requests to other hosts."""
    watched, contexts = Watched(), []

    def open_page(**options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        page = watched.over(context.new_page())
        page.goto(server.url)
        page.wait_for_selector(".nk-add")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert watched.wrong == []
    assert watched.hosts <= {server.url.split("/")[2]}
