"""Drawing the in-betweens: every gap in its passes, gaps and mattes in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch

from ..errors import NakawariError
from ..media import to_tensor, to_uint8
from .keys import Key, bled_colour, matte
from .options import check_settings
from .plan import Pass, plan_gap
from .tracks import Drags, GapTracks, tracks_of_gaps

Progress = Callable[[int, int], None]
"""Called with (drawn, total) frames whenever a batch is done."""

REFINE = "refine_tracks"
"""The option under which tracks come back other than they went in."""
FAINTEST = 3
"""Matte levels this near to 0 or 255 are noise of the model and become 0 or 255."""


@dataclass(frozen=True)
class Settings:
    """What a job asks of the model; None leaves a choice to the model.

    Args:
        counts: in-betweens per gap, the loop's gap last.
        loop: whether a last gap leads back to the first key.
        steps: sampling steps.
        guidance: classifier-free guidance scale.
        seed: every pass draws its noise from this, the gap's and the pass's number, and nothing else.
        fps: frames per second that the sequence is meant for, told to models that know speeds.
        prompt: words for models that read them.
        batch: how many passes run together on a GPU; on a CPU they run one by one.
        scheduler: the sampler, for families that have several.
        drags: tracks that points follow, for families that know them.
        auto_tracks: match points between the keys of every gap and let them follow straight tracks.
        options: further arguments of the pipeline's call, for families that know them.
    """

    counts: tuple[int, ...]
    loop: bool = False
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    fps: float | None = None
    prompt: str = ""
    batch: int = 1
    scheduler: str | None = None
    drags: Drags = field(default_factory=dict)
    auto_tracks: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """A finished sequence.

    Args:
        frames: uint8 (H, W, 3 or 4), keys in their places.
        keys: per frame the number of the key drawing that it is, None for an in-between.
        tracks: gap -> where its points were led, (count + 2, P, 2), from key to key; only gaps that had tracks.
    """

    frames: list[np.ndarray]
    keys: list[int | None]
    tracks: Mapping[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    """One pass of one gap."""

    gap: int
    number: int
    spec: Pass


def seed_of(seed: int, gap: int, number: int) -> int:
    """The seed of pass `number` in `gap`: a hash, so that neighbours are unrelated and batches do not matter."""
    digest = hashlib.sha256(f"{seed}/{gap}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def draw(keys: Sequence[Key], settings: Settings, pipeline: Any = None, progress: Progress | None = None) -> Drawn:
    """Draw all in-betweens. Keys stand in the result as they came in, pixel for pixel.

    RGBA keys are drawn in two layers with the same seeds: the colour, bled out under the transparent parts so that no
    backdrop seeps in, and the matte as a grey picture; a gap between two full mattes needs no second layer. The matte
    follows the tracks that the colour followed in the end.

    Args:
        keys: two or more drawings of one size, all RGB or all RGBA.
        settings: `counts` must fit the gaps (see `gap_counts`).
        pipeline: an interpolation pipeline; None is enough where all counts are 0.
        progress: called after every batch.

    Raises:
        NakawariError: the model ran out of memory, makes too few frames, drew values that are not finite, or has no
            such settings.
    """
    check_settings(pipeline, settings)
    with pipeline.scheduled(settings.scheduler) if settings.scheduler and pipeline else nullcontext():
        return _draw(keys, settings, pipeline, progress)


def _draw(keys: Sequence[Key], settings: Settings, pipeline: Any, progress: Progress | None) -> Drawn:
    pixels = [key.pixels for key in keys]
    pairs = list(zip(pixels, pixels[1:] + pixels[:1] * settings.loop, strict=False))
    transparent = pixels[0].shape[2] == 4
    matted = [gap for gap, pair in enumerate(pairs) if transparent and min(side[..., 3].min() for side in pair) < 255]
    counter = _Counter(sum(settings.counts) + sum(settings.counts[gap] for gap in matted), progress)
    every = range(len(pairs))
    prepare = bled_colour if transparent else np.asarray
    colours = {gap: _both(prepare, pairs[gap]) for gap in every}
    tracks = tracks_of_gaps(list(colours.values()), settings)
    layers = _fill(colours, settings, pipeline, counter, tracks)
    if transparent:
        fixed = replace(settings, options={k: v for k, v in settings.options.items() if k != REFINE})
        alphas = _fill({gap: _both(matte, pairs[gap]) for gap in matted}, fixed, pipeline, counter, tracks)
        for gap in every:
            layers[gap] = [
                _joined(frame, alphas[gap][place] if gap in alphas else None) for place, frame in enumerate(layers[gap])
            ]
    return _in_order(pixels, layers, {gap: own.rows for gap, own in tracks.items()})


def _both(prepare: Callable[[np.ndarray], np.ndarray], pair: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return prepare(pair[0]), prepare(pair[1])


def _joined(colour: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Colour (H, W, 3) and a grey picture of the matte, None for a full one, as one RGBA frame."""
    if alpha is None:
        level = np.full(colour.shape[:2], 255, np.uint8)
    else:
        level = np.rint(alpha.mean(axis=2)).astype(np.uint8)
        level[level <= FAINTEST] = 0
        level[level >= 255 - FAINTEST] = 255
    return np.concatenate([colour, level[..., None]], axis=2)


