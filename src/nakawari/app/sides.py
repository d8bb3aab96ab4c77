"""The sides of the Compare page: existing results, and models that draw the keys."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..interpolation.record import RECORD
from ..variants import check_name
from .jobs import words_job
from .models import adapter_choices, bases_of, model_choices
from .sequence import player_value
from .words import OUT, interpolate_words
from .work import USERS, Work, plain_name

RESULT, COMPARED, TRUTH = "result:", "compared", "truth"
REPORTS = "report.json"
MOST_TRUTH = 2000


def choices(work: Work) -> list[tuple[str, str]]:
    """(label, name) of every possible side."""
    own = [(f"drawn: {label}", f"{RESULT}{name}") for label, name in _results(work)]
    models = [(f"{label}, drawn now", name) for label, name in model_choices(work)]
    taught = [
        (f"{base} + {label}, drawn now", f"{model}+{folder}")
        for label, folder in adapter_choices(work)
        for base, model in (bases_of(work, folder) if folder else ())
    ]
    return own + models + taught


def _results(work: Work) -> list[tuple[str, str]]:
    found = [("the Draw page's sequence", OUT)] if (work.output / RECORD).is_file() else []
    return found + [(name, name) for name in _shared(work, RECORD)]


def reports(work: Work) -> list[str]:
    """Folders with a report in the shared work folder."""
    return _shared(work, REPORTS)


def _shared(work: Work, file: str) -> list[str]:
    root = work.works.root
    found = [*sorted(root.glob(f"*/{file}")), *sorted(root.glob(f"*/*/{file}"))]
    folders = [path.parent.relative_to(root) for path in found]
    return [folder.as_posix() for folder in folders if folder.parts[0] != USERS and not folder.parts[0].startswith(".")]


def side(work: Work, name: Any) -> tuple[Path, dict[str, Any] | None]:
    """Folder of a side's sequence, and the job that draws it if it is not drawn yet.

    Raises:
        UsageError: no name, a path outside the work folder, no result there, or not a model.
    """
    if not isinstance(name, str) or not name.strip():
        raise UsageError("Choose a left and a right side.")
    if name.startswith(RESULT):
        folder = work.visible(name.removeprefix(RESULT))
        if not (folder / RECORD).is_file():
            raise UsageError(f"{name.removeprefix(RESULT)[:80]} has no drawn sequence; choose another.")
        return folder, None
    asked = replace(work.asked(), model=_checked(work, name), adapter="", precision="")
    output = f"{COMPARED}/{re.sub(r'[^a-z0-9]+', '-', name.lower())[-40:]}-{_short(name)}"
    return work.folder / output, words_job(*interpolate_words(asked, output=output))


def _checked(work: Work, name: str) -> str:
    """A variant's name, with folders inside the work folder or the name of a bundled model."""
    allowed = [own for _, own in choices(work)]
    if name not in allowed:
        base, *adapters = re.split(r"[+]", name)
        known = {own for _, own in model_choices(work)}
        if base.split(":")[0] not in known:
            raise UsageError(f"{name[:80]!r} is not a model on the list; choose one from the list.")
        for adapter in adapters:
            work.visible(adapter.split("@")[0].split(":")[0])
        check_name(base)
    return name


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:6]


def shown_side(work: Work, name: str, folder: Path) -> dict[str, Any] | None:
    """A side for the component; None if it has no frames yet."""
    value = player_value(work, folder)
    if value is None:
        return None
    label = next((text for text, own in choices(work) if own == name), name)
    frames = [frame["url"] for frame in value["frames"] for _ in range(frame["length"])]
    return {"name": label, "frames": frames, "fps": value["fps"], "size": value["size"]}


def truth_names(work: Work) -> list[str]:
    """File names of the true frames."""
    folder = work.folder / TRUTH
    return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []


def take_truth(work: Work, files: list[Any]) -> None:
    """Save true frames, sorted by name."""
    folder = work.folder / TRUTH
    folder.mkdir(exist_ok=True)
    for file in files[:MOST_TRUTH]:
        sent = work.works.uploaded(file["path"])
        sent.replace(folder / plain_name(file["name"]))
