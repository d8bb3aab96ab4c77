"""Experiment trackers, TensorBoard and Weights & Biases, through accelerate, in addition to our own log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..errors import UsageError
from ..media import read_rgb

FOLDER = "logs"
"""Folder of the trackers' files within a run folder."""
PROJECT = "nakawari"


class Trackers:
    """The trackers of one run, possibly none.

    Args:
        accelerator: made with `log_with` and `project_dir`.
        name: of the run.
    """

    def __init__(self, accelerator: Accelerator, name: str) -> None:
        self.accelerator = accelerator
        if accelerator.log_with:
            folder = str(accelerator.logging_dir)
            accelerator.init_trackers(PROJECT, init_kwargs={"wandb": {"name": name, "dir": folder}})

    def log(self, entry: Mapping[str, Any]) -> None:
        """Log the numbers of one step, those of a validation as `validation/NAME`."""
        if self.accelerator.log_with:
            self.accelerator.log(scalars(entry), step=entry["step"])

    def pictures(self, folder: Path, step: int, head: str = "held out") -> None:
        """Log the pictures in `folder` under the heading `head`."""
        if self.accelerator.log_with and self.accelerator.is_main_process:
            for path in sorted(folder.glob("*.png")):
                for tracker in self.accelerator.trackers:
                    how = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                    tracker.log_images({f"{head}/{path.stem}": read_rgb(path)[None]}, step=step, **how)

    def end(self) -> None:
        """Flush and close the trackers."""
        if self.accelerator.log_with:
            self.accelerator.end_training()


def scalars(entry: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a log entry, nested names joined by a slash; without the step."""
    found: dict[str, float] = {}
    for name, value in entry.items():
        if isinstance(value, Mapping):
            found |= scalars(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name != "step":
            found[f"{prefix}{name}"] = float(value)
    return found


def check_installed(names: Sequence[str]) -> None:
    """Raise `UsageError` if a tracker's package is missing."""
    for name in names:
        if find_spec(name) is None:
            raise UsageError(f"The tracker {name} is not installed; pip install 'nakawari[track]', or leave it out.")
