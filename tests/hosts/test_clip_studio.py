"""A synthetic export of Clip Studio Paint, and the drawings made from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

SCRIPT = Path(__file__).parents[2] / "hosts" / "clip-studio" / "nakawari_clip_studio.py"


def cel(path: Path, centre: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:64, :96]
    frame = np.zeros((64, 96, 4), np.uint8)
    frame[np.hypot(y - 32, x - centre) < 12] = (200, 40, 30, 255)
    Image.fromarray(frame).save(path)


@pytest.fixture
def handed(tmp_path: Path) -> Path:
    """`EXPORT/A/1.png`, `EXPORT/A/2.png` and the sheet in a folder of its own; rows before the start, as it writes."""
    cel(tmp_path / "export" / "A" / "1.png", 20)
    cel(tmp_path / "export" / "A" / "2.png", 68)
    cells = [(-1, "1"), (2, "SYMBOL_TICK_1"), (4, "SYMBOL_TICK_1"), (6, "2"), (8, "SYMBOL_NULL_CELL")]
    frames = [{"frame": row, "data": [{"id": 0, "values": [value]}]} for row, value in cells]
    table = {
        "name": "timeline1",
        "duration": 8,
        "timeTableHeaders": [{"fieldId": 0, "names": ["A"]}],
        "fields": [{"fieldId": 0, "tracks": [{"trackNo": 0, "frames": frames}]}],
    }
    sheet = tmp_path / "export" / "ExchangeDigitalTimeSheet" / "animation.xdts"
    sheet.parent.mkdir()
    text = json.dumps({"version": 5, "header": {"cut": "12", "scene": "1"}, "timeTables": [table]})
    sheet.write_text("exchangeDigitalTimeSheet Save Data\n" + text, encoding="utf-8")
    return sheet


def start(*words: object, command: str = f"{sys.executable} -m nakawari") -> subprocess.CompletedProcess[str]:
    around = os.environ | {"NAKAWARI": command, "NAKAWARI_QUIET": "1"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True, env=around, check=False
    )


def test_a_cut_is_drawn_beside_the_sheet(handed: Path, around: dict[str, str]) -> None:
    done = start(handed, command=around["NAKAWARI"])
    assert done.returncode == 0, done.stderr
    drawn = handed.parents[1] / "nakawari"
    assert sorted(path.name for path in (drawn / "A").glob("*.png")) == ["1.png", "1a.png", "1b.png", "2.png"]
    assert list(drawn.glob("*.xdts"))


def test_another_folder_of_cels(handed: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    (handed.parents[1] / "A").rename(tmp_path / "A")
    words, keeper = tmp_path / "words.json", tmp_path / "keeper.py"
    keeper.write_text(f"import json, sys\njson.dump(sys.argv[1:], open({str(words)!r}, 'w'))")
    assert start(handed, tmp_path, command=f"{sys.executable} {keeper}").returncode == 0
    drawn = cli(*json.loads(words.read_text()))
    assert drawn.exit_code == 0, drawn.output


def test_what_is_wrong_is_the_commands_sentence(handed: Path) -> None:
    (handed.parents[1] / "A" / "2.png").write_bytes(b"nothing")
    broken = start(handed)
    assert broken.returncode == 1 and "2.png" in broken.stderr and len(broken.stderr.splitlines()) == 1
    missing = start(handed, command="no-such-command")
    assert missing.returncode == 1 and "no-such-command was not found; install nakawari" in missing.stderr
    assert start().returncode == 2
