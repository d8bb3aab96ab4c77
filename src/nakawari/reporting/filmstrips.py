"""Filmstrips: keys, every row's frame and the truth side by side, with error maps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import NakawariError
from ..evaluation.samples import sample_folder
from ..media import read_rgb
from .drawing import Plot, drawing, finish
from .results import Evidence, Row
from .tables import number

Picture = np.ndarray

ROWS = 12
"""Maximum number of rows in a strip."""
BUDGET = 7_500_000
"""Maximum bytes of all pictures on the page, before base64 encoding."""
WIDTHS = (448, 360, 280, 200, 140)
SCALE = 64
"""The error, in 8-bit levels, at which a map reaches its darkest colour."""
_STOPS = ((0.0, "ffffff"), (0.15, "fee3b5"), (0.4, "f08a3c"), (0.7, "b3202c"), (1.0, "2b0012"))


@dataclass(frozen=True)
class Frame:
    """One row in a strip: its name, the quality of its sample, the time of the frame, picture and error map."""

    label: str
    score: str
    time: float
    picture: Picture
    error: Picture


@dataclass(frozen=True)
class Strip:
    """One sample: `keys` are (start, end), all pictures (H, W, 3) uint8."""

    kind: str
    sample: str
    level: str
    time: float
    keys: tuple[Picture, Picture]
    truth: Picture
    frames: tuple[Frame, ...]


def cases(evidence: Evidence, count: int) -> list[tuple[str, int]]:
    """The samples to show, as (kind, index), without duplicates.

    The best, median and worst `count` of the reference by the first metric, and those on which models differ most.
    """
    metric = evidence.metrics[0]
    values = metric.sense * evidence.by_name[evidence.reference].samples.mean[metric.name]
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(-values[known], kind="stable")]
    middle = max(0, (len(order) - count) // 2)
    wanted = {
        "best": order[:count],
        "worst": order[::-1][:count],
        "median": order[middle : middle + count],
        "disputed": _disputed(evidence)[:count],
    }
    taken: dict[int, str] = {}
    for kind, indices in wanted.items():
        for index in indices:
            taken.setdefault(int(index), kind)
    ranks = ("best", "median", "worst", "disputed")
    return sorted(((kind, index) for index, kind in taken.items()), key=lambda case: ranks.index(case[0]))


def _disputed(evidence: Evidence) -> Sequence[int]:
    name = evidence.metrics[0].name
    values = np.array([row.samples.mean[name] for row in evidence.models if name in row.samples.mean])
    if len(values) < 2:
        return []
    spans = np.nan_to_num(np.ptp(values, axis=0), nan=-1.0)
    return [int(index) for index in np.argsort(-spans, kind="stable") if spans[index] > 0]


def shown_rows(evidence: Evidence) -> list[Row]:
    """The rows of strips: models first, then anchors and peers, at most `ROWS`."""
    rows = [row for role in ("model", "anchor", "peer") for row in evidence.rows if row.entry.role == role]
    return rows[:ROWS]


def strips(evidence: Evidence, count: int) -> list[Strip]:
    """The strips of the samples of `cases`, without samples or rows without saved pictures."""
    rows = shown_rows(evidence)
    found = (_strip(evidence, rows, kind, index) for kind, index in cases(evidence, count))
    return [strip for strip in found if strip is not None]


def _strip(evidence: Evidence, rows: Sequence[Row], kind: str, index: int) -> Strip | None:
    sample = evidence.sample_names[index]
    reference = kept_reference(evidence, sample)
    if reference is None:
        return None
    frames = [frame for row in rows if (frame := _frame(evidence, row, index, reference)) is not None]
    if not frames:
        return None
    level = evidence.rows[0].samples.levels[index]
    return Strip(kind, sample, level, reference.time, reference.keys, reference.truth, tuple(frames))


@dataclass(frozen=True)
class Reference:
    """Saved keys (start, end) of a sample and the true frame nearest to the middle, at `time`."""

    keys: tuple[Picture, Picture]
    truth: Picture
    time: float


def kept_reference(evidence: Evidence, sample: str) -> Reference | None:
    """The saved keys and truth of a sample; None if they are missing."""
    folders = dict.fromkeys(sample_folder(row.folder / "frames/reference", sample) for row in evidence.rows)
    reference = next((folder for folder in folders if folder.is_dir()), None)
    truths = _timed(reference) if reference else {}
    if not reference or not truths:
        return None
    time = min(truths, key=lambda t: (abs(t - 0.5), t))
    return Reference((_read(reference / "start.png"), _read(reference / "end.png")), _read(truths[time]), time)


@dataclass(frozen=True)
class KeptFrame:
    """A row's saved frame nearest to a time, and its own time."""

    picture: Picture
    time: float


def kept_frame(evidence: Evidence, row: Row, sample: str, time: float) -> KeptFrame | None:
    """The first seed's frame of a row nearest to `time`; None if none was saved."""
    made = _timed(sample_folder(row.frames / f"seed-{evidence.protocol.seeds[0]}", sample))
    if not made:
        return None
    nearest = min(made, key=lambda t: (abs(t - time), t))
    return KeptFrame(_read(made[nearest]), nearest)


