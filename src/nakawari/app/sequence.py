"""A finished sequence: data for the player, downloads, and turning a frame into a key."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cut.sheet import Cell, Level, Mark, Role, Sheet
from ..cut.xdts import write_xdts
from ..errors import UsageError
from ..files import atomic_path
from ..interpolation.pairs import are_pairs
from ..interpolation.record import RECORD, earlier_in
from .work import Work

LEVEL = "A"
_ON_CUT = {"hold": ", so the nearer key is held", "fade": ", so one is faded into the other"}
KINDS = {"png": "PNG (zip)", "mp4": "MP4", "gif": "GIF", "xdts": "XDTS"}


def record_in(folder: Path) -> Mapping[str, Any]:
    """The record of `nakawari interpolate` in a folder; empty if there is none."""
    return earlier_in(folder).record


def url_of(work: Work, file: Path) -> str:
    """URL of a file in the user's folder or a shared one; it changes when the file changes."""
    own = file.is_relative_to(work.folder)
    place = f"own/{work.token}/{file.relative_to(work.folder).as_posix()}" if own else ""
    return f"{place or 'common/' + file.relative_to(work.works.root).as_posix()}?v={file.stat().st_mtime_ns}"


def player_value(work: Work, folder: Path) -> dict[str, Any] | None:
    """The frames of a finished sequence for the player; None if there is none."""
    record = record_in(folder)
    frames = [frame for frame in record.get("frames", ()) if frame["file"] and (folder / frame["file"]).is_file()]
    if not frames:
        return None
    gap, place, found, names = -1, 0, list[dict[str, Any]](), gap_names(record)
    for frame in frames:
        is_key = frame["key"] is not None
        gap, place = (gap + 1, 0) if is_key else (gap, place + 1)
        one = {name: frame[name] for name in ("number", "length", "key")}
        one |= {"url": url_of(work, folder / frame["file"]), "gap": gap + 1, "file": frame["file"]}
        one["of"] = names[gap] if gap < len(names) else ""
        found.append(one if is_key else one | about_between(record["gaps"][gap], place - 1))
    about = {name: record[name] for name in ("fps", "size", "channels", "loop", "model", "seed")}
    return about | {"frames": found, "warnings": _warnings(record)}


def gap_names(record: Mapping[str, Any]) -> list[str]:
    """Display name of every gap of a record."""
    keys = [Path(frame["key"]) for frame in record["frames"] if frame["key"] is not None]
    pairs = are_pairs(keys)
    return [f"pair {gap // 2 + 1}" if pairs else f"gap {gap + 1}" for gap in range(len(record["gaps"]))]


def about_between(gap: Mapping[str, Any], place: int) -> dict[str, Any]:
    """The record's fields for one in-between of a gap."""
    confidence = gap.get("confidence")
    if isinstance(confidence, list):
        confidence = confidence[place] if place < len(confidence) else None
    shares = gap.get("shares", ())
    share = shares[place] if place < len(shares) else None
    return {"share": share, "drawn_by": gap.get("drawn_by"), "confidence": confidence}


def _warnings(record: Mapping[str, Any]) -> list[str]:
    """The record's warnings, one sentence each."""
    found = []
    for name, gap in zip(gap_names(record), record["gaps"], strict=True):
        if gap.get("cut"):
            stands = _ON_CUT.get(gap["drawn_by"], "")
            found.append(f"{name.capitalize()}: a cut? Little of one key is found in the other{stands}.")
        found += [f"{name.capitalize()}: {note}" for note in gap.get("notes") or ()]
    return found


def links_of(work: Work) -> list[dict[str, str]]:
    """Downloads and their URLs; empty if nothing is drawn."""
    if not record_in(work.output):
        return []
    drawn = (work.output / RECORD).stat().st_mtime_ns
    return [{"text": text, "url": f"take/{work.token}/{kind}?v={drawn}"} for kind, text in KINDS.items()]


def download(work: Work, kind: str) -> Path:
    """The finished sequence as a file of one of `KINDS`. Raises `UsageError` if nothing is drawn."""
    record = record_in(work.output)
    if kind not in KINDS:
        raise UsageError(f"{kind!r} is not a download format; choose {', '.join(KINDS)}.")
    if not record:
        raise UsageError("Nothing is drawn yet; press Draw first.")
    folder = work.folder / "downloads"
    folder.mkdir(exist_ok=True)
    if kind in ("mp4", "gif"):
        return Path(shutil.copyfile(work.output / f"in-betweens.{kind}", folder / f"in-betweens.{kind}"))
    if kind == "xdts":
        write_xdts(folder / "in-betweens.xdts", sheet_of(record))
        return folder / "in-betweens.xdts"
    names = [name for name in record["files"] if name.endswith(".png") and name != "contact-sheet.png"]
    with atomic_path(folder / "in-betweens.zip") as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in names:
            archive.write(work.output / name, f"{LEVEL}/{name}")
        archive.write(work.output / RECORD, RECORD)
    return folder / "in-betweens.zip"


def sheet_of(record: Mapping[str, Any]) -> Sheet:
    """The time sheet of a sequence: one level; each cell holds the number of its file."""
    frames = record["frames"]
    first, last = frames[0]["number"], frames[-1]
    cells = {
        frame["number"] - first: Cell(Mark.DRAWING, str(frame["number"]), None if frame["key"] is None else Role.KEY)
        for frame in frames
    }
    return Sheet("in-betweens", last["number"] - first + last["length"], record["fps"], (Level(LEVEL, cells),))


def make_key(work: Work, file: str, mended: tuple[Path, str] | None = None) -> None:
    """Insert a drawn frame, or a corrected drawing (file, name) for it, between its two keys."""
    if not file:
        raise UsageError("Choose an in-between of a finished sequence in the player first.")
    record = record_in(work.output)
    asked = work.asked()
    keys = [frame["key"] for frame in record.get("frames", ()) if frame["key"] is not None]
    if keys != [key.name for key in asked.keys] or record["between"] != asked.between:
        raise UsageError("The keys have changed since this was drawn; press Draw first.")
    gap, place = -1, 0
    for frame in record["frames"]:
        gap, place = (gap + 1, 0) if frame["key"] is not None else (gap, place + 1)
        if frame["file"] == file and place:
            break
    else:
        raise UsageError("This is not an in-between of the sequence; choose one in the player.")
    stem = Path(asked.keys[gap].name).stem
    picture, name = mended or (work.output / file, f"{stem}_{place}.png")
    work.add_key(picture, name, gap + 1)
    shares = record["gaps"][gap]["shares"]
    with work.changing() as asked:
        asked.between[gap : gap + 1] = [place - 1, len(shares) - place]
        asked.spacing[gap : gap + 1] = [_rescaled(shares, 0, place), _rescaled(shares, place, len(shares) + 1)]
        asked.tracks = {}


def _rescaled(shares: list[float], begin: int, end: int) -> str | list[float]:
    """Spacing of the in-betweens strictly between two positions of a gap, rescaled to 0 to 1 between them."""
    places = [0.0, *shares, 1.0]
    low, high = places[begin], places[end]
    within = [(share - low) / (high - low) for share in places[begin + 1 : end]]
    return within or "even"
