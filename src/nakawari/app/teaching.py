"""Training an adapter: the clips in the user's folder, the commands, and the state of a run for the page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import NakawariError, UsageError
from ..files import read_json, remove
from ..media import is_image, is_video
from .models import model_choices
from .sequence import url_of
from .work import Work, plain_name

TEACH, CLIPS = "teach", "teach/clips"
MOST_FILES = 20_000
EMPTY = (
    "Drop clips of one show here: videos, or folders of numbered frames. A minute of them is a start; more is better."
)
PICTURES = 3
"""Number of held-out samples shown."""
_NAME = re.compile(r"[\w-]{1,40}")


def take_clips(work: Work, files: list[Any]) -> list[str]:
    """Add uploaded files to the clips, frames to their folder; returns messages about refused files."""
    complaints = []
    for file in files[:MOST_FILES]:
        sent = work.works.uploaded(file.get("path"))
        places = [plain_name(part) for part in str(file.get("name")).split("/") if part.strip(" .")][-3:]
        if not places or not (is_image(places[-1]) or is_video(places[-1])):
            complaints.append(f"{places[-1] if places else 'A file without a name'} is neither a video nor a picture.")
            continue
        if is_image(places[-1]) and len(places) == 1:
            places = ["frames", *places]
        target = work.inside("/".join([CLIPS, *places]))
        target.parent.mkdir(parents=True, exist_ok=True)
        sent.replace(target)
    return complaints


def remove_clips(work: Work, name: str = "") -> None:
    """Remove a clip, or all clips if no name is given."""
    remove(work.inside(f"{CLIPS}/{name}") if name else work.folder / CLIPS)


def clips_value(work: Work) -> dict[str, Any]:
    """The clips for the component: videos, and folders with their number of frames."""
    root, files = work.folder / CLIPS, []
    for entry in sorted(root.iterdir()) if root.is_dir() else []:
        count = sum(1 for file in entry.rglob("*") if file.is_file()) if entry.is_dir() else 0
        files.append({"name": entry.name, "text": f"{entry.name} ({count} files)" if entry.is_dir() else entry.name})
    return {"words": EMPTY, "files": files}


def run_folder(work: Work, name: Any) -> Path:
    """Folder of the run of this name. Raises `UsageError` for anything but a plain name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "clips":
        raise UsageError("The adapter's name may have at most 40 letters, digits, - and _; give another.")
    return work.folder / TEACH / name


@dataclass(frozen=True)
class Lesson:
    """Settings of a run; numbers as for `nakawari adapt`."""

    name: str
    model: str = "mini"
    steps: int = 200
    rank: int = 16
    windows: int = 400


def adapt_words(work: Work, lesson: Lesson) -> list[str]:
    """Arguments of `nakawari adapt`; an existing run resumes from its last checkpoint."""
    run = run_folder(work, lesson.name)
    if lesson.model not in [name for _, name in model_choices(work)]:
        raise UsageError(f"{str(lesson.model)[:80]!r} is not a model on the list; choose one from the list.")
    if not clips_value(work)["files"]:
        raise UsageError("There are no clips yet; add some first.")
    words = ["adapt", "--data", CLIPS, "--model", lesson.model, "--steps", lesson.steps, "--rank", lesson.rank]
    words += ["--windows", lesson.windows, "--set", f"log.samples_every={max(1, lesson.steps // 5)}"]
    words = [str(word) for word in [*words, "-o", f"{TEACH}/{lesson.name}"]]
    return words + ["--resume"] * is_begun(run)


def is_begun(run: Path) -> bool:
    """Whether a run has a checkpoint to resume from."""
    return any((run / "checkpoints").glob("step-*"))


def run_value(work: Work, name: Any) -> dict[str, Any] | None:
    """A run for the component: its curves and the latest held-out samples; None if there is no run."""
    try:
        run = run_folder(work, name)
    except UsageError:
        return None
    entries = _log(run)
    if not entries:
        return None
    scores = [(one["step"], (one.get("validation") or {}).get("psnr")) for one in entries if one.get("validation")]
    folders = sorted((run / "samples").glob("step-*"), key=lambda folder: int(folder.name.partition("-")[2]))
    pictures = sorted(folders[-1].glob("*.png"))[:PICTURES] if folders else []
    return {
        "loss": [(one["step"], one.get("loss")) for one in entries],
        "psnr": scores,
        "pictures": [url_of(work, picture) for picture in pictures],
        "step": int(folders[-1].name.partition("-")[2]) if folders else 0,
        "best": _summary(run),
    }


def _log(run: Path) -> list[dict[str, Any]]:
    try:
        lines = (run / "log.jsonl").read_text(encoding="utf-8").split("\n")
    except OSError:
        return []
    return [json.loads(line) for line in lines[:-1]]  # the last line may be incomplete


def _summary(run: Path) -> str:
    try:
        summary: Mapping[str, Any] = read_json(run / "summary.json")
    except NakawariError:
        return ""
    best = summary.get("best") or {}
    score = f" Best on held-out samples: {best['score']:.4g} at step {best['step']}." if "score" in best else ""
    return f"{str(summary.get('status', '')).capitalize()} at step {summary.get('step', '')}.{score}"


def check_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Results of `data check`, as rows."""
    items = ", ".join(f"{count} {kind}{'s' if count != 1 else ''}" for kind, count in report["items"].items())
    rows = [
        ("Clips", items or "none"),
        ("Frames", f"{report['frames']}, of which {report['held_frames']} repeat a drawing"),
    ]
    rows.append(("Sizes", ", ".join(f"{size} ({count})" for size, count in list(report["sizes"].items())[:6])))
    rows += [(fault["kind"], fault["sentence"]) for fault in report["faults"][:30]]
    rows += [("note", note) for note in report["notes"]]
    return [*rows, ("Faults", str(len(report["faults"]) or "none"))]


def plan_rows(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Results of `adapt --plan`, as rows."""
    minutes = plan["steps"] * plan["seconds_per_step"] / 60
    rows = [
        ("Trains", f"{plan['trained']:,} of {plan['parameters']:,} parameters ({plan['share']:.2%})"),
        (
            "Time",
            f"{plan['steps']} steps of {plan['seconds_per_step']:.2f} s: {minutes:.1f} minutes, validation not counted",
        ),
        ("Memory", f"{sum(plan['memory'].values()) / 2**20:.0f} MiB"),
    ]
    if plan.get("peak"):
        rows.append(("Peak on the GPU", f"{plan['peak'] / 2**20:.0f} MiB"))
    return rows + [(f"of it {name}", f"{size / 2**20:.1f} MiB") for name, size in plan["memory"].items()]