def _frame(evidence: Evidence, row: Row, index: int, reference: Reference) -> Frame | None:
    sample = evidence.sample_names[index]
    kept = kept_frame(evidence, row, sample, reference.time)
    if kept is None:
        return None
    if kept.picture.shape != reference.truth.shape:
        raise NakawariError(
            f"The saved frame of {row.name} and the true frame of {sample} differ in size; "
            "delete the result and evaluate again."
        )
    metric = evidence.metrics[0]
    values = row.samples.first.get(metric.name)
    score = "" if values is None else number(float(values[index]), evidence.decimals(metric.name))
    return Frame(row.label, score, kept.time, kept.picture, error_map(kept.picture, reference.truth))


def _timed(folder: Path) -> dict[float, Path]:
    """The pictures `t<time>.png` of a folder by time."""
    found = {}
    for file in sorted(folder.glob("t*.png")):
        try:
            found[float(file.stem[1:])] = file
        except ValueError:
            continue
    return found


def _read(path: Path) -> Picture:
    try:
        return read_rgb(path)
    except NakawariError as error:
        raise NakawariError(f"{path} is not a readable picture; delete the result and evaluate again.") from error


def error_map(picture: Picture, truth: Picture) -> Picture:
    """Mean absolute error over channels as a colour, (H, W, 3) uint8: white for none, darkest from `SCALE` levels."""
    error = np.abs(picture.astype(np.int16) - truth.astype(np.int16)).mean(-1)
    return ramp()[np.minimum(np.round(error * (255 / SCALE)), 255).astype(np.uint8)]


def ramp() -> Picture:
    """The colour map of the error maps, (256, 3) uint8, with monotonically decreasing lightness."""
    places = [255 * stop for stop, _ in _STOPS]
    colours = np.array([[int(text[i : i + 2], 16) for i in (0, 2, 4)] for _, text in _STOPS])
    channels = [np.interp(np.arange(256), places, colours[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def encode(shown: Sequence[Strip], budget: int = BUDGET) -> dict[int, bytes]:
    """Every picture of the strips as WebP, by `id`, at the largest of `WIDTHS` at which all fit into `budget` bytes."""
    pictures = {id(picture): picture for strip in shown for picture in pictures_of(strip)}
    encoded: dict[int, bytes] = {}
    for width in WIDTHS:
        encoded = {key: webp(picture, width) for key, picture in pictures.items()}
        if sum(map(len, encoded.values())) <= budget:
            break
    return encoded


def pictures_of(strip: Strip) -> list[Picture]:
    """All pictures of a strip."""
    made = [picture for frame in strip.frames for picture in (frame.picture, frame.error)]
    return [*strip.keys, strip.truth, *made]


def webp(picture: Picture, width: int) -> bytes:
    """A picture as WebP, at most `width` pixels wide."""
    from PIL import Image

    image = Image.fromarray(picture)
    if image.width > width:
        height = max(1, round(image.height * width / image.width))
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82, method=4)
    return buffer.getvalue()


def strip_figure(strip: Strip, metric: str) -> Plot:
    """A strip as a figure: pictures above, error maps below."""
    columns = [
        ("start", strip.keys[0], None),
        *((f"{frame.label}\n{frame.score}".rstrip(), frame.picture, frame.error) for frame in strip.frames),
        ("truth", strip.truth, None),
        ("end", strip.keys[1], None),
    ]
    height, width = strip.truth.shape[:2]
    gap = max(2, width // 50)
    # One image for all pictures: a grid of axes is many times slower in matplotlib.
    canvas = np.full((2 * height + gap, len(columns) * (width + gap) - gap, 3), 255, np.uint8)
    for index, (_, picture, error) in enumerate(columns):
        left = index * (width + gap)
        canvas[:height, left : left + width] = picture
        if error is not None:
            canvas[height + gap :, left : left + width] = error
    inches = 1.4 * len(columns)
    below = inches * canvas.shape[0] / canvas.shape[1]
    with drawing() as pyplot:
        figure = pyplot.figure(figsize=(inches, below + 0.32))
        axes = figure.add_axes((0, 0, 1, below / (below + 0.32)))
        axes.set_axis_off()
        axes.imshow(canvas, interpolation="none", aspect="auto")
        for index, (title, _, _) in enumerate(columns):
            centre = (index * (width + gap) + width / 2) / canvas.shape[1]
            axes.text(centre, 1.02, _short(title), transform=axes.transAxes, fontsize=6.5, ha="center", va="bottom")
        caption = f"{strip.kind}: sample {strip.sample}; below, the error against the truth ({metric} under the names)."
        return finish(f"strip-{strip.kind}", caption, caption, figure, ("png", "pdf"))


def _short(title: str, limit: int = 26) -> str:
    lines = title.split("\n")
    return "\n".join(line if len(line) <= limit else line[: limit - 1] + "…" for line in lines)
