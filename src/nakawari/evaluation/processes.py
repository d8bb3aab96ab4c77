"""One process or several that `accelerate launch` or `torchrun` started: who does which sample, who writes the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from ..processes import join


def _alone(failures: dict[str, str]) -> dict[str, str]:
    return failures


def _at_once() -> None:
    return None


@dataclass(frozen=True)
class Processes:
    """This process's place.

    Args:
        rank, count: its number and how many there are.
        wait: returns when every process has come here.
        gather: joins the dictionaries of all processes, on all of them.
    """

    rank: int = 0
    count: int = 1
    wait: Callable[[], None] = _at_once
    gather: Callable[[dict[str, str]], dict[str, str]] = _alone


def processes() -> Processes:
    """As `accelerate launch` or `torchrun` says; a single process when neither was used."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes()
    from accelerate.utils import gather_object

    state = join()

    def gather(failures: dict[str, str]) -> dict[str, str]:
        return dict(gather_object(list(failures.items())))

    return Processes(state.process_index, state.num_processes, state.wait_for_everyone, gather)