def _in_order(keys: list[np.ndarray], layers: dict[int, list[np.ndarray]], tracks: dict[int, np.ndarray]) -> Drawn:
    frames: list[np.ndarray] = []
    numbers: list[int | None] = []
    for number, key in enumerate(keys):
        between = layers.get(number, [])
        frames += [key.copy(), *between]
        numbers += [number, *[None] * len(between)]
    return Drawn(frames, numbers, tracks)


class _Counter:
    """Counts frames drawn, out of a total, for the caller's progress display."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.drawn, self.total, self.progress = 0, total, progress

    def add(self, frames: int) -> None:
        self.drawn += frames
        if self.progress:
            self.progress(self.drawn, self.total)


def _fill(
    ends: dict[int, tuple[np.ndarray, np.ndarray]],
    settings: Settings,
    pipeline: Any,
    counter: _Counter,
    tracks: Mapping[int, GapTracks],
) -> dict[int, list[np.ndarray]]:
    """The in-betweens, uint8 (H, W, 3), of every gap in `ends` (gap number -> its two keys)."""
    boards: dict[int, dict[int, np.ndarray]] = {}
    tasks: list[_Task] = []
    for gap, (first, last) in ends.items():
        boards[gap] = {0: first, settings.counts[gap] + 1: last}
        if settings.counts[gap]:
            passes = plan_gap(settings.counts[gap], _most_between(pipeline))
            tasks += [_Task(gap, number, spec) for number, spec in enumerate(passes)]
    for batch in _batches(tasks, _together(pipeline, settings.batch) if tasks else 1):
        for task, drawn in zip(batch, _run(batch, boards, settings, pipeline, tracks), strict=True):
            boards[task.gap].update(zip(task.spec.places, drawn, strict=True))
        counter.add(sum(len(task.spec.places) for task in batch))
    return {gap: [board[place] for place in range(1, settings.counts[gap] + 1)] for gap, board in boards.items()}


def _most_between(pipeline: Any) -> int:
    most = pipeline.config.max_frames - 2
    if most < 1:
        raise NakawariError(f"The model makes {most + 2} frames at once, but 3 are needed; choose another.")
    return most


def _together(pipeline: Any, batch: int) -> int:
    """How many passes run at once.

    On a CPU one: a batch saves no time there, and its sums round differently, so that a level here and there would
    depend on it.
    """
    return 1 if torch.device(pipeline.device).type == "cpu" else batch


def _batches(tasks: list[_Task], size: int) -> list[list[_Task]]:
    """Tasks of one level and one number of frames together, at most `size` at once, level by level."""

    def kind(task: _Task) -> tuple[int, int]:
        return task.spec.level, len(task.spec.places)

    batches = []
    for _, alike in groupby(sorted(tasks, key=kind), key=kind):
        group = list(alike)
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches


def _run(
    batch: list[_Task],
    boards: dict[int, dict[int, np.ndarray]],
    settings: Settings,
    pipeline: Any,
    tracks: Mapping[int, GapTracks],
) -> list[list[np.ndarray]]:
    """Run the model once; per task the frames it drew, keys left out. Refined tracks go back into `tracks`."""
    frames = len(batch[0].spec.places) + 2
    options: dict[str, Any] = {"num_frames": frames, "prompt": settings.prompt, "output_type": "pt", **settings.options}
    control = [tracks[task.gap].cut(task.spec) if task.gap in tracks else None for task in batch]
    if any(own is not None for own in control):
        options["tracks"] = control
    if settings.steps is not None:
        options["num_inference_steps"] = settings.steps
    if settings.guidance is not None:
        options["guidance_scale"] = settings.guidance
    if settings.fps is not None:
        options["fps"] = [_rate(task.spec, settings.fps) for task in batch]
    start = np.stack([boards[task.gap][task.spec.start] for task in batch])
    end = np.stack([boards[task.gap][task.spec.end] for task in batch])
    seeds = [seed_of(settings.seed, task.gap, task.number) for task in batch]
    options["generator"] = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    try:
        with torch.no_grad():
            output = pipeline(to_tensor(start), to_tensor(end), **options)
    except torch.OutOfMemoryError as error:
        height, width = start.shape[1:3]
        raise NakawariError(
            f"The model ran out of memory on {len(batch)} x {frames} frames of {width}x{height}; "
            "lower --batch, or give smaller drawings."
        ) from error
    made = output.frames
    if not torch.isfinite(made).all():
        raise NakawariError("The model drew values that are not finite; run it in fp32, or choose other --steps.")
    for number, task in enumerate(batch):
        if settings.options.get(REFINE) and control[number] is not None:
            tracks[task.gap].correct(task.spec, output.tracks[number])
    return [list(clip[1:-1]) for clip in to_uint8(made * 2 - 1)]


def _rate(spec: Pass, fps: float) -> int:
    """Frames per second of one pass: a coarse pass steps over frames, so it is slower than the sequence."""
    return max(1, round(fps * (len(spec.places) + 1) / (spec.end - spec.start)))
