"""Check a data folder: counts, sizes, and every fault by name."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import NakawariError, UsageError
from ..media import frame_rate
from .faults import Look, look_at, motion_faults, stream_faults
from .inventory import Fault, Inventory, Item, take_inventory
from .likeness import Likeness

KINDS = {
    "broken": "a file that cannot be decoded completely",
    "unreadable": "a drawing in a format that cannot be read",
    "mixed-sizes": "frames of one clip or sample that differ in size",
    "missing-frame": "a missing numbered frame",
    "too-short": "a clip with too few frames for training or evaluation",
    "static": "a clip in which nothing moves",
    "held": "drawings held for several frames: the truth between them shows no motion",
    "scene-cut": "a clip with more than one scene",
    "flashing": "brightness that jumps up and back within a third of a second",
    "duplicate": "a clip that exists twice",
    "near-duplicate": "a clip with the drawings of another, encoded, scaled or trimmed differently",
    "letterbox": "black bars on two sides of every frame",
    "variable-rate": "frames of a video with different durations",
    "interlaced": "frames of a video with two fields, line by line",
    "pixel-aspect": "a video whose pixels are not square",
    "cut-off": "a video that ends before the duration of its container",
    "lone-key": "one key of a pair without the other",
    "empty-folder": "an empty folder",
    "caption": "a caption for a missing clip, or captions that cannot be read",
    "index": "an index entry for a missing clip, or an index that cannot be read",
}


@dataclass
class CheckReport:
    """Contents and faults of a folder. `items`, `frame_rates`: counts by kind; `sizes`: "WxH" -> clips;
    `frames`, `bytes`: of all readable items; `held_frames`: frames that repeat the previous drawing; `notes`:
    items that could not be checked."""

    root: str
    layout: str
    items: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    held_frames: int = 0
    bytes: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    frame_rates: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


class _Seen:
    """The drawings of the items so far, for finding duplicates."""

    def __init__(self) -> None:
        self._contents: dict[str, str] = {}
        self._likeness = Likeness()

    def twin(self, item: Item, look: Look) -> tuple[str, str] | None:
        """Kind and sentence (after the path) if an earlier item shows the same."""
        twin = self._contents.setdefault(look.content, item.name)
        if twin != item.name:
            return "duplicate", f"shows the same as {twin}; keep only one of them, in one split."
        near = self._likeness.find(item.name, look.seen) if item.kind != "pair" else None
        if near is None:
            return None
        return "near-duplicate", f"shows most drawings of {near}; keep one of them, or both on one side of the split."


def check(root: Path | str, *, min_frames: int = 3, progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Check every frame below `root`.

    Args:
        min_frames: clips with fewer are too short; 3 are two keys and one in-between.
        progress: called with items done and total items.

    Raises:
        NakawariError: `root` is not a folder, or holds neither clips nor pairs nor faults.
        UsageError: `min_frames` under 2.
    """
    if min_frames < 2:
        raise UsageError(f"--min-frames {min_frames} is too small; a clip has at least 2 frames.")
    inventory = take_inventory(root)
    if not inventory.items and not inventory.faults:
        raise NakawariError(f"{root} holds no videos, image sequences or pairs; give another folder.")
    report = CheckReport(str(root), inventory.layout, faults=list(inventory.faults))
    seen = _Seen()
    for done, item in enumerate(inventory.items, 1):
        report.faults += _check_item(item, inventory, report, seen, min_frames)
        if progress is not None:
            progress(done, len(inventory.items))
    pairs = [item.name for item in inventory.items if item.kind == "pair"]
    if pairs:
        named = ", ".join(pairs[:5]) + (" and more" if len(pairs) > 5 else "")
        report.notes.append(f"{named}: pairs without true frames between their keys; training cannot use them.")
    report.items = dict(Counter(item.kind for item in inventory.items))
    for name in ("sizes", "frame_rates", "lengths"):
        setattr(report, name, dict(sorted(getattr(report, name).items(), key=lambda pair: (-pair[1], pair[0]))))
    report.faults.sort(key=lambda fault: (fault.path, fault.kind))
    return report


def _check_item(item: Item, inventory: Inventory, report: CheckReport, seen: _Seen, min_frames: int) -> list[Fault]:
    where = item.path.relative_to(inventory.root).as_posix()

    def fault(kind: str, sentence: str) -> list[Fault]:
        return [Fault(kind, where, f"{item.path} {sentence}")]

    report.bytes += sum(file.stat().st_size for file in item.files)
    rate = frame_rate(item.path) if item.kind == "video" else 0.0
    try:
        look = look_at(item, rate)
    except NakawariError as error:
        return [Fault("broken", where, str(error))]
    _count(report, item, look, rate)
    if len(set(look.sizes)) > 1:
        found = ", ".join(f"{width}x{height}" for width, height in dict.fromkeys(look.sizes))
        return fault("mixed-sizes", f"has frames of {found}; export all at one size.")
    gap = _missing(item, inventory) if item.kind == "sequence" else None
    if gap:
        return fault("missing-frame", f"{gap}; put it back, or remove the folder.")
    if item.kind != "pair" and len(look.sizes) < min_frames:
        return fault("too-short", f"has {len(look.sizes)} frames and needs {min_frames} or more; remove it.")
    twin = seen.twin(item, look)
    if twin is not None and twin[0] == "duplicate":
        return fault(*twin)
    found = [*stream_faults(item, look), *motion_faults(item, look.changes), *([twin] if twin else [])]
    return [Fault(kind, where, f"{item.path} {sentence}") for kind, sentence in found]


def _count(report: CheckReport, item: Item, look: Look, rate: float) -> None:
    report.frames += len(look.sizes)
    report.held_frames += int(look.changes.held.sum())
    for table, key in (
        (report.sizes, "{}x{}".format(*look.sizes[0])),
        (report.lengths, str(len(look.sizes))),
        (report.frame_rates, f"{rate:g}" if rate else "unknown"),
    ):
        table[key] = table.get(key, 0) + 1


def _missing(item: Item, inventory: Inventory) -> str | None:
    """The missing numbers of a sequence. Names such as frame7 count by ones; others by their smallest step."""
    numbers = [int(match.group(1)) for file in item.files if (match := re.search(r"(\d+)$", file.stem))]
    if len(numbers) != len(item.files) or len(set(numbers)) != len(numbers):
        return None
    named = all(re.fullmatch(r"(frame|im)_?\d+", file.stem) for file in item.files)
    step = 1 if named else min((b - a for a, b in itertools.pairwise(numbers)), default=1)
    absent = sorted(set(range(numbers[0], numbers[-1] + 1, step)) - set(numbers))
    if not absent and named and inventory.is_dataset:
        # A triplet without its first or last frame is still contiguous: names start at 0 or 1, and there are three.
        expected = range(min(numbers[0], 1), min(numbers[0], 1) + 3)
        absent = sorted(set(expected) - set(numbers))
    if not absent:
        return None
    return f"lacks frame {', '.join(str(number) for number in absent[:5])}{' and more' if len(absent) > 5 else ''}"
