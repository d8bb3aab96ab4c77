"""Convert a sample of a data set to a task at the protocol's size, and score drawn clips."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.samples import Sample
from ..errors import NakawariError
from ..files import combined, file_digest
from ..media import read_rgb, write_image
from .contestants import Contestant, Task
from .fitting import Placement, content, fit_frame, place
from .metrics import Metric
from .protocol import Protocol, selection
from .scored import Box, Frames, Scored


@dataclass(frozen=True)
class Prepared:
    """A sample at the protocol's size.

    Args:
        task: the input of the rows.
        placement: position of the picture in the frame; the rest is padding.
        level: difficulty, empty if not annotated.
        box: region of interest within the picture.
    """

    task: Task
    placement: Placement
    level: str
    box: Box | None


def prepare(sample: Sample, protocol: Protocol) -> Prepared:
    """Read a sample and fit it to the size of a protocol.

    Raises:
        NakawariError: a picture is broken or of another size, or there is no true frame between the keys.
    """
    if not sample.truth:
        raise NakawariError(f"Sample {sample.name} has no true frame between its keys; evaluation needs one.")
    frames = sample.read()
    keys, truth = frames[[0, -1]], frames[1:-1]
    source = (keys.shape[2], keys.shape[1])
    placement = place(source, protocol.size, protocol.fit)
    box = None if sample.roi is None else sample.roi.within(source)
    fitted = [np.stack([fit_frame(f, placement, protocol.resample) for f in frames]) for frames in (keys, truth)]
    count = protocol.num_frames or len(truth) + 2
    task = Task(sample.name, fitted[0], fitted[1], count, sample.times, sample.caption, placement)
    return Prepared(task, placement, sample.level, None if box is None else placement.box(box, source))


def picture_hashes(samples: Sequence[Sample]) -> tuple[dict[str, str], str]:
    """SHA-256 of the pictures of each sample, and of all pictures; a missing one fails its sample later."""
    paths = {path for sample in samples for path in (*sample.keys, *sample.truth)}
    hashes = {path: file_digest(path) for path in paths if path.is_file()}
    each = {
        sample.name: combined({path: hashes[path] for path in (*sample.keys, *sample.truth) if path in hashes})
        for sample in samples
    }
    return each, combined(hashes)


def films_of(samples: Sequence[Sample]) -> list[str]:
    """The film of each sample: from the data set, otherwise its own name; samples that share a picture are of one film.

    A copy under another name, or a window that begins where another ends, is not independent.
    """
    joined: dict[str, str] = {}

    def first(film: str) -> str:
        while joined.get(film, film) != film:
            film = joined[film]
        return film

    shown: dict[bytes, str] = {}
    for sample in samples:
        film = sample.group or sample.name
        for path in (*sample.keys, *sample.truth):
            if path.is_file():
                one, other = first(shown.setdefault(file_digest(path), film)), first(film)
                if one != other:
                    joined[other] = one
    return [first(sample.group or sample.name) for sample in samples]


def chosen(prepared: Prepared, contestant: Contestant, scored: str) -> list[list[int]]:
    """The scored frames of a row's clip, one list or (`mid-pair`) two; see `protocol.selection`."""
    task, count = prepared.task, contestant.num_frames(prepared.task)
    if count != task.num_frames:
        return [list(range(1, count - 1))]
    return selection(task.times, count, scored, f"Sample {task.name}")


@dataclass(frozen=True)
class Scores:
    """Scores of one clip by metric, and of every true frame for per-frame metrics."""

    values: dict[str, float | None]
    frames: dict[str, list[float]]


def score(prepared: Prepared, clip: Frames, choices: Sequence[Sequence[int]], metrics: Sequence[Metric]) -> Scores:
    """The metrics of one clip (F, H, W, 3), over the picture without its padding; two choices are averaged.

    Raises:
        NakawariError: a value is not finite.
    """
    cut = {name: content(frames, prepared.placement) for name, frames in _frames(prepared, clip).items()}
    views = [
        Scored(
            cut["clip"][list(choice)],
            cut["truth"],
            cut["keys"],
            cut["clip"][[0, -1]],
            prepared.box,
            tuple(index / (len(clip) - 1) for index in choice),
        )
        for choice in choices
    ]
    values: dict[str, float | None] = {}
    frames: dict[str, list[float]] = {}
    for metric in metrics:
        if metric.needs == "pair":
            each = [metric.each(view) for view in views]
            values[metric.name] = _finite(metric, [metric.over(one) for one in each])
            frames[metric.name] = np.mean(np.array(each, dtype=np.float64), axis=0).tolist()
        else:
            values[metric.name] = _finite(metric, [metric(view) for view in views])
    return Scores(values, frames)


def _frames(prepared: Prepared, clip: Frames) -> dict[str, Frames]:
    return {"clip": clip, "truth": prepared.task.truth, "keys": prepared.task.keys}


def _finite(metric: Metric, values: list[float | None]) -> float | None:
    if any(value is None for value in values):
        return None
    mean = float(np.mean(np.array(values, dtype=np.float64)))
    if not np.isfinite(mean):
        raise NakawariError(f"{metric.title} is not finite.")
    return mean


def folder_name(name: str) -> str:
    """A row's name as one folder name; different names may share one."""
    return "".join(character if character.isalnum() or character in "-_.@+" else "_" for character in name)


def distinct_folder_name(name: str) -> str:
    """A unique folder name for a name: lost characters are represented by a short hash."""
    folded = folder_name(name)
    return folded if folded == name else f"{folded}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def sample_folder(folder: Path, name: str) -> Path:
    """The folder of a sample's frames; older results use the simplified name."""
    place = folder / distinct_folder_name(name)
    return place if place.is_dir() or not (folder / folder_name(name)).is_dir() else folder / folder_name(name)


def keep_frames(folder: Path, prepared: Prepared, clip: Frames, choices: Sequence[Sequence[int]]) -> None:
    """Write the scored frames without padding as `<folder>/<sample>/t<time>.png`."""
    last = len(clip) - 1
    place = folder / distinct_folder_name(prepared.task.name)
    for index in sorted({index for choice in choices for index in choice}):
        _write(place / f"t{index / last:.4f}.png", clip[index], prepared.placement)


def keep_keys(folder: Path, prepared: Prepared) -> None:
    """Write the keys as given to models, without padding."""
    for name, frame in zip(("start", "end"), prepared.task.keys, strict=True):
        _write(folder / distinct_folder_name(prepared.task.name) / f"{name}.png", frame, prepared.placement)


def keep_reference(folder: Path, prepared: Prepared) -> None:
    """Write keys and truths as they were scored, once: `start.png`, `end.png`, `t<time>.png`."""
    task = prepared.task
    names = ["start", "end", *(f"t{time:.4f}" for time in task.times)]
    for name, frame in zip(names, [*task.keys, *task.truth], strict=True):
        path = folder / distinct_folder_name(task.name) / f"{name}.png"
        if not path.exists():
            _write(path, frame, prepared.placement)


def _write(path: Path, frame: Frames, placement: Placement) -> None:
    write_image(path, np.ascontiguousarray(content(frame, placement)))


def read_frames(folder: Path) -> dict[str, Any]:
    """The frames in a folder, file stem -> (H, W, 3) uint8; empty if there are none."""
    return {file.stem: read_rgb(file) for file in sorted(folder.glob("*.png"))}
