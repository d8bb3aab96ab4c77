"""One process or several that `torchrun` or `accelerate launch` started."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from accelerate import PartialState


def is_first() -> bool:
    """Whether this process is the only one or the one that speaks for all; known before torch is imported."""
    return os.environ.get("RANK", "0") == "0"


def how_many() -> int:
    """The processes that were started together, this one included; known before torch is imported."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def on_cpu() -> bool:
    """Whether processes compute on the CPU. Not told so, accelerate takes every process there for the only one."""
    import torch
    from accelerate.utils import parse_flag_from_env

    return parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()


def join() -> PartialState:
    """This process's place among those that were started with it."""
    from accelerate import PartialState

    # The first may make windows for hours while the others wait.
    return PartialState(cpu=on_cpu(), timeout=timedelta(days=1))


def parse_share(text: str) -> tuple[int, int]:
    """`NUMBER/WORKERS`, which of how many workers, from 0; raises `UsageError`."""
    number, slash, workers = text.partition("/")
    if not (slash and number.isdecimal() and workers.isdecimal() and int(number) < int(workers)):
        raise UsageError(f"The share {text!r} is not NUMBER/WORKERS with numbers from 0, as in 0/2.")
    return int(number), int(workers)
