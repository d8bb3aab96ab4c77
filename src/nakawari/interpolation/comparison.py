"""Compare in-betweens by several samplers: time, PSNR to the first, a contact sheet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..decibels import psnr_of
from ..errors import UsageError
from ..files import write_json
from ..media import contact_sheet, write_gif, write_image
from .colour import as_shown
from .counting import Progress
from .draw import draw
from .drawn import Drawn
from .folder import filling
from .keys import Key
from .output import PLAYBACK_FPS, Output
from .record import RECORD, Made, earlier_in, record_of
from .settings import Settings
from .sheet import caption, gaps_of, playing, seen
from .timeline import plain_timeline

SHEET = "comparison.png"


@dataclass(frozen=True)
class Entry:
    """The result of one sampler.

    Args:
        scheduler: its name.
        steps: per pass.
        seconds: for all in-betweens.
        psnr: dB of its in-betweens against those of the first sampler, None for the first and for equal ones.
        drawn: the sequence.
    """

    scheduler: str
    steps: int
    seconds: float
    psnr: float | None
    drawn: Drawn


def compare(
    keys: Sequence[Key],
    settings: Settings,
    pipeline: Any,
    schedulers: Sequence[str],
    progress: Callable[[str], Progress] | None = None,
) -> list[Entry]:
    """Draw a job once with each of `schedulers`, with the same seeds and settings; the model draws
    every gap.

    Args:
        keys, settings, pipeline: as for `draw`; without `steps`, every sampler takes its default steps.
        schedulers: names of the family's samplers, in display order.
        progress: returns, for a sampler's name, a callback for after every batch.

    Raises:
        NakawariError: as `draw`, or a family with a single sampler.
    """
    if not pipeline.schedulers:
        raise UsageError(f"A {pipeline.family} model has one scheduler, so there is nothing to compare; use a Framer.")
    entries: list[Entry] = []
    for name in schedulers:
        with pipeline.scheduled(name):
            steps = settings.steps or pipeline.config.default_steps
        started = time.monotonic()
        own = replace(settings, scheduler=name, parts=False)
        drawn = draw(keys, own, pipeline, progress(name) if progress else None)
        seconds = time.monotonic() - started
        psnr = _psnr(entries[0].drawn, drawn) if entries else None
        entries.append(Entry(name, steps, seconds, psnr, drawn))
    return entries


def _psnr(first: Drawn, other: Drawn) -> float | None:
    between = [index for index, key in enumerate(first.keys) if key is None]
    if not between:
        return None
    error = np.mean([np.mean((first.frames[i] / 255.0 - other.frames[i] / 255.0) ** 2) for i in between])
    return None if error == 0 else psnr_of(float(error), 1.0)


def write_comparison(
    output: Output, entries: Sequence[Entry], keys: Sequence[Key], settings: Settings, model: str
) -> tuple[list[Path], dict[str, Any]]:
    """Write the sheet, one GIF per sampler and the record, atomically. Returns the files and the record."""
    fps = settings.fps or PLAYBACK_FPS
    names = [key.path.name for key in keys]
    first = entries[0].drawn
    record = record_of(first, keys, settings, Made(model), fps, plain_timeline(len(first.frames)), files=False)
    gifs = [f"{entry.scheduler}.gif" for entry in entries]
    record |= {
        "comparison": [{"scheduler": e.scheduler, "steps": e.steps, "psnr": e.psnr} for e in entries],
        "files": [SHEET, *gifs, RECORD],
    }
    shown = [replace(entry, drawn=as_shown(entry.drawn, keys)) for entry in entries]
    with filling(earlier_in(output.path)) as folder:
        for gif, entry in zip(gifs, shown, strict=True):
            write_gif(folder / gif, playing(entry.drawn, loop=settings.loop, overlay=output.overlay), fps)
        write_image(folder / SHEET, comparison_sheet(shown, names, loop=settings.loop, overlay=output.overlay))
        write_json(folder / RECORD, record)
    return [output.path / name for name in record["files"]], record


def comparison_sheet(entries: Sequence[Entry], names: Sequence[str], *, loop: bool, overlay: bool = True) -> np.ndarray:
    """One row per gap and sampler (H, W, 3), grouped by gap for comparison."""
    rows, labels, captions, marked = [], [], [], []
    for gap, numbers in enumerate(gaps_of(entries[0].drawn, loop=loop)):
        for entry in entries:
            rows.append([seen(entry.drawn, gap, place, frame, overlay) for place, frame in enumerate(numbers)])
            labels.append(f"{entry.scheduler}, {entry.steps} steps")
            captions.append([caption(entry.drawn, names, frame, frame + 1) for frame in numbers])
            marked.append([entry.drawn.keys[frame] is not None for frame in numbers])
    return contact_sheet(rows, labels, captions, marked)
