"""The table and the figure of a run, from its parts' JSON; no device needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Rows = list[tuple[str, dict[str, Any]]]
COLUMNS = (
    ("ms", "ms", 1),
    ("s", "seconds", 2),
    ("ms/frame", "ms_per_frame", 1),
    ("ms/step", "ms_per_step", 1),
    ("TFLOP/s", "tflops", 1),
    ("peak GB", "allocated_gb", 2),
    ("reserved", "reserved_gb", 2),
    ("above", "above_gb", 2),
    ("weights", "weights_gb", 2),
    ("error", "error", 4),
    ("breaks", "graph_breaks", 0),
    ("compile s", "compile_s", 0),
)
"""Heading, key, decimals."""


def read(folder: Path) -> dict[str, Any]:
    """Letter -> part."""
    return {path.stem[-1]: json.loads(path.read_text()) for path in sorted(folder.glob("gpu-?.json"))}


def joined(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Merge one part of two runs: later measurements replace earlier ones of the same name.

    Results of another device, commit or size are dropped.
    """
    if _identity(earlier) != _identity(later):
        return later
    before = earlier["found"]
    found = {name: row for name, row in later["found"].items() if "skipped" not in row or name not in before}
    return later | {"seconds": round(earlier["seconds"] + later["seconds"], 1), "found": before | found}


def _identity(part: dict[str, Any]) -> tuple[Any, Any]:
    return part["about"], part.get("settings", {}).get("tiny")


def join(folders: list[Path], into: Path) -> None:
    """Merge the results of several runs, in order."""
    parts: dict[str, Any] = {}
    for folder in folders:
        for letter, part in read(folder).items():
            parts[letter] = joined(parts[letter], part) if letter in parts else part
    for letter, part in parts.items():
        (into / f"gpu-{letter}.json").write_text(json.dumps(part, indent=1) + "\n")


def write_page(folder: Path) -> str:
    """Write `gpu.txt`, and `gpu.png` if matplotlib is installed; returns the table."""
    parts = read(folder)
    text = table(parts)
    (folder / "gpu.txt").write_text(text + "\n")
    try:
        import matplotlib
    except ImportError:
        return f"{text}\nno figure: matplotlib is not installed"
    matplotlib.use("agg")
    figure(parts, folder / "gpu.png")
    return text


def table(parts: dict[str, Any]) -> str:
    """All measurements, one line each, then the failed tests."""
    lines = []
    for letter, part in parts.items():
        about = part["about"]
        lines.append(f"{letter}  {about.get('device', '')}  torch {about.get('torch', '')}  {part['seconds']} s")
        shown = [column for column in COLUMNS if any(column[1] in found for found in part["found"].values())]
        width = max([44, *(len(name) for name in part["found"])])
        lines.append(" " * width + "".join(f"{heading:>11}" for heading, _, _ in shown))
        for name, found in part["found"].items():
            cells = "".join(_cell(found.get(key), decimals) for _, key, decimals in shown)
            lines.append(f"{name:<{width}}{cells}  {_remark(found)}".rstrip())
        lines.append("")
    tests = parts.get("a", {"found": {}})["found"].get("tests marked gpu", {}).get("tests", {})
    reasons = ((name, row["outcome"], row.get("reason")) for name, row in tests.items())
    lines += [f"{outcome}: {name}: {reason[-300:]}" for name, outcome, reason in reasons if reason]
    return "\n".join([*lines, "", *goals(parts)])


def goals(parts: dict[str, Any]) -> list[str]:
    """The goals on one H100 and the measured values."""
    found = {name: row for part in parts.values() for name, row in part["found"].items()}

    def figure_of(name: str, key: str) -> float | None:
        return found.get(name, {}).get(key)

    # Both branches of a step in float32 with torch's defaults (TF32 in convolutions): the reference's, else nakawari's.
    base, whose = figure_of("tooncrafter reference fp32", "ms"), "the reference's"
    if base is None:
        base, whose = figure_of("tooncrafter fp32 together", "ms"), "our own (no reference was timed)"
    lines = ["goals, on one H100"]
    for label, least, step in (
        ("bf16 compiled, exact", 5, figure_of("tooncrafter bf16 together, compiled", "ms")),
        ("bf16, cache medium", 12, figure_of("tooncrafter call bf16, cache medium", "ms_per_step")),
    ):
        ratio = None if base is None or step is None else base / step
        lines.append(_goal(f"{label}: times faster than {whose} fp32 step", f">= {least}", ratio, at_least=least))
    for family in ("tooncrafter", "framer"):
        draws = found.get(f"{family} 7.5 GB", {}).get("draws")
        lines.append(_goal(f"{family} draws within 7.5 GB", "yes", None if draws is None else float(draws), at_least=1))
        memory = figure_of(f"{family} rank 16, checkpointing", "allocated_gb")
        lines.append(_goal(f"{family}, a LoRA step: peak GB", "<= 16", memory, at_most=16))
    return lines


def _goal(
    name: str, goal: str, value: float | None, at_least: float = float("-inf"), at_most: float = float("inf")
) -> str:
    if value is None:
        return f"  {name:<72}{goal:>7}  not measured"
    return f"  {name:<72}{goal:>7}  {value:.2f}  {'met' if at_least <= value <= at_most else 'NOT MET'}"


def _cell(value: Any, decimals: int) -> str:
    return f"{value:>11.{decimals}f}" if isinstance(value, (int, float)) else f"{'':>11}"


def _remark(found: dict[str, Any]) -> str:
    for word in ("failed", "skipped"):
        if isinstance(found.get(word), str):
            return f"{word}: {found[word][:120]}"
    keys = ("draws", "finite", "passed", "failed_tests", "skipped_tests", "new_graphs", "difference_to_eager")
    keys += ("bf16_tflops", "copy_tb_s", "tflop", "ours_apart_ms", "ours_together_ms", "ratio", "difference")
    keys += ("largest_difference", "trained")
    return "  ".join(
        f"{key} {found[key]:.3g}" if isinstance(found[key], float) else f"{key} {found[key]}"
        for key in keys
        if key in found
    )


def steps(parts: dict[str, Any]) -> dict[str, Rows]:
    """Family -> (name, measurement) of guided steps: both branches in one batch, else twice one branch."""
    found: dict[str, Rows] = {}
    for part in (parts.get("b"), parts.get("c")):
        for name, values in (part or {"found": {}})["found"].items():
            if "ms" not in values or " together" not in name:
                continue
            family, _, rest = name.partition(" ")
            found.setdefault(family, []).append((rest.replace(" together", ""), values))
    return found


def figure(parts: dict[str, Any], path: Path) -> None:
    """Milliseconds of a guided step by precision, plain and compiled, for each family."""
    from matplotlib.figure import Figure

    rows = steps(parts)
    if not rows:
        return
    drawn = Figure(figsize=(9, 0.9 + 0.32 * sum(len(each) for each in rows.values())), layout="constrained")
    heights = [len(each) for each in rows.values()]
    axes = drawn.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (family, each) in zip(axes, rows.items(), strict=True):
        each = sorted(each, key=lambda row: -row[1]["ms"])
        names, spent = [name for name, _ in each], [values["ms"] for _, values in each]
        colours = ["#b5541c" if "compiled" in name else "#3d6b8f" for name in names]
        bars = axis.barh(names, spent, color=colours, height=0.7)
        axis.bar_label(bars, labels=[f"{value:.0f}" for value in spent], padding=3, fontsize=8)
        axis.set_title(f"{family}: milliseconds of one guided step", loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        axis.margins(x=0.08)
    drawn.savefig(path, dpi=150)
