"""Draw gaps by the model, in passes, with gaps and mattes in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..errors import NakawariError
from ..media import to_tensor, to_uint8
from ..memory import guarded
from ..seeds import seed_from
from .counting import Counter
from .drawn import Gap, Pair, gap_of
from .keys import bled_colour, matte, transparent
from .options import notes_of
from .plan import GapPlan, Pass
from .settings import Settings
from .tracks import GapTracks, tracks_of_gaps

SMALLER_JOB = "lower --batch or --between, give smaller drawings, or append :bf16 or :int8 to the model"
FAINTEST = 3
"""Matte levels this close to 0 or 255 are noise of the model and are set to 0 or 255."""


@dataclass(frozen=True)
class _Task:
    """One pass of one gap; `times` as passed to the model, None for even ones."""

    gap: int
    number: int
    spec: Pass
    times: tuple[float, ...] | None


def seed_of(seed: int, gap: int, number: int) -> int:
    """The seed of pass `number` in `gap`: a hash, so that adjacent seeds are independent and batches have no effect."""
    return seed_from(f"{seed}/{gap}/{number}")


def draw_by_model(
    pairs: Mapping[int, Pair],
    plans: Mapping[int, GapPlan],
    settings: Settings,
    pipeline: Any,
    counter: Counter,
) -> dict[int, Gap]:
    """Draw several gaps together, first the colour, then the mattes of transparent ones."""
    if not pairs:
        return {}
    has_alpha = next(iter(pairs.values()))[0].shape[2] == 4
    colours = {gap: _both(bled_colour if has_alpha else np.asarray, pair) for gap, pair in pairs.items()}
    tracks = tracks_of_gaps(colours, settings, {gap: plans[gap].shares for gap in pairs})
    layers = _fill(colours, plans, settings, pipeline, counter, tracks)
    if has_alpha:
        matted = {gap: _both(matte, pair) for gap, pair in pairs.items() if transparent(pair)}
        alphas = _fill(matted, plans, settings, pipeline, counter, tracks)
        for gap, frames in layers.items():
            layers[gap] = [
                _joined(frame, alphas[gap][place] if gap in alphas else None) for place, frame in enumerate(frames)
            ]
    return {
        gap: gap_of(frames, plans[gap], tracks.get(gap), _used(pipeline, settings, plans[gap]))
        for gap, frames in layers.items()
    }


def _used(pipeline: Any, settings: Settings, plan: GapPlan) -> dict[str, Any]:
    """The settings in effect: the job's choices that the model supports, otherwise the model's defaults."""
    scheduler = getattr(pipeline, "scheduler", None)
    own = pipeline.config
    guided = settings.guidance if pipeline.is_guided else None
    return {
        "drawn_by": "model",
        "steps": settings.steps or getattr(own, "default_steps", None),
        "guidance": getattr(own, "default_guidance", None) if guided is None else guided,
        "scheduler": settings.scheduler or (None if scheduler is None else type(scheduler).__name__),
        "seed": settings.seed if pipeline.reads_noise(settings.steps) else None,
        "notes": notes_of(pipeline, settings, min(len(spec.places) for spec in plan.passes)),
    }


def _both(prepare: Callable[[np.ndarray], np.ndarray], pair: Pair) -> Pair:
    return prepare(pair[0]), prepare(pair[1])


def _joined(colour: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Colour (H, W, 3) and a grey picture of the matte, None for an opaque one, as one RGBA frame."""
    if alpha is None:
        level = np.full(colour.shape[:2], 255, np.uint8)
    else:
        level = np.rint(alpha.mean(axis=2)).astype(np.uint8)
        level[level <= FAINTEST] = 0
        level[level >= 255 - FAINTEST] = 255
    return np.concatenate([colour, level[..., None]], axis=2)


