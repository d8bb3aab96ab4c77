"""Drawing the in-betweens: every gap in its passes, gaps and mattes in batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..errors import NakawariError
from ..media import to_tensor, to_uint8
from ..memory import guarded
from ..seeds import seed_from
from .by_parts import frames_by_parts
from .keys import Key, bled_colour, matte
from .options import check_settings
from .plan import GapPlan, Pass, plan_spaced
from .spacing import Shares
from .tracks import Drags, GapTracks, tracks_of_gaps

Progress = Callable[[int, int], None]
"""Called with (drawn, total) frames whenever a batch is done."""
Watch = Callable[[float, int, str], None]
"""Called with (drawn, total, words) after every sampling step; `drawn` counts a share of those under way."""
Pair = tuple[np.ndarray, np.ndarray]
"""Two keys, or one layer of them, uint8 (H, W, C)."""

REFINE = "refine_tracks"
"""The option under which tracks come back other than they went in."""
SMALLER_JOB = "lower --batch or --between, give smaller drawings, or name the model with :bf16 or :int8 behind it"
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
        size: height and width that the model draws at; what it draws is brought back to the size of the keys.
        shares: per gap where its in-betweens stand on the way; None for even ones.
        parts: whether flat-colour drawings are drawn by their parts, not by the model, where these explain the keys.
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
    shares: tuple[Shares, ...] | None = None
    parts: bool = True
    size: tuple[int, int] | None = None

    def of_gap(self, gap: int) -> dict[str, Any]:
        """All that decides how one gap is drawn, but for its keys and the model: equal words, equal frames."""
        words = {name: getattr(self, name) for name in _OF_ALL_GAPS}
        return words | {
            "gap": gap,
            "between": self.counts[gap],
            "shares": self.shares[gap] if self.shares else None,
            "drags": self.drags.get(gap),
        }


_OF_ALL_GAPS = tuple(
    one.name for one in fields(Settings) if one.name not in ("counts", "loop", "batch", "drags", "shares")
)


@dataclass(frozen=True)
class Gap:
    """A gap that is drawn.

    Args:
        frames: its in-betweens, uint8 (H, W, 3 or 4).
        tracks: where its points were led, (count + 2, P, 2), from key to key; None without.
        shares: where the frames were drawn on the way from key to key; the nearest places to those asked for where the
            model knows no others.
        used: `drawn_by`, model or parts, and what the model took for steps, guidance and scheduler where the job does
            not say.
    """

    frames: list[np.ndarray]
    tracks: np.ndarray | None = None
    shares: Shares = ()
    used: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """A finished sequence.

    Args:
        frames: uint8 (H, W, 3 or 4), keys in their places.
        keys: per frame the number of the key drawing that it is, None for an in-between.
        tracks: gap -> where its points were led, (count + 2, P, 2), from key to key; only gaps that had tracks.
        shares: per gap where its in-betweens were drawn on the way.
        used: as in `Gap`, of the first gap that the model drew.
        drawn_by: per gap model or parts, None where nothing was asked for.
    """

    frames: list[np.ndarray]
    keys: list[int | None]
    tracks: Mapping[int, np.ndarray] = field(default_factory=dict)
    shares: tuple[Shares, ...] = ()
    used: Mapping[str, Any] = field(default_factory=dict)
    drawn_by: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class _Task:
    """One pass of one gap; `times` as the model is told them, None for even ones."""

    gap: int
    number: int
    spec: Pass
    times: tuple[float, ...] | None


def seed_of(seed: int, gap: int, number: int) -> int:
    """The seed of pass `number` in `gap`: a hash, so that neighbours are unrelated and batches do not matter."""
    return seed_from(f"{seed}/{gap}/{number}")


def draw(
    keys: Sequence[Key],
    settings: Settings,
    pipeline: Any = None,
    progress: Progress | None = None,
    known: Mapping[int, Gap] | None = None,
    finished: Callable[[int, Gap], None] | None = None,
    watch: Watch | None = None,
) -> Drawn:
    """Draw all in-betweens. Keys stand in the result as they came in, pixel for pixel.

    RGBA keys are drawn in two layers with the same seeds: the colour, bled out under the transparent parts so that no
    backdrop seeps in, and the matte as a grey picture; a gap between two full mattes needs no second layer. The matte
    follows the tracks that the colour followed in the end.

    Args:
        keys: two or more drawings of one size, all RGB or all RGBA.
        settings: `counts` must fit the gaps (see `gap_counts`).
        pipeline: an interpolation pipeline; None is enough where nothing is left to draw.
        progress: called after every batch.
        known: gaps that are drawn already.
        finished: called with the number of every other gap and what was drawn there, as soon as it is whole.
        watch: called after every sampling step, where the model tells of them.

    Raises:
        NakawariError: the model ran out of memory, makes too few frames, drew values that are not finite, or has no
            such settings.
    """
    check_settings(pipeline, settings)
    with pipeline.scheduled(settings.scheduler) if settings.scheduler and pipeline else nullcontext():
        return _draw(keys, settings, pipeline, progress, known or {}, finished, watch)


def _draw(
    keys: Sequence[Key],
    settings: Settings,
    pipeline: Any,
    progress: Progress | None,
    known: Mapping[int, Gap],
    finished: Callable[[int, Gap], None] | None,
    watch: Watch | None,
) -> Drawn:
    pixels = [key.pixels for key in keys]
    pairs = list(zip(pixels, pixels[1:] + pixels[:1] * settings.loop, strict=False))
    gaps = {gap: Gap([]) for gap in range(len(pairs)) if not settings.counts[gap]} | dict(known)
    plans = {gap: _plan(gap, settings, pipeline) for gap in range(len(pairs)) if gap not in gaps}
    layers = {gap: 1 + _transparent(pairs[gap]) for gap in plans}
    counter = _Counter(sum(plan.drawn * layers[gap] for gap, plan in plans.items()), progress, watch)
    size = _together(pipeline, settings.batch) if plans else 1
    todo = list(plans)
    for chunk in (todo[start : start + size] for start in range(0, len(todo), size)):
        made = _draw_gaps({gap: pairs[gap] for gap in chunk}, plans, settings, pipeline, counter)
        for gap, own in made.items():
            gaps[gap] = own
            if finished:
                finished(gap, own)
    return _in_order(pixels, [gaps[gap] for gap in range(len(pairs))])


def _plan(gap: int, settings: Settings, pipeline: Any) -> GapPlan:
    return plan_spaced(
        settings.counts[gap],
        settings.shares[gap] if settings.shares else None,
        _most_between(pipeline),
        any_time=_any_time(pipeline),
    )


def _any_time(pipeline: Any) -> bool:
    return getattr(pipeline, "draws_any_time", False)


def _transparent(pair: Pair) -> bool:
    return any(side.shape[2] == 4 and side[..., 3].min() < 255 for side in pair)


def _draw_gaps(
    pairs: Mapping[int, Pair],
    plans: Mapping[int, GapPlan],
    settings: Settings,
    pipeline: Any,
    counter: _Counter,
) -> dict[int, Gap]:
    """Some gaps together: by their parts where these explain the keys, the others by the model."""
    made: dict[int, Gap] = {}
    for gap, pair in pairs.items():
        led = settings.auto_tracks or settings.drags.get(gap)
        shares = [plans[gap].shares[place] for place in plans[gap].kept]
        frames = frames_by_parts(pair, shares) if settings.parts and not led else None
        if frames is not None:
            made[gap] = _gap(frames, plans[gap], None, {"drawn_by": "parts"})
            counter.add(plans[gap].drawn * (1 + _transparent(pair)))
    rest = {gap: pair for gap, pair in pairs.items() if gap not in made}
    return made | (_draw_by_model(rest, plans, settings, pipeline, counter) if rest else {})


def _draw_by_model(
    pairs: Mapping[int, Pair],
    plans: Mapping[int, GapPlan],
    settings: Settings,
    pipeline: Any,
    counter: _Counter,
) -> dict[int, Gap]:
    """Some gaps together, colour first, then the mattes of those that have some."""
    has_alpha = next(iter(pairs.values()))[0].shape[2] == 4
    colours = {gap: _both(bled_colour if has_alpha else np.asarray, pair) for gap, pair in pairs.items()}
    tracks = tracks_of_gaps(colours, settings, {gap: plans[gap].drawn for gap in pairs})
    layers = _fill(colours, plans, settings, pipeline, counter, tracks)
    if has_alpha:
        fixed = replace(settings, options={k: v for k, v in settings.options.items() if k != REFINE})
        matted = {gap: _both(matte, pair) for gap, pair in pairs.items() if _transparent(pair)}
        alphas = _fill(matted, plans, fixed, pipeline, counter, tracks)
        for gap, frames in layers.items():
            layers[gap] = [
                _joined(frame, alphas[gap][place] if gap in alphas else None) for place, frame in enumerate(frames)
            ]
    used = _defaults(pipeline)
    return {gap: _gap(frames, plans[gap], tracks.get(gap), used) for gap, frames in layers.items()}


def _gap(frames: list[np.ndarray], plan: GapPlan, tracks: GapTracks | None, used: Mapping[str, Any]) -> Gap:
    places = [0, *plan.kept, plan.drawn + 1]
    shares = tuple(plan.shares[place] for place in plan.kept)
    return Gap(frames, None if tracks is None else tracks.rows[places], shares, used)


def _defaults(pipeline: Any) -> dict[str, Any]:
    scheduler = getattr(pipeline, "scheduler", None)
    return {
        "drawn_by": "model",
        "steps": getattr(pipeline.config, "default_steps", None),
        "guidance": getattr(pipeline.config, "default_guidance", None),
        "scheduler": None if scheduler is None else type(scheduler).__name__,
    }


def _both(prepare: Callable[[np.ndarray], np.ndarray], pair: Pair) -> Pair:
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


def _in_order(keys: list[np.ndarray], gaps: list[Gap]) -> Drawn:
    frames: list[np.ndarray] = []
    numbers: list[int | None] = []
    for number, key in enumerate(keys):
        between = gaps[number].frames if number < len(gaps) else []
        frames += [key.copy(), *between]
        numbers += [number, *[None] * len(between)]
    tracks = {number: gap.tracks for number, gap in enumerate(gaps) if gap.tracks is not None}
    makers = tuple(gap.used.get("drawn_by") for gap in gaps)
    used = next((gap.used for gap in gaps if gap.used.get("drawn_by") == "model"), {})
    return Drawn(frames, numbers, tracks, tuple(gap.shares for gap in gaps), used, makers)


class _Counter:
    """Counts frames drawn, out of a total, for the caller's progress display."""

    def __init__(self, total: int, progress: Progress | None, watch: Watch | None) -> None:
        self.drawn, self.total, self.progress, self.watch = 0, total, progress, watch

    def add(self, frames: int) -> None:
        self.drawn += frames
        if self.progress:
            self.progress(self.drawn, self.total)

    def telling(self, pipeline: Any, frames: int) -> dict[str, Any]:
        """Arguments for a pipeline's call that draws `frames` frames, so that its steps are told of; the decoder counts
        as one step more."""
        watch = self.watch
        if watch is None or "callback_on_step_end" not in inspect.signature(pipeline.__call__).parameters:
            return {}

        def tell(model: Any, index: int, time: Any, values: Mapping[str, Any]) -> dict[str, Any]:
            steps = len(model.scheduler.timesteps)
            words = f"step {index + 1} of {steps}" if index + 1 < steps else f"{steps} of {steps} steps, decoding"
            watch(self.drawn + frames * (index + 1) / (steps + 1), self.total, words)
            return {}

        return {"callback_on_step_end": tell}


