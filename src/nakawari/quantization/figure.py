"""Plot of a plan: the x0 error of each quantized layer, and the precision of each layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..files import atomic_path
from .planning import Planned

_COLOURS = {
    "int4": "#d64933",
    "fp8": "#b8860b",
    "fp8-dynamic": "#e0b040",
    "int8": "#3a6ea5",
    "int8-dynamic": "#6b4fa0",
    "bf16": "#5a8f3c",
    "fp16": "#2b8a6e",
    "fp32": "#444444",
}
_NAMED = 4
"""Number of layers named in the plot: those with the largest x0 error."""
_LINE = 0.035
"""Height of a line of small text, as a fraction of the figure's."""
_SMALL: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7, "color": "#444444"}
_MARKERS = {"linear": "o", "conv": "s", "temporal conv": "^"}


def write_figure(path: Path, planned: Planned, title: str) -> None:
    """Write the PNG: signal-to-noise ratio of x0 per layer and precision, with the plan below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sensitivity = planned.sensitivity
    names = list(sensitivity.costs)
    figure = Figure(figsize=(max(9.0, 0.07 * len(names)), 6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(6, 1))
    shown = {precision for costs in sensitivity.costs.values() for precision in costs}
    for precision in (p for p in _COLOURS if p in shown):
        for kind, marker in _MARKERS.items():
            places = [
                i for i, n in enumerate(names) if sensitivity.kinds[n] == kind and precision in sensitivity.costs[n]
            ]
            values = [sensitivity.decibel(sensitivity.costs[names[i]][precision].error) for i in places]
            if places:
                above.plot(
                    places, values, marker, color=_COLOURS[precision], markersize=3.5, label=f"{precision}, {kind}"
                )
    _name_parts(above, names)
    _name_worst(above, planned)
    above.set_ylabel("SNR of x0 to the parent, this layer alone (dB)")
    above.grid(alpha=0.25)
    figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=6)
    below.bar(range(len(names)), 1, width=1, color=[_COLOURS[planned.precisions[name]] for name in names])
    below.set_yticks([])
    below.set_ylabel("plan")
    below.set_xlabel("layer, in the order of the modules")
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})


def _name_worst(axes: Any, planned: Planned) -> None:
    """Label the layers with the largest x0 error, worst first, without overlap."""
    costs, names = planned.sensitivity.costs, list(planned.sensitivity.costs)
    worst = {name: planned.sensitivity.decibel(max(cost.error for cost in costs[name].values())) for name in names}
    low, high = axes.get_ylim()
    free = low
    for name in sorted(names, key=worst.__getitem__)[:_NAMED]:
        height = max(worst[name], free)
        free = height + _LINE * (high - low)
        place = names.index(name)
        late = place > 0.8 * len(names)
        where = {"xytext": (-4 if late else 4, -3), "ha": "right" if late else "left"}
        axes.annotate(name, (place, height), **where, **_SMALL)


def _name_parts(axes: Any, names: list[str]) -> None:
    """A line at the start of each part of the network, with the names of the larger parts above."""
    parts = [name.split(".")[0] for name in names]
    for part in dict.fromkeys(parts):
        first = parts.index(part)
        axes.axvline(first - 0.5, color="#bbbbbb", linewidth=0.8, zorder=0)
        if parts.count(part) > len(parts) // 10:
            axes.annotate(part, (first, 1.0), (2, 4), xycoords=("data", "axes fraction"), **_SMALL)
