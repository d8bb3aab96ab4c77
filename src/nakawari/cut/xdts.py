"""XDTS, the exchange digital time sheet: read, and written with all unknown fields kept."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import NakawariError
from ..files import write_text
from .sheet import DEFAULT_RATE, Cell, Level, Mark, Role, Sheet

FIRST_LINE = "exchangeDigitalTimeSheet Save Data"
SIBLING = "toeiDigitalTimeSheet Save Data"
VERSIONS = (5, 10)
CELLS = 0
"""ID of the field of drawings; other fields are kept unchanged."""


class _Complaint(Exception):
    """An error in a document, without its file name."""


def read_xdts(path: Path) -> Sheet:
    """Read the first table of an XDTS file.

    Raises:
        NakawariError: the file is missing, is not XDTS, or has invalid content.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise NakawariError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise NakawariError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    except UnicodeDecodeError as error:
        raise NakawariError(f"{path} is not a time sheet: it is not UTF-8 text; export it again as XDTS.") from error
    try:
        return sheet_of(_document(text))
    except _Complaint as complaint:
        raise NakawariError(f"{path}: {complaint}") from complaint


def _document(text: str) -> dict[str, Any]:
    first, _, rest = text.partition("\n")
    first = first.strip()
    if first == SIBLING:
        raise _Complaint("this is a TDTS sheet, a different format; export it as XDTS.")
    if first != FIRST_LINE:
        raise _Complaint(f"the first line of an XDTS file is {FIRST_LINE!r}, which is missing here; export it again.")
    try:
        value = json.loads(rest, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _Complaint(f"what follows the first line is not JSON ({error}); export the sheet again.") from error
    return _object(value, "the document")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")


def sheet_of(document: Mapping[str, Any]) -> Sheet:
    """The first table of a document as a sheet; raises `_Complaint`."""
    if document.get("version", VERSIONS[0]) not in VERSIONS:
        raise _Complaint(f"version {document['version']!r} is not supported; export it as version 5 or 10.")
    tables = _list(document.get("timeTables"), "timeTables")
    if not tables:
        raise _Complaint("it has no time table; export the sheet again.")
    table = _object(tables[0], "the time table")
    duration = _whole(table.get("duration"), "the duration")
    if duration < 1:
        raise _Complaint(f"the duration is {duration} frames; it must be 1 or more.")
    name = table.get("name", "")
    return Sheet(
        name if isinstance(name, str) else str(name), duration, _rate(table), _levels(table), copy.deepcopy(document)
    )


def _rate(table: Mapping[str, Any]) -> float:
    value = table.get("frameRate", DEFAULT_RATE)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise _Complaint(f"the frameRate {value!r} is not a number above 0; correct it, or leave it out for 24.")
    return float(value)


def _levels(table: Mapping[str, Any]) -> tuple[Level, ...]:
    names = _names(table)
    levels: dict[int, Level] = {}
    for track in _tracks(table):
        number = _whole(track.get("trackNo"), "a trackNo")
        if number < 0:
            raise _Complaint(f"a track has the number {number}; numbers start at 0.")
        if number in levels:
            raise _Complaint(
                f"two tracks have the number {number} ({levels[number].name}); give them different numbers."
            )
        name = _name_of(names, number)
        levels[number] = Level(name, _cells(track, name), number)
    for number in range(len(names)):
        levels.setdefault(number, Level(_name_of(names, number), {}, number))
    return tuple(levels[number] for number in sorted(levels))


def _names(table: Mapping[str, Any]) -> list[Any]:
    for header in _list(table.get("timeTableHeaders", []), "timeTableHeaders"):
        if _object(header, "a header").get("fieldId") == CELLS:
            return _list(header.get("names", []), "the names of the levels")
    return []


def _name_of(names: list[Any], number: int) -> str:
    name = str(names[number]).strip() if number < len(names) else ""
    return name or (chr(ord("A") + number) if number < 26 else f"level{number + 1}")


def _tracks(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for field in _list(table.get("fields", []), "fields"):
        if _object(field, "a field").get("fieldId") == CELLS:
            for track in _list(field.get("tracks", []), "the tracks"):
                yield _object(track, "a track")


def _cells(track: Mapping[str, Any], level: str) -> dict[int, Cell]:
    cells: dict[int, Cell] = {}
    for frame in _list(track.get("frames", []), f"the frames of level {level}"):
        row = _whole(_object(frame, f"a frame of level {level}").get("frame"), f"a frame number of level {level}")
        cell = _cell(frame)
        if cell is None:
            continue
        if cells.get(row, cell) != cell:
            raise _Complaint(f"level {level} has two entries on frame {row}; keep only one.")
        cells[row] = cell
    return cells


def _cell(frame: Mapping[str, Any]) -> Cell | None:
    """The cell of a track's frame; None if it has no data that is read."""
    data = _drawing_data(frame)
    values = _list(data.get("values", []), "values") if data is not None else []
    if data is None or not values or str(values[0]).strip() == "":
        return None
    value = str(values[0]).strip()
    if value in (mark.value for mark in Mark if mark is not Mark.DRAWING):
        return Cell(Mark(value))
    if value.startswith("SYMBOL_"):
        raise _Complaint(f"the symbol {value} is not known; use × | ○ ●, that is {_known_symbols()}.")
    return Cell(Mark.DRAWING, value, _role(_list(data.get("options", []), "options")))


def _role(options: list[Any]) -> Role | None:
    return next((role for role in Role if role.value in options), None)


def _known_symbols() -> str:
    return ", ".join(mark.value for mark in Mark if mark is not Mark.DRAWING)


def _drawing_data(frame: Mapping[str, Any]) -> dict[str, Any] | None:
    for data in _list(frame.get("data", []), "data"):
        if _object(data, "data").get("id", 0) == 0:
            return data
    return None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Complaint(f"{what} is not a JSON object; export the sheet again.")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Complaint(f"{what} {'is missing' if value is None else 'is not a list'}; export the sheet again.")
    return value


def _whole(value: Any, what: str) -> int:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value != int(value):
        raise _Complaint(f"{what} is {value!r}, not a whole number; export the sheet again.")
    return int(value)


# --- writing --------------------------------------------------------------------------------------------------------


def write_xdts(path: Path, sheet: Sheet) -> None:
    """Write a sheet atomically. Unknown content of its source is written unchanged."""
    value = document_of(sheet)
    try:
        body = json.dumps(value, ensure_ascii=False, allow_nan=False)
        body.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 encoding, but JSON can escape it
        body = json.dumps(value, allow_nan=False)
    write_text(path, f"{FIRST_LINE}\n{body}\n")


def document_of(sheet: Sheet) -> dict[str, Any]:
    """The JSON document of a sheet: its source with the changed levels, or a new one."""
    document = copy.deepcopy(dict(sheet.source)) if sheet.source is not None else _new_document(sheet)
    table = document["timeTables"][0]
    there = {int(track["trackNo"]): track for track in _tracks(table)}
    for level in sheet.levels:
        if level.track not in there and level.cells:
            there[level.track] = {"trackNo": level.track, "frames": []}
            _field(table)["tracks"].append(there[level.track])
        if level.track in there:
            _put(there[level.track], level)
    return document


def _new_document(sheet: Sheet) -> dict[str, Any]:
    table = {
        "name": sheet.name,
        "duration": sheet.duration,
        "timeTableHeaders": [{"fieldId": CELLS, "names": [level.name for level in sheet.levels]}],
        "fields": [{"fieldId": CELLS, "tracks": []}],
    }
    if sheet.rate != DEFAULT_RATE:
        table["frameRate"] = sheet.rate
    document = {"version": VERSIONS[0], "timeTables": [table]}
    if any(cell.role for level in sheet.levels for cell in level.cells.values()):
        document["subversion"] = "p1"
    return document


def _field(table: dict[str, Any]) -> dict[str, Any]:
    fields = table.setdefault("fields", [])
    for field in fields:
        if field.get("fieldId") == CELLS:
            field.setdefault("tracks", [])
            return field
    fields.append({"fieldId": CELLS, "tracks": []})
    return fields[-1]


def _put(track: dict[str, Any], level: Level) -> None:
    """Update a track to match the level; frames that match already stay unchanged."""
    kept, seen = [], set()
    for frame in track.get("frames", []):
        row, said = int(frame["frame"]), _cell(frame)
        if said is None or level.cells.get(row) == said:
            kept.append(frame)
        elif row in level.cells:
            _say(frame, level.cells[row])
            kept.append(frame)
        else:
            continue
        seen |= {row} if said is not None else set()
    new = [_say({"frame": row, "data": []}, cell) for row, cell in sorted(level.cells.items()) if row not in seen]
    track["frames"] = kept + new


def _say(frame: dict[str, Any], cell: Cell) -> dict[str, Any]:
    data = _drawing_data(frame)
    if data is None:
        data = {"id": 0, "values": []}
        frame.setdefault("data", []).append(data)
    data["values"] = [cell.name if cell.mark is Mark.DRAWING else cell.mark.value, *data.get("values", [])[1:]]
    options = data.get("options", [])
    if cell.role is not _role(options):
        options = [option for option in options if option not in list(Role)] + ([cell.role.value] if cell.role else [])
        data["options"] = options
    return frame