def _fill(
    ends: Mapping[int, Pair],
    plans: Mapping[int, GapPlan],
    settings: Settings,
    pipeline: Any,
    counter: _Counter,
    tracks: Mapping[int, GapTracks],
) -> dict[int, list[np.ndarray]]:
    """The in-betweens, uint8 (H, W, 3), of every gap in `ends` (gap number -> its two keys)."""
    boards: dict[int, dict[int, np.ndarray]] = {}
    tasks: list[_Task] = []
    any_time = _any_time(pipeline)
    for gap, (first, last) in ends.items():
        plan = plans[gap]
        boards[gap] = {0: first, plan.drawn + 1: last}
        tasks += [
            _Task(gap, number, spec, plan.times(spec) if any_time else None) for number, spec in enumerate(plan.passes)
        ]
    rates = {gap: (settings.fps or 0) * (plans[gap].drawn + 1) / (settings.counts[gap] + 1) for gap in ends}
    for batch in _batches(tasks, _together(pipeline, settings.batch)):
        frames = sum(len(task.spec.places) for task in batch)
        more = counter.telling(pipeline, frames)
        for task, drawn in zip(batch, _run(batch, boards, settings, pipeline, tracks, rates, more), strict=True):
            boards[task.gap].update(zip(task.spec.places, drawn, strict=True))
        counter.add(frames)
    return {gap: [board[place] for place in plans[gap].kept] for gap, board in boards.items()}


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
    """Tasks of one level, one number of frames and the same times together, at most `size` at once, level by level."""

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
    """Run the model once, with `more` arguments; per task the frames it drew, keys left out. Refined tracks go back
    into `tracks`."""
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
        output = pipeline(to_tensor(start), to_tensor(end), **options)
    made = output.frames
    if not torch.isfinite(made).all():
        raise NakawariError("The model drew values that are not finite; run it in fp32, or choose other --steps.")
    for number, task in enumerate(batch):
        if settings.options.get(REFINE) and control[number] is not None:
            tracks[task.gap].correct(task.spec, output.tracks[number])
    whole = boards[batch[0].gap][0].shape[:2]
    return [[_fitted(frame, whole) for frame in clip[1:-1]] for clip in to_uint8(made * 2 - 1)]


def _fitted(frame: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """A frame (H, W, 3) at another (height, width); None leaves it."""
    if size is None or frame.shape[:2] == size:
        return frame
    return np.asarray(Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def _rate(spec: Pass, fps: float) -> int:
    """Frames per second of one pass: a coarse pass steps over frames, so it is slower than the sequence."""
    return max(1, round(fps * (len(spec.places) + 1) / (spec.end - spec.start)))
