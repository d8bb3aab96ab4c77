"""What people watch a run with: TensorBoard and Weights & Biases, through accelerate, beside our own log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..errors import UsageError
from ..media import read_rgb

FOLDER = "logs"
"""Where in a run's folder trackers write what they keep on disk."""
PROJECT = "nakawari"


class Trackers:
    """The trackers of one run; none, and nothing happens.

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
        """The numbers of one step, those of a validation as `validation/NAME`."""
        if self.accelerator.log_with:
            self.accelerator.log(scalars(entry), step=entry["step"])

    def pictures(self, folder: Path, step: int, head: str = "held out") -> None:
        """The pictures that were written into `folder`, of held-out clips or whatever `head` says."""
        if self.accelerator.log_with and self.accelerator.is_main_process:
            for path in sorted(folder.glob("*.png")):
                for tracker in self.accelerator.trackers:
                    how = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                    tracker.log_images({f"{head}/{path.stem}": read_rgb(path)[None]}, step=step, **how)

    def end(self) -> None:
        """Write what is left."""
        if self.accelerator.log_with:
            self.accelerator.end_training()


def scalars(entry: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a log entry, nested names joined by a slash; the step itself left out."""
    found: dict[str, float] = {}
    for name, value in entry.items():
        if isinstance(value, Mapping):
            found |= scalars(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name != "step":
            found[f"{prefix}{name}"] = float(value)
    return found


def check_installed(names: Sequence[str]) -> None:
    """Raise `UsageError` for a tracker whose package is absent."""
    for name in names:
        if find_spec(name) is None:
            raise UsageError(f"The tracker {name} is not installed; pip install 'nakawari[track]', or leave it out.")