def _fill(
    ends: Mapping[int, Pair],
    plans: Mapping[int, GapPlan],
    settings: Settings,
    pipeline: Any,
    counter: Counter,
    tracks: Mapping[int, GapTracks],
) -> dict[int, list[np.ndarray]]:
    """The in-betweens, uint8 (H, W, 3), of every gap in `ends` (gap number -> its two keys)."""
    boards: dict[int, dict[int, np.ndarray]] = {}
    tasks: list[_Task] = []
    timed = pipeline.draws_any_time
    for gap, (first, last) in ends.items():
        plan = plans[gap]
        boards[gap] = {0: first, plan.drawn + 1: last}
        tasks += [
            _Task(gap, number, spec, plan.times(spec) if timed else None) for number, spec in enumerate(plan.passes)
        ]
    rates = {gap: (settings.fps or 0) * (plans[gap].drawn + 1) / (settings.counts[gap] + 1) for gap in ends}
    for batch in _batches(tasks, together(pipeline, settings.batch)):
        frames = sum(len(task.spec.places) for task in batch)
        more = counter.telling(pipeline, frames)
        for task, drawn in zip(batch, _run(batch, boards, settings, pipeline, tracks, rates, more), strict=True):
            boards[task.gap].update(zip(task.spec.places, drawn, strict=True))
        counter.add(frames)
    return {gap: [board[place] for place in plans[gap].kept] for gap, board in boards.items()}


def most_between(pipeline: Any) -> int:
    most = pipeline.config.max_frames - 2
    if most < 1:
        raise NakawariError(f"The model draws {most + 2} frames at once, but 3 are needed; choose another.")
    return most


def together(pipeline: Any, batch: int) -> int:
    """Number of passes drawn at once.

    One on a CPU: a batch saves no time there, and rounds differently, so that single levels would
    depend on it.
    """
    return 1 if torch.device(pipeline.device).type == "cpu" else batch


def _batches(tasks: list[_Task], size: int) -> list[list[_Task]]:
    """Group tasks of equal level, number of frames and times, at most `size` per batch, level by level."""

    def kind(task: _Task) -> tuple[int, int, tuple[float, ...]]:
        return task.spec.level, len(task.spec.places), task.times or ()

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
    rates: Mapping[int, float],
    more: Mapping[str, Any],
) -> list[list[np.ndarray]]:
    """Run the model once, with `more` arguments; returns the in-betweens of each task."""
    frames = len(batch[0].spec.places) + 2
    options: dict[str, Any] = (
        {"num_frames": frames, "prompt": settings.prompt, "output_type": "pt"} | dict(settings.options) | dict(more)
    )
    control = [tracks[task.gap].cut(task.spec) if task.gap in tracks else None for task in batch]
    if any(own is not None for own in control):
        options["tracks"] = control
    if batch[0].times is not None:
        options["times"] = torch.tensor(batch[0].times, dtype=torch.float64)
    if settings.steps is not None:
        options["num_inference_steps"] = settings.steps
    if settings.guidance is not None:
        options["guidance_scale"] = settings.guidance
    if settings.fps is not None and "fps" not in settings.options:
        options["fps"] = [_rate(task.spec, rates[task.gap]) for task in batch]
    start = np.stack([_fitted(boards[task.gap][task.spec.start], settings.size) for task in batch])
    end = np.stack([_fitted(boards[task.gap][task.spec.end], settings.size) for task in batch])
    seeds = [seed_of(settings.seed, task.gap, task.number) for task in batch]
    options["generator"] = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    height, width = start.shape[1:3]
    doing = f"drawing {len(batch)} x {frames} frames of {width}x{height}"
    with torch.no_grad(), guarded(doing, SMALLER_JOB, pipeline.device):
        made = pipeline(to_tensor(start), to_tensor(end), **options).frames
    if not torch.isfinite(made).all():
        raise NakawariError("The model drew values that are not finite; run it in fp32, or choose other --steps.")
    whole = boards[batch[0].gap][0].shape[:2]
    return [[_fitted(to_uint8(frame * 2 - 1), whole) for frame in clip[1:-1]] for clip in made]


def _fitted(frame: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """A frame (H, W, 3) resized to (height, width); None leaves it unchanged."""
    if size is None or frame.shape[:2] == size:
        return frame
    return np.asarray(Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def _rate(spec: Pass, fps: float) -> int:
    """Frames per second of one pass; lower than the sequence's for a coarse pass, which skips frames."""
    return max(1, round(fps * (len(spec.places) + 1) / (spec.end - spec.start)))
