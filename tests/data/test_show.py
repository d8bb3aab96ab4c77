"""The contact sheet of a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from footage import scene, write_clip, write_images
from nakawari.data.show import show
from nakawari.errors import NakawariError
from nakawari.media import read_image


def test_rows_are_chosen_evenly_and_broken_ones_are_named(tmp_path: Path):
    for number in range(9):
        write_clip(tmp_path / f"clip{number}.mp4", scene(number, 8))
    (tmp_path / "clip4.mp4").write_bytes(b"no" * 99)
    shown = show(tmp_path, rows=3, columns=4)
    assert (shown.shown, shown.total) == (2, 9)
    assert len(shown.skipped) == 1 and "clip4.mp4" in shown.skipped[0]
    whole = show(tmp_path, rows=9, columns=4)
    assert whole.sheet.shape[0] > 3 * shown.sheet.shape[0]
    assert (whole.sheet == show(tmp_path, rows=9, columns=4).sheet).all()


def test_keys_of_samples_are_framed_and_of_clips_are_not(tmp_path: Path):
    red = (214, 73, 51)
    write_images(tmp_path / "set" / "train" / "one", scene(1, 3))
    write_clip(tmp_path / "clips" / "one.mp4", scene(1, 3))
    assert (show(tmp_path / "set").sheet == red).all(-1).any()
    assert not (show(tmp_path / "clips").sheet == red).all(-1).any()


def test_command(cli: Callable[..., Result], tmp_path: Path):
    write_images(tmp_path / "set" / "train" / "one", scene(1, 3))
    result = cli("data", "show", tmp_path / "set", "-o", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    assert "1 of 1" in result.stdout
    assert (read_image(tmp_path / "sheet.png") == show(tmp_path / "set").sheet).all()
    (tmp_path / "empty").mkdir()
    with pytest.raises(NakawariError, match="holds no clip"):
        show(tmp_path / "empty")


def test_the_sheet_does_not_replace_a_frame(cli: Callable[..., Result], tmp_path: Path):
    write_images(tmp_path / "clip", scene(1, 3))
    first = min((tmp_path / "clip").iterdir())
    before = first.read_bytes()
    result = cli("data", "show", tmp_path / "clip", "-o", first)
    assert (result.exit_code, f"{first} is a file of" in result.stderr) == (2, True)
    assert first.read_bytes() == before
