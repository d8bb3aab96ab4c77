"""Fixtures for tests that start another program: its environment, and a virtual display."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def around(tmp_path: Path) -> dict[str, str]:
    """An environment without this Python's own variables, in which NAKAWARI names this checkout's command, by a path
    with a space and a backslash, as Windows has them."""
    command, path = tmp_path / "My programs" / "bin\\nakawari", os.pathsep.join(sys.path)
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec {sys.executable} -m nakawari "$@"\n')
    command.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return kept | {"NAKAWARI": str(command)}


@pytest.fixture
def screen() -> Iterator[str]:
    """The name of a virtual display."""
    program = shutil.which("Xvfb")
    if program is None:
        pytest.skip("Xvfb is not installed")
    read, write = os.pipe()
    words = [program, "-displayfd", str(write), "-screen", "0", "1400x900x24", "-nolisten", "tcp"]
    server = subprocess.Popen(words, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as answer:
        yield f":{answer.readline().strip()}"
    server.terminate()
    server.wait()
