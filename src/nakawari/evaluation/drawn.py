"""Rows of pictures drawn by other programs: a folder, scored like every other row.

A picture is at `<sample>/t<time>.png` (four decimals), the layout of an evaluation's own frames.
`to_draw` lists the needed pictures and writes the keys at the size of the protocol, for other programs.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.samples import Sample
from ..errors import NakawariError, UsageError
from ..files import atomic_path, combined, file_digest
from ..media import read_rgb
from .contestants import Contestant, Task
from .fitting import fit_frame, frame_around
from .protocol import Protocol, selection
from .samples import Prepared, distinct_folder_name, keep_keys, prepare
from .schema import DRAWN, Identity
from .scored import Frames

COLUMNS = ("sample", "start", "end", "time", "picture", "width", "height")


class Drawn(Contestant):
    """Pictures in a folder as a row; only the scored ones must exist.

    Raises:
        UsageError: the folder does not exist.
    """

    departs = False

    def __init__(self, name: str, folder: Path, samples: Sequence[Sample], protocol: Protocol) -> None:
        super().__init__(name, "peer")
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder; give --frames {name}=DIR with the pictures of {name} in it.")
        self.folder, self.samples, self.protocol = folder, samples, protocol

    def identity(self) -> Identity:
        """SHA-256 of the pictures of each sample with pictures."""
        parts = {}
        for sample in self.samples:
            files = sorted((self.folder / distinct_folder_name(sample.name)).glob("t*.png"))
            if files:
                parts[DRAWN + sample.name] = combined({file: file_digest(file) for file in files})
        return Identity(parts=parts)

    def draw(self, tasks: Sequence[Task], protocol: Protocol, seed: int) -> list[Frames]:
        return [self._clip(task) for task in tasks]

    def _clip(self, task: Task) -> Frames:
        last = task.num_frames - 1
        # Frames that are not scored are replaced by the nearer key.
        clip = [task.keys[0 if index <= last / 2 else 1] for index in range(task.num_frames)]
        for index in wanted(task, self.protocol):
            clip[index] = self._read(task, picture_name(task.name, index / last))
        return np.stack(clip)

    def _read(self, task: Task, name: str) -> Frames:
        path = self.folder / name
        if not path.is_file():
            raise NakawariError(f"{path} is missing; draw it, or leave {self.name} out")
        picture, placement = read_rgb(path), task.placement
        if placement is None:
            return picture
        size = (picture.shape[1], picture.shape[0])
        if size == placement.content[2:]:
            return frame_around(picture, placement)
        if size == placement.source:
            return fit_frame(picture, placement, self.protocol.resample)
        sizes = " or ".join(f"{w}x{h}" for w, h in dict.fromkeys([placement.content[2:], placement.source]))
        raise NakawariError(f"{path} is {size[0]}x{size[1]}, but must be {sizes}")


def picture_name(sample: str, time: float) -> str:
    """Relative path of the picture of a sample at a time in (0, 1)."""
    return f"{distinct_folder_name(sample)}/t{time:.4f}.png"


def wanted(task: Task, protocol: Protocol) -> list[int]:
    """The frames of a clip that are scored by the protocol or by rows that share its frames."""
    main = protocol.generation()
    mates = [mate for mate in protocol.variants() if mate.generation() == main]
    choices = [choice for mate in mates for choice in selection(task.times, task.num_frames, mate.scored, task.name)]
    return sorted({index for choice in choices for index in choice})


def to_draw(samples: Sequence[Sample], protocol: Protocol, output: Path) -> Path:
    """Write the keys of every sample as given to models, and `list.csv`, the pictures to draw.

    Raises:
        NakawariError: a sample cannot be read.
    """
    rows: list[tuple[object, ...]] = []
    for prepared in (prepare(sample, protocol) for sample in samples):
        keep_keys(output / "keys", prepared)
        rows += _lines(prepared, protocol)
    with atomic_path(output / "list.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return output / "list.csv"


def _lines(prepared: Prepared, protocol: Protocol) -> list[tuple[object, ...]]:
    task, (width, height) = prepared.task, prepared.placement.content[2:]
    keys = f"keys/{distinct_folder_name(task.name)}"
    times = [index / (task.num_frames - 1) for index in wanted(task, protocol)]
    return [
        (task.name, f"{keys}/start.png", f"{keys}/end.png", f"{time:.6f}", picture_name(task.name, time), width, height)
        for time in times
    ]


def parse_frames(words: Sequence[str]) -> dict[str, Path]:
    """Parse `NAME=DIR` arguments.

    Raises:
        UsageError: an incomplete argument, or a repeated name.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder) or name in found:
            raise UsageError(
                f"--frames {word!r} is not NAME=DIR with a unique name; give, for example, --frames film=drawn/film."
            )
        found[name] = Path(folder)
    return found
