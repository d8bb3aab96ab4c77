"""A single process, or several started by `torchrun` or `accelerate launch`."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from accelerate import PartialState


def is_first() -> bool:
    """Whether this is the main or only process; works before torch is imported."""
    return os.environ.get("RANK", "0") == "0"


def how_many() -> int:
    """The processes that were started together, this one included; known before torch is imported."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def on_cpu() -> bool:
    """Whether processes compute on the CPU. Without this, accelerate treats each CPU process as the only one."""
    import torch
    from accelerate.utils import parse_flag_from_env

    return parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()


def join() -> PartialState:
    """The state of this process in its process group."""
    from accelerate import PartialState

    # The main process may prepare windows for hours while the others wait.
    return PartialState(cpu=on_cpu(), timeout=timedelta(days=1))


def parse_share(text: str) -> tuple[int, int]:
    """Parse `NUMBER/WORKERS`, a worker's index from 0 and the number of workers; raises `UsageError`."""
    number, slash, workers = text.partition("/")
    if not (slash and number.isdecimal() and workers.isdecimal() and int(number) < int(workers)):
        raise UsageError(f"The share {text!r} is not NUMBER/WORKERS; count NUMBER from 0, as in 0/2.")
    return int(number), int(workers)
