"""Cut clips into triplets (key, true middle, key) for evaluation."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import NakawariError, UsageError
from ..files import atomic_path
from ..media import write_image
from .clips import Clip, load_clips
from .drawings import Changes
from .faults import look_at, stream_faults
from .inventory import Item, take_inventory
from .likeness import Likeness
from .training_data import change


@dataclass(frozen=True)
class Cut:
    """One triplet: frames `start`, `start + gap` and `start + 2 gap` of a clip, from 0."""

    clip: Clip
    start: int
    gap: int

    @property
    def name(self) -> str:
        return f"{self.clip.name.replace('/', '-')}_{self.start:04d}_{self.gap:02d}"


@dataclass
class Cutting:
    """The triplets, and one sentence for each skipped clip."""

    cuts: list[Cut] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def cut_triplets(
    source: Path | str,
    output: Path | str,
    *,
    per_clip: int = 6,
    gaps: Sequence[int] = (1, 2, 4, 8),
    min_change: float = 1.0,
) -> Cutting:
    """Write triplets of every clip below `source` into the new folder `output`: `triplets/<name>/frame1..3.png` and
    `index.csv`, a layout of `open_dataset`. The same clips give the same triplets.

    Clips that are unreadable, truncated, letterboxed, interlaced, of variable frame rate or non-square pixels,
    and duplicates, are skipped and named.

    Args:
        per_clip: maximum number per clip, evenly over its length.
        gaps: frames from one picture to the next, used in turn.
        min_change: mean absolute change between the keys, of 255, below which a window is skipped as static.

    Raises:
        UsageError: numbers out of range, an `output` with files in it.
        NakawariError: no clip, or none that moves.
    """
    output = Path(output)
    if per_clip < 1 or not gaps or min(gaps) < 1:
        raise UsageError(f"Triplets need 1 or more for each clip and gaps of 1 or more, not {per_clip} and {gaps}.")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists already; give a new folder.")
    inventory = take_inventory(source)
    items = [item for item in inventory.items if item.kind != "pair"]
    if not items:
        load_clips(source)  # raises the precise error
    found, likeness = Cutting(), Likeness()
    found.left_out = [fault.sentence for fault in inventory.faults if fault.kind == "unreadable"]
    with atomic_path(output) as folder:
        folder.mkdir()
        for item in items:
            _cut_item(item, Path(source), likeness, folder, (per_clip, gaps, min_change), found)
        if not found.cuts:
            raise NakawariError(_nothing(source, items, found))
        with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["name", "clip", "start", "gap"])
            rows.writerows([cut.name, cut.clip.name, cut.start, cut.gap] for cut in found.cuts)
    return found


def _nothing(source: Path | str, items: Sequence[Item], found: Cutting) -> str:
    if len(found.left_out) == len(items):
        return f"{source} gave no triplet: {found.left_out[0]}"
    return f"{source} gave no triplet: its {len(items)} clips are shorter than 3 frames or nothing moves in them."


def _cut_item(
    item: Item,
    source: Path,
    likeness: Likeness,
    folder: Path,
    wanted: tuple[int, Sequence[int], float],
    found: Cutting,
) -> None:
    """Cut one clip and write its triplets, or record the reason for skipping it."""
    try:
        look = look_at(item, 0.0)
        clip = load_clips(source, paths=[item.path])[0]
    except NakawariError as error:
        found.left_out.append(str(error))
        return
    faults = [f"{item.path} {sentence}" for _, sentence in stream_faults(item, look)]
    twin = likeness.find(item.name, look.seen)
    if twin is not None:
        faults.append(f"{item.path} shows most drawings of {twin}.")
    if faults:
        found.left_out.append(faults[0])
        return
    cuts = _cuts(clip, look.changes, *wanted)
    for cut in cuts:
        _write(folder / "triplets" / cut.name, cut)
    found.cuts += cuts


def _cuts(clip: Clip, changes: Changes, per_clip: int, gaps: Sequence[int], min_change: float) -> list[Cut]:
    """Evenly spaced windows, each the nearest moving one to its position; no duplicates, and none across a scene cut.

    The middle must be a separate drawing: on twos and threes many frames repeat a key, and a model that
    copies its key would be correct.
    """
    drawing = np.cumsum(~changes.held)
    scene = np.searchsorted(changes.cuts, np.arange(len(drawing)), side="right")
    cuts: dict[tuple[int, int], Cut] = {}
    for number in range(per_clip):
        gap = gaps[number % len(gaps)]
        starts = range(len(clip.frames) - 2 * gap)
        place = (number + 0.5) / per_clip * len(starts)
        for start in sorted(starts, key=lambda start: (abs(start + 0.5 - place), start)):
            window = slice(start, start + 2 * gap + 1, gap)
            whole = len(set(drawing[window])) == 3 and len(set(scene[window])) == 1
            if (start, gap) not in cuts and whole and change(clip.frames[window]) >= min_change:
                cuts[start, gap] = Cut(clip, start, gap)
                break
    return sorted(cuts.values(), key=lambda cut: (cut.start, cut.gap))


def _write(folder: Path, cut: Cut) -> None:
    for number in range(3):
        write_image(folder / f"frame{number + 1}.png", cut.clip.frames[cut.start + number * cut.gap])
