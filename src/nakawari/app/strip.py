"""The strip of key drawings: its data and its user actions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import NakawariError, UsageError
from ..interpolation.plan import MAX_BETWEEN
from ..interpolation.spacing import SPACINGS, eased, even
from .sequence import url_of
from .timing_sheet import SHEETS, apply_sheet
from .work import Asked, KeyFile, Work

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"


def strip_value(work: Work) -> dict[str, Any]:
    """Keys with their previews, gaps with the positions of their in-betweens."""
    asked = work.asked()
    keys = [
        {"name": key.name, "url": preview_url(work, key), "width": key.width, "height": key.height}
        for key in asked.keys
    ]
    gaps = []
    for gap, (count, spacing) in enumerate(zip(asked.between, asked.spacing, strict=True)):
        curve = spacing if isinstance(spacing, str) else ""
        shares = list(eased(curve, even(count))) if curve else spacing
        gaps.append({"between": count, "curve": curve, "shares": shares, "closing": gap == len(keys) - 1})
        gaps[-1] |= {"apart": asked.is_apart(gap), "name": asked.name_of(gap)}
    return {"keys": keys, "gaps": gaps}


def preview_url(work: Work, key: KeyFile) -> str:
    """URL of a key's preview."""
    preview = work.folder / "previews" / f"{key.name}.png"
    return url_of(work, preview) if preview.is_file() else ""


def act(work: Work, data: Mapping[str, Any]) -> list[str]:
    """Apply a user action on the strip; returns messages about refused files.

    Raises:
        NakawariError: the action failed.
    """
    action = data.get("action")
    if action == "add":
        return _add(work, data.get("files"))
    if action == "examples":
        for file in sorted(EXAMPLES.glob("*.png")):
            work.add_key(file, file.name)
    elif action == "remove":
        work.remove_key(_whole(data, "place"))
    elif action == "clear":
        for place in reversed(range(len(work.asked().keys))):
            work.remove_key(place)
    elif action == "move":
        work.move_key(_whole(data, "place"), _whole(data, "to"))
    elif action in ("between", "curve", "shares"):
        with work.changing() as asked:
            _time(asked, str(action), data)
    else:
        raise UsageError("This is not an action of the strip; load the page again.")
    return []


def _whole(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"The {name} is not a whole number; load the page again.")
    return value


def _time(asked: Asked, action: str, data: Mapping[str, Any]) -> None:
    gap = _whole(data, "gap")
    if not 0 <= gap < asked.gaps():
        raise UsageError("This gap no longer exists; load the page again.")
    if action == "between":
        count = _whole(data, "count")
        if not 0 <= count <= MAX_BETWEEN:
            raise UsageError(f"A gap cannot have {count} in-betweens; give 0 to {MAX_BETWEEN}.")
        asked.between[gap] = count
        if not isinstance(asked.spacing[gap], str):
            asked.spacing[gap] = "even"
    elif action == "curve":
        if data.get("curve") not in SPACINGS:
            raise UsageError(f"This spacing does not exist; choose {', '.join(SPACINGS)}.")
        asked.spacing[gap] = str(data["curve"])
    else:
        asked.spacing[gap] = shares_of(data.get("shares"), asked.between[gap])


def shares_of(value: Any, count: int) -> list[float]:
    """Fractions of the gap, one per in-between. Raises `UsageError` for anything else."""
    shares = [one for one in value if type(one) in (int, float)] if isinstance(value, list) else []
    rising = all(low < high for low, high in pairwise([0, *shares, 1]))
    if not rising or len(shares) != count:
        raise UsageError("Fractions of the gap must rise between 0 and 1, one per in-between; load the page again.")
    return [round(float(one), 4) for one in shares]


def _add(work: Work, files: Any) -> list[str]:
    """Add dropped files: drawings in order, and a time sheet that sets order and timing."""
    complaints, sheets = [], []
    for file in files if isinstance(files, list) else []:
        path, name = (file.get("path"), str(file.get("name"))) if isinstance(file, dict) else (None, "")
        try:
            sent = work.works.uploaded(path)
            if Path(name).suffix.lower() in SHEETS:
                sheets.append((sent, name))
                continue
            work.add_key(sent, name)
            sent.unlink(missing_ok=True)
        except NakawariError as error:
            complaints.append(work.sentence(str(error)).replace("keys/", ""))
    work.order_pairs()
    for sent, name in sheets:
        try:
            apply_sheet(work, sent, name)
        except NakawariError as error:
            complaints.append(work.sentence(str(error)))
    return complaints
