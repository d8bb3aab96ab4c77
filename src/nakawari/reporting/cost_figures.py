"""Quality against cost, with the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..evaluation.load import LOADED
from ..evaluation.schema import MetricInfo
from ..evaluation.statistics import Interval
from .drawing import BLUE, GREY, WIDTH, Plot, drawing, finish, wrapped
from .results import Evidence, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GUTTER, _LINE = 24, 10.5  # characters per line of the column of names, and points per line
_NUMBER = np.array([14.0, 9.0])  # width and height in points of a step label
_BESIDE = 0.6  # inches of a figure that are not axes

ReadCost = Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True)
class _Point:
    row: Row
    cost: float
    quality: Interval
    others: list[_Other]

    @property
    def device(self) -> str:
        """The device of the time measurement."""
        return str((self.row.entry.cost or {}).get("device", "unknown"))


class _Other(NamedTuple):
    """The same model at another number of steps."""

    steps: int
    cost: float
    quality: float


def cost_figures(evidence: Evidence) -> list[Plot]:
    """Quality against time and against network evaluations, with the Pareto front."""
    plots = []
    for metric in evidence.headline:
        for key, title, read in _AXES:
            points = [
                _Point(row, float(cost), quality, _at_other_steps(evidence, row, metric, read))
                for row in evidence.models
                if (cost := read(row.entry.cost or {}))
                and (quality := row.interval(evidence.protocol.name, metric.name))
            ]
            plots += [
                _cost_figure(evidence, metric, key + tail, f"{title}{on}", some)
                for tail, on, some in _by_device(points, key == "time")
            ]
    return plots


def _by_device(points: list[_Point], apart: bool) -> list[tuple[str, str, list[_Point]]]:
    """Points grouped by axis, as (part of a file name, title, points): times of different devices are separated."""
    devices = dict.fromkeys(point.device for point in points)
    if not apart or len(devices) < 2:
        return [("", "", points)] if points else []
    found = []
    for device in devices:
        tail = "".join(character if character.isalnum() else "-" for character in device).lower()
        found.append((f"-{tail}", f" on {device}", [point for point in points if point.device == device]))
    return found


def _at_other_steps(evidence: Evidence, row: Row, metric: MetricInfo, read: ReadCost) -> list[_Other]:
    """A model under the departures that change only its steps, fewest first."""
    return sorted(
        _Other(other.change["steps"], float(cost), quality.mean)
        for other in evidence.protocol.rows
        if set(other.change) == {"steps"}
        and (cost := read(row.entry.costs.get(other.name, {})))
        and (quality := row.interval(other.name, metric.name))
    )


_AXES: tuple[tuple[str, str, ReadCost], ...] = (
    ("time", "Time per frame (ms, median)", lambda cost: cost.get("ms_per_frame", {}).get("median")),
    ("evaluations", "Network evaluations per clip", lambda cost: cost.get("network_evaluations")),
)


def under_load(row: Row) -> bool:
    """Whether a row's time was measured under load of other processes."""
    return ((row.entry.cost or {}).get("load") or 0.0) > LOADED


