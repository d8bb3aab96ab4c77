"""Plot of a latent diagnosis: standard deviation, mean and ratio over the steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_path
from .latents import BAND, QUANTITIES, Diagnosis
from .trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OWN, PARENT, WARN = "#d64933", "#3a6ea5", "#b00020"


def write_plot(path: Path | str, diagnosis: Diagnosis, title: str) -> None:
    """Write the PNG: a column each for x0 and x_t, with standard deviation, mean, norm and ratio."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 11), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(4, 2, sharex=True)
    for column, quantity in enumerate(QUANTITIES):
        for row, part in enumerate(("std", "mean", "norm")):
            _curves(axes[row][column], diagnosis, quantity, part)
        _ratios(axes[3][column], diagnosis, quantity)
        axes[3][column].set_xlabel("step")
        axes[3][column].xaxis.get_major_locator().set_params(integer=True)
    axes[0][0].legend(frameon=False)
    verdict = " ".join(diagnosis.sentences()) or "No collapse, no explosion."
    figure.suptitle(f"{title}\n{verdict}", fontsize=10, color=WARN if diagnosis.findings else "black", wrap=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})


def _curves(axis: Axes, diagnosis: Diagnosis, quantity: str, part: str) -> None:
    both: list[tuple[Trajectory | None, str, dict[str, Any]]] = [
        (diagnosis.parent, "parent", {"color": PARENT, "linewidth": 3, "alpha": 0.6}),
        (diagnosis.trajectory, "variant", {"color": OWN, "marker": ".", "linewidth": 1.2}),
    ]
    for trajectory, label, style in both:
        if trajectory is not None:
            values = [getattr(getattr(step, quantity), part) for step in trajectory.steps]
            steps = range(1, len(values) + 1)
            axis.plot(steps, [value.mean().item() for value in values], label=label, **style)
    axis.set_title(f"{part} of {quantity}", fontsize=10)
    axis.grid(alpha=0.25)
    _mark(axis, diagnosis, quantity)


def _ratios(axis: Axes, diagnosis: Diagnosis, quantity: str) -> None:
    ratios = diagnosis.ratios[quantity]
    steps = range(1, len(ratios) + 1)
    axis.axhspan(1 / BAND, BAND, color="0.9")
    axis.axhline(1, color="0.5", linewidth=0.8)
    axis.plot(steps, [float("nan") if r is None else max(r, 1e-6) for r in ratios], color=OWN, marker=".")
    axis.set_yscale("log", base=2)
    known = [max(ratio, 1e-6) for ratio in ratios if ratio is not None] or [1.0]
    axis.set_ylim(min(0.5, *known, 1) / 1.2, max(2.0, *known, 1) * 1.2)
    axis.set_title(f"std of {quantity} over {'the parent' if diagnosis.parent else 'the true clips'}'s", fontsize=10)
    _mark(axis, diagnosis, quantity)


def _mark(axis: Axes, diagnosis: Diagnosis, quantity: str) -> None:
    for finding in diagnosis.findings:
        if finding.quantity == quantity:
            axis.axvline(finding.step, color=WARN, linestyle="--", linewidth=1)
