"""Log an evaluation to trackers: the means of each row, and the pictures of its first samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..training.trackers import Trackers

SHOWN = 4
"""Number of samples per row whose pictures are logged."""


def tell(names: Sequence[str], results: Path, found: dict[str, Any]) -> None:
    """Log the aggregates and saved pictures of a result folder to TensorBoard or W&B, below `results/logs`.

    A mean is called `ROW/METRIC/LEVEL`, a difference from the reference `ROW minus REFERENCE/METRIC/LEVEL`, those of
    the protocol's own settings; a picture `ROW/SAMPLE/TIME`.
    """
    from accelerate import Accelerator

    from ..training.trackers import FOLDER, Trackers

    trackers = Trackers(Accelerator(cpu=True, log_with=list(names), project_dir=results / FOLDER), results.name)
    protocol = found["protocol"]["name"]
    for entry in found["entries"]:
        means = {
            metric: {level: interval["mean"] for level, interval in levels.items()}
            for metric, levels in entry["results"].get(protocol, {}).items()
        }
        trackers.log({"step": 0, entry["name"]: means})
        if entry["folder"]:
            _pictures(trackers, entry["name"], results / "frames" / entry["folder"] / "seed-0")
    for item in found["paired"]:
        if item["row"] == protocol and item["against"] == found["reference"]:
            name = f"{item['entry']} minus {item['against']}/{item['metric']}/{item['level']}"
            trackers.log({"step": 0, name: item["difference"]["mean"]})
    trackers.end()


def _pictures(trackers: Trackers, row: str, folder: Path) -> None:
    samples = sorted(path for path in folder.iterdir() if path.is_dir())[:SHOWN] if folder.is_dir() else []
    for sample in samples:
        trackers.pictures(sample, 0, f"{row}/{sample.name}")
