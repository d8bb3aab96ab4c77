"""Draw the in-betweens: every gap by its parts or by the model, with post-processing, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from .by_model import draw_by_model, most_between, together
from .choice import Choice, choose
from .counting import Counter, Progress, Watch
from .cuts import is_cut
from .drawn import Drawn, Gap, Pair, gap_of
from .finishing import finished_gap
from .keys import Key, transparent
from .options import check_settings
from .plan import GapPlan, plan_spaced
from .rivals import is_doubtful, is_surer
from .settings import Settings


def draw(
    keys: Sequence[Key],
    settings: Settings,
    pipeline: Any = None,
    progress: Progress | None = None,
    known: Mapping[int, Gap] | None = None,
    finished: Callable[[int, Gap], None] | None = None,
    watch: Watch | None = None,
) -> Drawn:
    """Draw all in-betweens. Keys appear unchanged in the result, pixel for pixel.

    RGBA keys are drawn in two layers with the same seeds: the colour, extended under the transparent parts to avoid
    fringes, and the matte as a grey picture; a gap between two opaque keys needs no second layer. The matte
    uses the same tracks as the colour.

    Args:
        keys: two or more drawings of one size, all RGB or all RGBA.
        settings: `counts` must fit the gaps (see `gap_counts`).
        pipeline: an interpolation pipeline; may be None if nothing is left to draw.
        progress: called after every batch.
        known: gaps that are drawn already.
        finished: called with number and result of every other gap when it is complete.
        watch: called after every sampling step, if the model supports it.

    Raises:
        NakawariError: the model ran out of memory, draws too few frames, drew values that are not finite, or lacks
            a setting.
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
    layers = {gap: 1 + transparent(pairs[gap]) for gap in plans}
    total = sum(plan.drawn * layers[gap] for gap, plan in plans.items())
    counter = Counter(total, sum(settings.counts[gap] for gap in plans), progress, watch)
    size = together(pipeline, settings.batch) if plans else 1
    todo = list(plans)
    for chunk in (todo[start : start + size] for start in range(0, len(todo), size)):
        made = _draw_gaps({gap: pairs[gap] for gap in chunk}, plans, settings, pipeline, counter)
        gaps |= made
        for gap, own in made.items():
            if finished:
                finished(gap, own)
    return _in_order(pixels, [gaps[gap] for gap in range(len(pairs))])


def _plan(gap: int, settings: Settings, pipeline: Any) -> GapPlan:
    return plan_spaced(
        settings.counts[gap],
        settings.shares[gap] if settings.shares else None,
        most_between(pipeline),
        any_time=pipeline.draws_any_time,
    )


def _draw_gaps(
    pairs: Mapping[int, Pair],
    plans: Mapping[int, GapPlan],
    settings: Settings,
    pipeline: Any,
    counter: Counter,
) -> dict[int, Gap]:
    """Draw several gaps together, each as chosen for it (`choose`); doubtful drawings by parts, whole or in two
    layers, compete with the model's (`rivals`)."""
    cuts = {gap for gap, pair in pairs.items() if is_cut(*pair)}
    chosen = {gap: choose(gap, pair, _kept(plans[gap]), settings, cut=gap in cuts) for gap, pair in pairs.items()}

    def done(gap: int, drawn: Gap) -> Gap:
        return finished_gap(pairs[gap], replace(drawn, used=dict(drawn.used) | {"cut": gap in cuts}), settings)

    made = {
        gap: done(gap, gap_of(own.frames, plans[gap], None, {"drawn_by": own.drawn_by, "notes": own.notes}))
        for gap, own in chosen.items()
        if own.frames is not None
    }
    for gap in made:
        counter.add(plans[gap].drawn * (1 + transparent(pairs[gap])))
    wanted = {gap: own.for_model for gap, own in chosen.items() if own.for_model is not None}
    for gap, drawn in draw_by_model(wanted, plans, settings, pipeline, counter).items():
        made[gap] = done(gap, _joined(drawn, chosen[gap]))
    if pipeline.guide is None:
        return made
    least = {gap: own.rivalled for gap, own in chosen.items() if own.rivalled is not None and is_doubtful(made[gap])}
    # Their in-betweens are counted already.
    silent = Counter(0, 0, None, None)
    for gap, drawn in draw_by_model({gap: pairs[gap] for gap in least}, plans, settings, pipeline, silent).items():
        own = done(gap, drawn)
        if is_surer(own, made[gap], least[gap]):
            made[gap] = own
    return made


def _joined(drawn: Gap, choice: Choice) -> Gap:
    """A gap by the model with the figures of a choice over it."""
    if choice.layers is None:
        return drawn
    frames = choice.layers.joined(drawn.frames)
    return replace(drawn, frames=frames, used=dict(drawn.used) | {"drawn_by": choice.drawn_by})


def _kept(plan: GapPlan) -> list[float]:
    """The fractions of the gap of the in-betweens in the result."""
    return [plan.shares[place] for place in plan.kept]


def _in_order(keys: list[np.ndarray], gaps: list[Gap]) -> Drawn:
    frames: list[np.ndarray] = []
    numbers: list[int | None] = []
    for number, key in enumerate(keys):
        between = gaps[number].frames if number < len(gaps) else []
        frames += [key.copy(), *between]
        numbers += [number, *[None] * len(between)]
    tracks = {number: gap.tracks for number, gap in enumerate(gaps) if gap.tracks is not None}
    return Drawn(frames, numbers, tracks, tuple(gap.shares for gap in gaps), tuple(gap.used for gap in gaps))
