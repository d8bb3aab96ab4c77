"""From clips to triplets: frames that are there already, a key, the true middle, a key, to score a model on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import NakawariError, UsageError
from ..files import atomic_path
from ..media import write_image
from .clips import Clip, load_clips
from .drawings import same_drawing, thumbnail
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


def cut_triplets(
    source: Path | str,
    output: Path | str,
    *,
    per_clip: int = 6,
    gaps: Sequence[int] = (1, 2, 4, 8),
    min_change: float = 1.0,
) -> list[Cut]:
    """Write triplets of every clip below `source` into the new folder `output`: `triplets/<name>/frame1..3.png` and
    `index.csv`, a layout that `open_dataset` knows. The same clips give the same triplets.

    Args:
        per_clip: at most so many of one clip, evenly over its length.
        gaps: frames from one picture to the next, in turn.
        min_change: mean absolute change between the keys, of 255, below which nothing moves and nothing is cut.

    Raises:
        UsageError: numbers out of range, an `output` with files in it.
        NakawariError: no clip, or none that moves.
    """
    output = Path(output)
    if per_clip < 1 or not gaps or min(gaps) < 1:
        raise UsageError(f"Triplets need 1 or more for each clip and gaps of 1 or more, not {per_clip} and {gaps}.")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists already; give a new folder.")
    clips = load_clips(source)
    found = [cut for clip in clips for cut in _cuts(clip, per_clip, gaps, min_change)]
    if not found:
        raise NakawariError(
            f"{source} gave no triplet: its {len(clips)} clips are shorter than 3 frames or nothing moves in them."
        )
    with atomic_path(output) as folder:
        folder.mkdir()
        for cut in found:
            _write(folder / "triplets" / cut.name, cut)
        with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["name", "clip", "start", "gap"])
            rows.writerows([cut.name, cut.clip.name, cut.start, cut.gap] for cut in found)
    return found


def _cuts(clip: Clip, per_clip: int, gaps: Sequence[int], min_change: float) -> list[Cut]:
    """Evenly spaced windows, each the one nearest to its place that moves; none twice.

    The middle must be a drawing of its own: on twos and threes many a frame is a key shown again, and a model that
    copies its key would be right.
    """
    small = [thumbnail(frame) for frame in clip.frames]
    cuts: dict[tuple[int, int], Cut] = {}
    for number in range(per_clip):
        gap = gaps[number % len(gaps)]
        starts = range(len(clip.frames) - 2 * gap)
        place = (number + 0.5) / per_clip * len(starts)
        for start in sorted(starts, key=lambda start: (abs(start + 0.5 - place), start)):
            window = clip.frames[start : start + 2 * gap + 1 : gap]
            held = any(same_drawing(small[start + gap], small[start + end * gap]) for end in (0, 2))
            if (start, gap) not in cuts and not held and change(window) >= min_change:
                cuts[start, gap] = Cut(clip, start, gap)
                break
    return sorted(cuts.values(), key=lambda cut: (cut.start, cut.gap))


def _write(folder: Path, cut: Cut) -> None:
    for number in range(3):
        write_image(folder / f"frame{number + 1}.png", cut.clip.frames[cut.start + number * cut.gap])
