"""Plot of a training log: the loss with its moving mean, and the learning rate."""

from __future__ import annotations

from pathlib import Path

from ..files import atomic_path
from .log import LogDiagnosis, losses, smoothed


def write_log_plot(path: Path | str, diagnosis: LogDiagnosis) -> None:
    """Write the PNG: loss of every step, its moving mean, the baseline, epochs, and the learning rate."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    log = diagnosis.log
    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    steps, values = losses(log)
    top.plot(steps, values, color="#3a6ea5", alpha=0.25, linewidth=0.8, label="loss")
    top.plot(steps, smoothed(values), color="#3a6ea5", linewidth=2, label="moving mean")
    label = "predicting nothing" + (" (assumed)" if diagnosis.assumed else "")
    top.axhline(diagnosis.baseline, color="#d64933", linestyle="--", linewidth=1, label=label)
    bad = [entry.step for entry in log.entries if entry.nonfinite or entry.skipped]
    if bad:
        top.plot(bad, [0.02] * len(bad), "x", color="#b00020", transform=top.get_xaxis_transform(), label="not finite")
    if diagnosis.parts is not diagnosis.tenths:
        for part in diagnosis.parts[1:]:
            top.axvline(part.first, color="0.8", linewidth=0.8, zorder=0)
    top.set_ylabel("loss")
    if len(values) and values.min() > 0 and values.max() > 30 * values.min():
        top.set_yscale("log")
    top.legend(frameon=False)
    top.grid(alpha=0.25)
    rates = [(entry.step, entry.rate) for entry in log.entries if entry.rate is not None]
    bottom.plot([rate[0] for rate in rates], [rate[1] for rate in rates], color="#4a7c59")
    if log.peak_rate:
        bottom.axhline(log.peak_rate, color="0.5", linestyle=":", linewidth=1, label="configured")
        bottom.legend(frameon=False)
    bottom.set_ylabel("learning rate")
    bottom.set_xlabel("step")
    bottom.set_ylim(bottom=0)
    bottom.grid(alpha=0.25)
    kinds = ", ".join(warning.kind for warning in diagnosis.warnings) or "no warnings"
    figure.suptitle(
        f"{log.path.parent.name + '/' if log.kind == 'log.jsonl' else ''}{log.path.name}: {kinds}", fontsize=11
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
