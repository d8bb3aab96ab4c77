"""The report's plots: quality against cost, rows by difficulty, differences by difficulty, adapter scales.

Colours are those of Okabe & Ito 2008, told apart by colour-blind readers; names stand beside what they name.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..variants import parse
from .results import UNGUIDED, Evidence, Interval, MetricInfo, Row
from .tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, PURPLE, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
INK, GREY, PALE = "#222222", "#767676", "#d0d0d0"
WIDTH = 4.3
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "pdf.fonttype": 42,
    "svg.hashsalt": "nakawari",
    "svg.fonttype": "path",
    "path.simplify": False,
}


@dataclass(frozen=True)
class Plot:
    """A finished figure: what a reader without eyes is told, what stands below it, and its files by suffix."""

    name: str
    alt: str
    caption: str
    files: dict[str, bytes]


@contextmanager
def drawing() -> Iterator[Any]:
    """Matplotlib in the report's style, without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(_STYLE):
        yield pyplot


def finish(name: str, alt: str, caption: str, figure: Figure, suffixes: Sequence[str] = ("svg", "png", "pdf")) -> Plot:
    """Write a figure in every format without dates, so that the same records give the same bytes, and close it."""
    from matplotlib import pyplot

    dates: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None},
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    files = {}
    for suffix in suffixes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=200, metadata=dates[suffix], facecolor="white")
        files[suffix] = buffer.getvalue()
    pyplot.close(figure)
    return Plot(name, alt, caption, files)


def all_figures(evidence: Evidence) -> dict[str, list[Plot]]:
    """The plots by section: levels, cost, scales; a section is empty where its records are."""
    return {"levels": level_figures(evidence), "cost": cost_figures(evidence), "scales": scale_figures(evidence)}


# Quality against cost


@dataclass(frozen=True)
class _Point:
    row: Row
    cost: float
    quality: Interval


def cost_figures(evidence: Evidence) -> list[Plot]:
    """Quality against time and against network evaluations, with the Pareto front."""
    plots = []
    for metric in evidence.headline:
        for key, title, read in _AXES:
            points = [
                _Point(row, float(cost), quality)
                for row in evidence.models
                if (cost := read(row.entry.cost or {}))
                and (quality := row.interval(evidence.protocol.name, metric.name))
            ]
            if points:
                plots.append(_cost_figure(evidence, metric, key, title, points))
    return plots


_AXES: tuple[tuple[str, str, Callable[[dict[str, Any]], float | None]], ...] = (
    ("time", "Time per frame (ms, median)", lambda cost: cost.get("ms_per_frame", {}).get("median")),
    ("evaluations", "Network evaluations per clip", lambda cost: cost.get("network_evaluations")),
)


