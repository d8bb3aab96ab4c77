"""The bundled drawings, at the paths of the pages' commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import Result

Cli = Callable[..., Result]


def test_the_drawings_are_there_and_twice_is_the_same(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert cli("examples").exit_code == 0
    files = sorted((tmp_path / "examples").iterdir())
    assert [file.name for file in files] == ["key1.png", "key2.png", "key3.png", "walk.xdts"]
    assert len({Image.open(file).size for file in files[:3]}) == 1


def test_drawings_of_others_are_left_alone(cli: Cli, tmp_path: Path):
    (tmp_path / "key2.png").write_bytes(b"mine")
    result = cli("examples", tmp_path)
    assert result.exit_code == 2 and "key2.png exists already" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["key2.png"]
    (tmp_path / "file").write_text("")
    assert "is a file" in cli("examples", tmp_path / "file").stderr
