"""`nakawari sheet`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

SHEET = {
    "version": 5,
    "timeTables": [
        {
            "name": "cut 12",
            "duration": 6,
            "timeTableHeaders": [{"fieldId": 0, "names": ["A", "B"]}],
            "fields": [
                {
                    "fieldId": 0,
                    "tracks": [
                        {
                            "trackNo": 0,
                            "frames": [
                                {
                                    "frame": 0,
                                    "data": [{"id": 0, "values": ["1"], "options": ["OPTION_KEYFRAME"]}],
                                },
                                {"frame": 2, "data": [{"id": 0, "values": ["SYMBOL_TICK_1"]}]},
                                {"frame": 4, "data": [{"id": 0, "values": ["2"]}]},
                                {"frame": 5, "data": [{"id": 0, "values": ["SYMBOL_NULL_CELL"]}]},
                            ],
                        }
                    ],
                }
            ],
        }
    ],
}


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "cut12.xdts"
    path.write_text("exchangeDigitalTimeSheet Save Data\n" + json.dumps(SHEET))
    return path


def test_show(cli: Callable[..., Result], sheet: Path):
    result = cli("sheet", "show", sheet)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "cut 12: 6 frames at 24 per second (0.25 s)",
        "frame    A  B",
        "    1  (1)",
        "    2    |",
        "    3    ○",
        "    4    |",
        "    5    2",
        "    6    ×",
    ]


def test_convert_and_back(cli: Callable[..., Result], sheet: Path, tmp_path: Path):
    table = tmp_path / "cut12.csv"
    assert cli("sheet", "convert", sheet, "-o", table).exit_code == 0
    assert table.read_text() == "A,B\n1,\n1,\n○,\n|,\n2,\n,\n"
    assert cli("sheet", "convert", sheet, "-o", table).exit_code == 2
    assert cli("sheet", "convert", table, "-o", tmp_path / "back.xdts").exit_code == 0
    assert cli("sheet", "show", tmp_path / "back.xdts").stdout.splitlines()[4:] == [
        "    3  ○",
        "    4  |",
        "    5  2",
        "    6  ×",
    ]
    assert cli("sheet", "convert", sheet, "-o", tmp_path / "back.txt").exit_code == 2
    assert "first line" in cli("sheet", "show", table.rename(tmp_path / "x.xdts")).stderr
