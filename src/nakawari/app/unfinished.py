"""Finished gaps of a sequence that is still being drawn or was stopped, for the player."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import NakawariError
from ..files import read_json, remove, write_json
from ..interpolation.gaps import GapStore
from ..media import read_picture
from .sequence import about_between, player_value, record_in, url_of
from .work import Asked, Work, write_preview

DRAWING = "drawing"
"""Folder of the images of finished gaps, below the user's folder; one subfolder per gap."""
ABOUT = "gap.json"


def shown_value(work: Work) -> dict[str, Any] | None:
    """Data for the player: finished gaps of an unfinished sequence, else the finished sequence, else None."""
    plan, asked = GapStore(work.output).plan(), work.asked()
    if plan is None or plan["keys"] != [key.name for key in asked.keys]:
        remove(work.folder / DRAWING)
        return player_value(work, work.output)
    frames, place = [], 0
    for gap, count in enumerate(plan["between"]):
        frames.append(_frame(plan, place, gap, asked) | _key(work, plan["keys"][gap]))
        between = _done(work, asked, plan["gaps"][gap]) if count else []
        frames += [_frame(plan, place + n, gap, asked) | one for n, one in enumerate(between, 1)]
        place += 1 + count
    if not plan["loop"]:
        frames.append(_frame(plan, place, len(plan["between"]), asked) | _key(work, plan["keys"][-1]))
    about = {name: plan[name] for name in ("fps", "size", "channels", "loop", "model", "seed")}
    return about | {"frames": frames, "warnings": []}


def _frame(plan: Mapping[str, Any], place: int, gap: int, asked: Asked) -> dict[str, Any]:
    """The frame of a drawing. It has no file: an unfinished sequence can only be viewed."""
    numbers = {"number": plan["begins"][place], "length": plan["lengths"][place]}
    return numbers | {"gap": gap + 1, "of": asked.name_of(gap), "file": "", "key": None}


def _key(work: Work, name: str) -> dict[str, Any]:
    preview = work.folder / "previews" / f"{name}.png"
    return {"key": name, "url": url_of(work, preview) if preview.is_file() else ""}


def _done(work: Work, asked: Asked, key: str) -> list[dict[str, Any]]:
    """The in-betweens of a gap, from the unfinished job or the record; empty if the gap is not finished."""
    kept = _kept(work, asked, key)
    if kept:
        return kept
    record = record_in(work.output)
    own = next((gap for gap in record.get("gaps", ()) if gap["key"] == key), {"files": []})
    files = [work.output / name for name in own["files"]]
    if not all(file.is_file() for file in files):
        return []
    return [{"url": url_of(work, file)} | about_between(own, place) for place, file in enumerate(files)]


def _kept(work: Work, asked: Asked, key: str) -> list[dict[str, Any]]:
    """The in-betweens of a gap of the unfinished job; images are written once, the metadata file last."""
    folder = work.folder / DRAWING / key[:16]
    try:
        said = read_json(folder / ABOUT)
    except NakawariError:
        gap = GapStore(work.output).get(key)
        if gap is None:
            return []
        like = read_picture(
            work.folder / "keys" / asked.keys[0].name
        )  # all keys and in-betweens share a colour profile
        for number, pixels in enumerate(gap.frames):
            write_preview(folder / f"{number}.png", replace(like, pixels=pixels, deep=None))
        said = {"shares": gap.shares, "drawn_by": gap.used.get("drawn_by"), "confidence": gap.used.get("confidence")}
        write_json(folder / ABOUT, said)
    count = len(said["shares"])
    return [{"url": url_of(work, folder / f"{place}.png")} | about_between(said, place) for place in range(count)]
