"""The plots of a report, and those of difficulty and adapter scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..evaluation.schema import MetricInfo
from ..evaluation.statistics import Interval
from ..variants import parse
from .cost_figures import cost_figures
from .drawing import BLUE, GREY, INK, PALE, VERMILION, WIDTH, Plot, drawing, finish, wrapped
from .results import UNGUIDED, Evidence, Row
from .tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def all_figures(evidence: Evidence) -> dict[str, list[Plot]]:
    """The plots by section: levels, cost, scales; a section without records is empty."""
    return {"levels": level_figures(evidence), "cost": cost_figures(evidence), "scales": scale_figures(evidence)}


# Difficulty


def level_figures(evidence: Evidence) -> list[Plot]:
    """Bars of every row by difficulty and differences from the reference by difficulty."""
    levels = [level for level in evidence.levels if level != "all"]
    if not levels:
        return []
    plots = []
    for metric in evidence.headline:
        plots.append(_bars(evidence, metric, levels))
        plots += _gaps(evidence, metric, levels)
    return plots


def _bars(evidence: Evidence, metric: MetricInfo, levels: list[str]) -> Plot:
    rows = [row for row in evidence.rows if row.interval(evidence.protocol.name, metric.name)]
    found = {level: [row.interval(evidence.protocol.name, metric.name, level) for row in rows] for level in levels}
    shown = evidence.decimals(metric.name)
    names = [wrapped(row.label, 24) for row in rows]
    with drawing() as pyplot:
        figure, panels = _panels(pyplot, len(levels), names)
        largest = max(item.span[1] for items in found.values() for item in items if item)
        for axes, level in zip(panels, levels, strict=True):
            for index, (row, item) in enumerate(zip(rows, found[level], strict=True)):
                if item is None:
                    continue
                colour = BLUE if row.entry.role == "model" else PALE
                axes.barh(index, item.mean, height=0.7, color=colour)
                axes.plot(item.span, [index, index], color=INK, lw=0.9)
                axes.text(item.span[1] + 0.02 * largest, index, number(item.mean, shown), va="center", fontsize=8)
            axes.set_xlim(0, largest * 1.32)
            axes.set_title(f"{level} (n = {len(evidence.levels[level]):,})")
            _rows_axis(axes, names)
        better = "longer is better" if metric.higher_is_better else "shorter is better"
        _bottom_label(panels[-1], f"{metric.title}; {better}")
        alt = f"{metric.title} of {len(rows)} rows, one panel for each difficulty: {', '.join(levels)}."
        caption = f"{metric.title} by difficulty, {better}. Blue: models; grey: baselines. Lines: intervals."
        return finish(f"levels-{metric.name}", alt, caption, figure)


def _gaps(evidence: Evidence, metric: MetricInfo, levels: list[str]) -> list[Plot]:
    """Paired differences of the models from the reference, by difficulty; none for a single model."""
    items = [item for item in evidence.differences_from(evidence.reference) if item.metric == metric.name]
    rows = [row for row in evidence.models if any(item.entry == row.name for item in items)]
    if not rows:
        return []
    reference = evidence.by_name[evidence.reference].label
    names = [wrapped(row.label, 24) for row in rows]
    with drawing() as pyplot:
        figure, panels = _panels(pyplot, len(levels), names)
        for axes, level in zip(panels, levels, strict=True):
            axes.axvline(0, color=INK, lw=0.8)
            for index, row in enumerate(rows):
                item = next((i for i in items if (i.entry, i.level) == (row.name, level)), None)
                if item is None:
                    continue
                colour = {"better": BLUE, "worse": VERMILION}.get(item.verdict or "", GREY)
                gap = item.difference
                face = "white" if colour == GREY else colour
                axes.plot(gap.span, [index, index], color=colour, lw=1.6)
                axes.plot(gap.mean, index, "o", ms=5, mfc=face, mec=colour)
            axes.set_title(f"{level} (n = {len(evidence.levels[level]):,})")
            axes.margins(x=0.08)
            _rows_axis(axes, names)
        bounds = [bound for axes in panels for bound in axes.get_xlim()]
        for axes in panels:
            axes.set_xlim(min(bounds), max(bounds))
            axes.locator_params(axis="x", nbins=4)
        better = "right of 0 is better" if metric.higher_is_better else "left of 0 is better"
        _bottom_label(panels[-1], f"{metric.title}: row minus {reference}; {better}")
        alt = f"Paired differences in {metric.title} from {reference} by difficulty, for {len(rows)} models."
        caption = (
            f"Paired differences in {metric.title} from {reference}, {better}, with intervals. Blue: better; "
            "vermilion: worse; hollow: equal, or no verdict."
        )
        return [finish(f"differences-{metric.name}", alt, caption, figure)]


def _panels(pyplot: Any, count: int, names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    lines = sum(name.count("\n") + 1.4 for name in names)
    each, gap, above, below = 0.17 * lines, 0.55, 0.25, 0.7
    height = count * each + (count - 1) * gap + above + below
    figure, panels = pyplot.subplots(count, 1, figsize=(WIDTH, height), squeeze=False)
    figure.subplots_adjust(left=0.37, right=0.97, top=1 - above / height, bottom=below / height, hspace=gap / each)
    return figure, list(panels[:, 0])


def _bottom_label(axes: Axes, text: str) -> None:
    axes.set_xlabel("\n".join(wrap(text, 40)), va="top")


def _rows_axis(axes: Axes, names: Sequence[str]) -> None:
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


# Adapter scales


def scale_figures(evidence: Evidence) -> list[Plot]:
    """Quality against adapter scale, for every set of three or more variants that differ only in it.

    If the base without adapter is one of them, paired differences from it, which are more precise than means.
    """
    plots = []
    for number_of_sweep, (label, points) in enumerate(sweeps(evidence), 1):
        for metric in evidence.headline:
            gains = _gains(evidence, metric.name, points)
            values = gains or _means(evidence, metric.name, points)
            if len(values) >= 3:
                plots.append(_scale_figure(metric, label, values, number_of_sweep, paired=bool(gains)))
    return plots


def _means(evidence: Evidence, metric: str, points: Sequence[tuple[float, Row]]) -> list[tuple[float, Interval]]:
    found = [(scale, row.interval(evidence.protocol.name, metric)) for scale, row in points]
    return [(scale, mean) for scale, mean in found if mean is not None]


def _gains(evidence: Evidence, metric: str, points: Sequence[tuple[float, Row]]) -> list[tuple[float, Interval]]:
    """Paired differences from the base by scale, 0 at scale 0; empty if the base or a difference is missing."""
    (origin, base), *adapted = points
    known = {
        item.entry: item.difference
        for item in evidence.differences_from(base.name)
        if (item.metric, item.level) == (metric, "all")
    }
    if origin != 0 or any(row.name not in known for _, row in adapted):
        return []
    nothing = replace(known[adapted[0][1].name], mean=0.0, low=0.0, high=0.0)
    return [(0.0, nothing), *((scale, known[row.name]) for scale, row in adapted)]


def sweeps(evidence: Evidence) -> list[tuple[str, list[tuple[float, Row]]]]:
    """(adapter, points) of every adapter with three or more scales, the base counting as scale 0."""
    groups: dict[tuple[Any, ...], list[tuple[float, Row]]] = {}
    bare: dict[tuple[Any, ...], Row] = {}
    for row in evidence.models:
        guided = not row.name.endswith(UNGUIDED)
        try:
            spec = parse(row.name.removesuffix(UNGUIDED))
        except UsageError:
            continue
        if not spec.adapters:
            bare[spec.base, spec.precision, guided] = row
        elif len(spec.adapters) == 1:
            use = spec.adapters[0]
            groups.setdefault((spec.base, spec.precision, guided, use.folder), []).append((use.scale, row))
    found = []
    for (base, precision, guided, folder), points in groups.items():
        origin = bare.get((base, precision, guided))
        every = sorted([*([(0.0, origin)] if origin else []), *points], key=lambda point: point[0])
        if len(every) >= 3:
            tail = "" if guided else UNGUIDED
            found.append((f"{Path(folder).name} on {Path(base).name}, {precision or 'fp32'}{tail}", every))
    return found


def _scale_figure(
    metric: MetricInfo, label: str, values: list[tuple[float, Interval]], place: int, paired: bool
) -> Plot:
    scales = [scale for scale, _ in values]
    best_scale, best = max(values, key=lambda value: metric.sense * value[1].mean)
    with drawing() as pyplot:
        figure, axes = pyplot.subplots(figsize=(WIDTH, 2.9))
        figure.subplots_adjust(left=0.22, right=0.97, bottom=0.18, top=0.92)
        lows, highs = zip(*(item.span for _, item in values), strict=True)
        axes.fill_between(scales, lows, highs, color=BLUE, alpha=0.15, lw=0)
        if paired:
            axes.axhline(0, color=GREY, lw=0.8)
        axes.plot(scales, [item.mean for _, item in values], "-o", color=BLUE, ms=4.5, lw=1.4)
        axes.plot(best_scale, best.mean, "o", color=VERMILION, ms=7)
        axes.annotate(
            f"best at {best_scale:g}", (best_scale, best.mean), (0, 9 * metric.sense), textcoords="offset points",
            color=VERMILION, ha="center", va="bottom" if metric.sense > 0 else "top", fontsize=8,
        )  # fmt: skip
        axes.margins(x=0.12, y=0.2)
        axes.set_xlabel("Adapter scale")
        arrow, added = "↑" if metric.higher_is_better else "↓", ",\nminus the base's" if paired else ""
        axes.set_ylabel(f"{metric.title}{added} {arrow}")
        alt = f"{metric.title} against the scale of {label} at {len(values)} scales; best at {best_scale:g}."
        what = "Paired differences from the base" if paired else "Means"
        caption = f"{metric.title} against adapter scale ({label}). {what}; shaded: their intervals."
        return finish(f"scale-{place}-{metric.name}", alt, caption, figure)
