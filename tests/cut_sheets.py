"""Time sheets for tests, as XDTS documents: random, or given row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

NULL, HYPHEN, BETWEEN, REVERSE = "SYMBOL_NULL_CELL", "SYMBOL_HYPHEN", "SYMBOL_TICK_1", "SYMBOL_TICK_2"
SIGNS = {"x": NULL, "|": HYPHEN, "o": BETWEEN, "*": REVERSE}
Dense = list[str | None]
"""What a level shows on every frame."""


def frame(row: int, value: str, **more: Any) -> dict[str, Any]:
    return {"frame": row, "data": [{"id": 0, "values": [value]}], **more}


def document(tracks: dict[str, list[dict[str, Any]]], duration: int, **table: Any) -> dict[str, Any]:
    """Level name -> frames, bottom level first."""
    listed = [{"trackNo": number, "frames": frames} for number, frames in enumerate(tracks.values())]
    return {
        "version": 5,
        "timeTables": [
            {
                "name": "cut",
                "duration": duration,
                "timeTableHeaders": [{"fieldId": 0, "names": list(tracks)}],
                "fields": [{"fieldId": 0, "tracks": listed}],
                **table,
            }
        ],
    }


def spelled(text: str) -> list[dict[str, Any]]:
    """`"1@0 o@2 o@4 2@6 x@8"` as frames; x × | ○ as o and ● as *."""
    pairs = [word.split("@") for word in text.split()]
    return [frame(int(row), SIGNS.get(value, value)) for value, row in pairs]


def write(path: Path, value: dict[str, Any]) -> Path:
    path.write_text("exchangeDigitalTimeSheet Save Data\n" + json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
UNKNOWN = st.dictionaries(st.sampled_from(["memo", "color", "ex", "x1"]), JSON, max_size=2)
NAMES = st.sampled_from(["1", "2", "3", "12", "A3", "2a", "07", "口"])


@st.composite
def dense_levels(draw: st.DrawFn, duration: int) -> Dense:
    """A level with runs on ones, twos or threes, with holds and gaps."""
    runs = draw(st.lists(st.tuples(st.none() | NAMES, st.sampled_from([1, 2, 2, 3, 8])), min_size=1, max_size=12))
    shown = [name for name, length in runs for _ in range(length)]
    return (shown + [shown[-1]] * duration)[:duration]


@st.composite
def tracks(draw: st.DrawFn, dense: Dense) -> list[dict[str, Any]]:
    """A level's frames as programs write them: changes, repeated cells, unsorted, rows outside the sheet."""
    frames = []
    for row, name in enumerate(dense):
        changes = row == 0 or name != dense[row - 1]
        if changes and row == 0 and (name is not None or draw(st.booleans())):
            row = draw(st.sampled_from([0, 0, -1, -7]))
            frames.append(frame(row, name or NULL, **draw(UNKNOWN)))
            if row < 0 and draw(st.booleans()):
                frames.append(frame(row - 3, draw(NAMES | st.just(NULL))))
        elif changes and row:
            frames.append(frame(row, name or NULL, **draw(UNKNOWN)))
        elif row and draw(st.integers(0, 9)) == 0:
            frames.append(frame(row, draw(st.sampled_from([HYPHEN, name or NULL])), **draw(UNKNOWN)))
        elif row and draw(st.integers(0, 9)) == 0:
            frames.append({"frame": row, "data": [{"id": 5, "values": ["?"]}], **draw(UNKNOWN)})
    if draw(st.booleans()):
        frames.append(frame(len(dense), NULL))
    if draw(st.booleans()):
        frames.append(frame(len(dense) + 3, draw(NAMES)))
    for item in frames:
        if item["data"][0]["id"] == 0 and not item["data"][0]["values"][0].startswith("SYMBOL"):
            options = draw(st.sampled_from([None, ["OPTION_KEYFRAME"], ["OPTION_REFERENCEFRAME", "OTHER"], []]))
            item["data"][0] |= {} if options is None else {"options": options}
    return draw(st.permutations(frames))


@st.composite
def sheets(draw: st.DrawFn) -> tuple[dict[str, Any], list[Dense]]:
    """A document with unknown fields, and the exposures of its levels."""
    duration = draw(st.integers(1, 40))
    levels = draw(st.lists(dense_levels(duration), min_size=1, max_size=3))
    names = [f" {name} " if draw(st.booleans()) else name for name in "ABC"[: len(levels)]]
    value = document({name: draw(tracks(level)) for name, level in zip(names, levels, strict=True)}, duration)
    table = value["timeTables"][0]
    value |= draw(UNKNOWN) | {"version": draw(st.sampled_from([5, 10]))}
    value |= {"header": {"cut": "12", "scene": "3"}} if draw(st.booleans()) else {}
    table |= draw(UNKNOWN)
    table |= {"frameRate": draw(st.sampled_from([12, 24, 23.976, 30]))} if draw(st.booleans()) else {}
    table["fields"][0] |= draw(UNKNOWN)
    for track in table["fields"][0]["tracks"]:
        track |= draw(UNKNOWN)
    table["fields"] = draw(
        st.permutations([*table["fields"], {"fieldId": 3, "tracks": [{"trackNo": 0, "frames": [frame(1, "Hai!")]}]}])
    )
    if draw(st.booleans()):
        value["timeTables"].append({"name": "another", "duration": 0})
    return value, levels