def pareto(costs: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats in both (less cost, more quality), cheapest first."""
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -qualities[i])):
        if not front or qualities[index] > qualities[front[-1]]:
            front.append(index)
    return front


def _cost_figure(evidence: Evidence, metric: MetricInfo, key: str, title: str, points: list[_Point]) -> Plot:
    fit = [index for index, point in enumerate(points) if not (key.startswith("time") and under_load(point.row))]
    costs, qualities = [points[i].cost for i in fit], [metric.sense * points[i].quality.mean for i in fit]
    front = [fit[index] for index in pareto(costs, qualities)]
    with drawing() as pyplot:
        names = [point.row.label for point in points] + [row.label for row in _without_model(evidence)]
        height = max(3.2, _BESIDE + _LINE / 72 * sum(wrapped(name, _GUTTER).count("\n") + 1.2 for name in names))
        figure, axes = pyplot.subplots(figsize=(WIDTH, height))
        figure.subplots_adjust(left=0.15, right=0.6, bottom=0.48 / height, top=1 - 0.1 / height)
        _cost_axis(axes, [cost for point in points for cost in (point.cost, *(other.cost for other in point.others))])
        labels = []
        for index, point in enumerate(points):
            colour = BLUE if index in front else GREY
            _whisker(axes, point.cost, point.quality, colour)
            face = colour if index in front else "white"
            axes.plot(point.cost, point.quality.mean, "o", ms=6, mfc=face, mec=colour, mew=1.4, zorder=3)
            labels.append((point.cost, point.quality.mean, point.row.label, colour))
        if front:
            _front_line(axes, [points[index] for index in front])
        labels += _floor_lines(axes, evidence, metric, points)
        for index, point in enumerate(points):
            _steps_line(axes, point.others, BLUE if index in front else GREY)
        axes.set_xlabel(title)
        axes.set_ylabel(f"{metric.title} {'↑' if metric.higher_is_better else '↓'}")
        _gutter(axes, labels)
        names = ", ".join(points[index].row.label for index in front) or "none"
        alt = f"{metric.title} against {title.lower()} of {len(points)} models. On the Pareto front: {names}."
        caption = (
            f"{metric.title} against {title[0].lower() + title[1:]}. Blue and filled: the Pareto front, which no other "
            "model beats in both. Dashed: rows that need no model."
        )
        if len(fit) < len(points):
            caption += " Times measured under load of other processes are not on the front."
        if any(point.others for point in points):
            caption += " Small dots: the same model at the number of steps beside them."
        return finish(f"quality-{key}-{metric.name}", alt, caption, figure)


def _without_model(evidence: Evidence) -> list[Row]:
    return [row for row in evidence.rows if row.entry.role in ("floor", "anchor", "peer")]


def _whisker(axes: Axes, x: float, quality: Interval, colour: str) -> None:
    axes.plot([x, x], quality.span, color=colour, lw=1.2, zorder=2)


def _steps_line(axes: Axes, others: list[_Other], colour: str) -> None:
    costs, values = [other.cost for other in others], [other.quality for other in others]
    axes.plot(costs, values, "-o", color=colour, ms=3, lw=0.7, alpha=0.7, zorder=1)
    for other in _apart(axes, others):
        axes.annotate(
            f"{other.steps}", (other.cost, other.quality), (0, 4), textcoords="offset points", color=colour,
            ha="center", fontsize=7,
        )  # fmt: skip


def _apart(axes: Axes, others: list[_Other]) -> list[_Other]:
    """The points whose step labels do not overlap, fewest steps first."""
    kept: list[tuple[_Other, np.ndarray]] = []
    for other in others:
        place = axes.transData.transform((other.cost, other.quality)) / axes.figure.dpi * 72
        if all((np.abs(place - there) > _NUMBER).any() for _, there in kept):
            kept.append((other, place))
    return [other for other, _ in kept]


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
    """Lines for rows without a model: always the best, others if they fit between the models."""
    rows = [
        (row, found.mean)
        for row in _without_model(evidence)
        if (found := row.interval(evidence.protocol.name, metric.name))
    ]
    bounds = [value for point in points for value in point.quality.span]
    bounds += [other.quality for point in points for other in point.others]
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
    """Names in a column right of the axes, spread to avoid overlap, with a thin line to their points."""
    from matplotlib.transforms import blended_transform_factory

    height = axes.get_window_extent().height / axes.figure.dpi * 72
    texts = {index: wrapped(label[2], _GUTTER) for index, label in enumerate(labels)}
    order = sorted(texts, key=lambda index: (labels[index][1], index))
    places = [float(axes.transAxes.inverted().transform(axes.transData.transform((1, labels[i][1])))[1]) for i in order]
    halves = [(_LINE * (texts[i].count("\n") + 1) / 2 + 1) / height for i in order]
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
    """Sorted positions, moved minimally (sum of squares) so that intervals of these half-widths neither
    overlap nor leave [0, 1], if they fit there."""
    from scipy.optimize import isotonic_regression

    if not places:
        return []
    before = np.concatenate([[0.0], np.cumsum(np.add(halves[:-1], halves[1:]))])
    level = isotonic_regression(np.subtract(places, before)).x
    low, high = halves[0], 1 - halves[-1] - before[-1]
    return (np.clip(level, low, max(low, high)) + before).tolist()