def pareto(costs: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats in both (less cost, more quality), cheapest first."""
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -qualities[i])):
        if not front or qualities[index] > qualities[front[-1]]:
            front.append(index)
    return front


def _cost_figure(evidence: Evidence, metric: MetricInfo, key: str, title: str, points: list[_Point]) -> Plot:
    front = pareto([point.cost for point in points], [metric.sense * point.quality.mean for point in points])
    with drawing() as pyplot:
        figure, axes = pyplot.subplots(figsize=(WIDTH, 3.2))
        figure.subplots_adjust(left=0.15, right=0.6, bottom=0.15, top=0.97)
        _cost_axis(axes, [point.cost for point in points])
        labels = []
        for index, point in enumerate(points):
            colour = BLUE if index in front else GREY
            _whisker(axes, point.cost, point.quality, colour)
            face = colour if index in front else "white"
            axes.plot(point.cost, point.quality.mean, "o", ms=6, mfc=face, mec=colour, mew=1.4, zorder=3)
            labels.append((point.cost, point.quality.mean, point.row.label, colour))
        _front_line(axes, [points[index] for index in front])
        labels += _floor_lines(axes, evidence, metric, points)
        axes.set_xlabel(title)
        axes.set_ylabel(f"{metric.title} {'↑' if metric.higher_is_better else '↓'}")
        _gutter(axes, labels)
        names = ", ".join(points[index].row.label for index in front)
        alt = f"{metric.title} against {title.lower()} of {len(points)} models. On the Pareto front: {names}."
        caption = (
            f"{metric.title} against {title[0].lower() + title[1:]}. Blue and filled: the Pareto front, which no other "
            "model beats in both. Dashed: rows that need no model."
        )
        return finish(f"quality-{key}-{metric.name}", alt, caption, figure)


def _whisker(axes: Axes, x: float, quality: Interval, colour: str) -> None:
    axes.plot([x, x], [quality.low, quality.high], color=colour, lw=1.2, zorder=2)


def _cost_axis(axes: Axes, costs: list[float]) -> None:
    from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

    if max(costs) > 5 * min(costs):
        axes.set_xscale("log")
        axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
        powers = 10.0 ** np.arange(np.floor(np.log10(min(costs))), np.ceil(np.log10(max(costs))) + 1)
        ticks = sorted(t * p for p in powers for t in (1, 2, 5) if min(costs) / 1.6 <= t * p <= max(costs) * 1.6)
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, max(costs) * 1.15)
        axes.xaxis.set_major_locator(MaxNLocator(5))


def _front_line(axes: Axes, front: list[_Point]) -> None:
    costs = [point.cost for point in front]
    values = [point.quality.mean for point in front]
    axes.step([*costs, axes.get_xlim()[1]], [*values, values[-1]], where="post", color=BLUE, lw=1, zorder=1)


def _floor_lines(
    axes: Axes, evidence: Evidence, metric: MetricInfo, points: list[_Point]
) -> list[tuple[float, float, str, str]]:
    """Lines for rows without a model: the best of them always, others where they fit between the models."""
    rows = [
        (row, found.mean)
        for row in evidence.rows
        if row.entry.role in ("floor", "anchor", "peer")
        and (found := row.interval(evidence.protocol.name, metric.name))
    ]
    bounds = [value for point in points for value in (point.quality.low, point.quality.high)]
    bounds += [metric.sense * max(metric.sense * value for _, value in rows)] if rows else []
    room = 0.12 * (max(bounds) - min(bounds)) or abs(bounds[0]) * 0.05 or 1.0
    low, high = min(bounds) - room, max(bounds) + room
    axes.set_ylim(low, high)
    labels = []
    for row, value in rows:
        if low <= value <= high:
            axes.axhline(value, color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=0)
            labels.append((axes.get_xlim()[1], value, row.label, GREY))
    return labels


def _gutter(axes: Axes, labels: list[tuple[float, float, str, str]]) -> None:
    """Names in a column right of the axes, moved apart where they would touch, with a thin line to what they name."""
    from matplotlib.transforms import blended_transform_factory

    height = axes.get_window_extent().height / axes.figure.dpi * 72
    texts = {index: _wrapped(label[2], 24) for index, label in enumerate(labels)}
    order = sorted(texts, key=lambda index: (labels[index][1], index))
    places = [float(axes.transAxes.inverted().transform(axes.transData.transform((1, labels[i][1])))[1]) for i in order]
    halves = [(10.5 * (texts[i].count("\n") + 1) / 2 + 1) / height for i in order]
    for index, place in zip(order, spread(places, halves), strict=True):
        x, y, _, colour = labels[index]
        axes.text(1.07, place, texts[index], transform=axes.transAxes, color=colour, va="center", fontsize=8)
        mixed = blended_transform_factory(axes.transAxes, axes.transAxes)
        start = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
        axes.plot(
            [start[0], 1.0, 1.06], [start[1], start[1], place], color=colour, lw=0.5, alpha=0.6, clip_on=False,
            transform=mixed, zorder=0,
        )  # fmt: skip


def spread(places: Sequence[float], halves: Sequence[float]) -> list[float]:
    """Sorted places moved as little as a few sweeps find, so that intervals of these half-widths do not touch."""
    moved = list(places)
    for _ in range(200):
        for i in range(len(moved) - 1):
            overlap = halves[i] + halves[i + 1] - (moved[i + 1] - moved[i])
            if overlap > 1e-6:
                moved[i] -= overlap / 2
                moved[i + 1] += overlap / 2
    return moved


def _wrapped(name: str, width: int) -> str:
    """A name in lines of at most `width` characters, broken after spaces and before the signs that join its parts."""
    parts = re.sub(r"([+@:/])", r" \1", name) if len(name) > width else name
    lines = wrap(parts, width, break_on_hyphens=False)
    return "\n".join(re.sub(r" ([+@:/])", r"\1", line) for line in lines)


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
    names = [_wrapped(row.label, 24) for row in rows]
    with drawing() as pyplot:
        figure, panels = _panels(pyplot, len(levels), names)
        largest = max(item.high for items in found.values() for item in items if item)
        for axes, level in zip(panels, levels, strict=True):
            for index, (row, item) in enumerate(zip(rows, found[level], strict=True)):
                if item is None:
                    continue
                colour = BLUE if row.entry.role == "model" else PALE
                axes.barh(index, item.mean, height=0.7, color=colour)
                axes.plot([item.low, item.high], [index, index], color=INK, lw=0.9)
                axes.text(item.high + 0.02 * largest, index, number(item.mean, shown), va="center", fontsize=8)
            axes.set_xlim(0, largest * 1.32)
            axes.set_title(f"{level} ({len(evidence.levels[level]):,} samples)")
            _rows_axis(axes, names)
        better = "longer is better" if metric.higher_is_better else "shorter is better"
        _bottom_label(panels[-1], f"{metric.title}; {better}")
        alt = f"{metric.title} of {len(rows)} rows, one panel for each difficulty: {', '.join(levels)}."
        caption = (
            f"{metric.title} by difficulty, {better}. Blue: models; grey: floors, anchors, ceilings. Lines: intervals."
        )
        return finish(f"levels-{metric.name}", alt, caption, figure)


def _gaps(evidence: Evidence, metric: MetricInfo, levels: list[str]) -> list[Plot]:
    """Paired differences of the models from the reference, by difficulty; nothing where there is one model."""
    items = [item for item in evidence.differences_from(evidence.reference) if item.metric == metric.name]
    rows = [row for row in evidence.models if any(item.entry == row.name for item in items)]
    if not rows:
        return []
    reference = evidence.by_name[evidence.reference].label
    names = [_wrapped(row.label, 24) for row in rows]
    with drawing() as pyplot:
        figure, panels = _panels(pyplot, len(levels), names)
        for axes, level in zip(panels, levels, strict=True):
            axes.axvline(0, color=INK, lw=0.8)
            for index, row in enumerate(rows):
                item = next((i for i in items if (i.entry, i.level) == (row.name, level)), None)
                if item is None:
                    continue
                colour = {True: BLUE, False: VERMILION, None: GREY}[item.better]
                gap = item.difference
                face = "white" if item.better is None else colour
                axes.plot([gap.low, gap.high], [index, index], color=colour, lw=1.6)
                axes.plot(gap.mean, index, "o", ms=5, mfc=face, mec=colour)
            axes.set_title(f"{level} ({len(evidence.levels[level]):,} samples)")
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
            "vermilion: worse; hollow: the interval holds 0."
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
    """Quality against adapter scale, for every set of three or more variants that differ in nothing else."""
    plots = []
    for number_of_sweep, (label, points) in enumerate(sweeps(evidence), 1):
        for metric in evidence.headline:
            values = [
                (scale, found)
                for scale, row in points
                if (found := row.interval(evidence.protocol.name, metric.name)) is not None
            ]
            if len(values) >= 3:
                plots.append(_scale_figure(metric, label, values, number_of_sweep))
    return plots


def sweeps(evidence: Evidence) -> list[tuple[str, list[tuple[float, Row]]]]:
    """(adapter, points) of every adapter that comes at three or more scales, the bare base counting as scale 0."""
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
            found.append((f"{Path(folder).name} on {Path(base).name}, {precision}{tail}", every))
    return found


def _scale_figure(metric: MetricInfo, label: str, values: list[tuple[float, Interval]], place: int) -> Plot:
    scales = [scale for scale, _ in values]
    best_scale, best = max(values, key=lambda value: metric.sense * value[1].mean)
    with drawing() as pyplot:
        figure, axes = pyplot.subplots(figsize=(WIDTH, 2.9))
        figure.subplots_adjust(left=0.15, right=0.97, bottom=0.18, top=0.92)
        axes.fill_between(
            scales, [item.low for _, item in values], [item.high for _, item in values], color=BLUE, alpha=0.15, lw=0
        )
        axes.plot(scales, [item.mean for _, item in values], "-o", color=BLUE, ms=4.5, lw=1.4)
        axes.plot(best_scale, best.mean, "o", color=VERMILION, ms=7)
        axes.annotate(
            f"best at {best_scale:g}", (best_scale, best.mean), (0, 9 * metric.sense), textcoords="offset points",
            color=VERMILION, ha="center", va="bottom" if metric.sense > 0 else "top", fontsize=8,
        )  # fmt: skip
        axes.margins(x=0.08, y=0.2)
        axes.set_xlabel("Adapter scale")
        axes.set_ylabel(f"{metric.title} {'↑' if metric.higher_is_better else '↓'}")
        alt = f"{metric.title} against the scale of {label} at {len(values)} scales; best at {best_scale:g}."
        caption = f"{metric.title} against adapter scale ({label}); shaded: intervals."
        return finish(f"scale-{place}-{metric.name}", alt, caption, figure)
