"""Distribution over processes: assignment of samples, and joining of the results.

Processes are started together by `accelerate launch` or `torchrun`; or independently, on any
machines, with a share of the samples each, which a run without a share joins.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from ..processes import join, parse_share


def _alone(failures: dict[str, str]) -> dict[str, str]:
    return failures


def _at_once() -> None:
    return None


@dataclass(frozen=True)
class Processes:
    """This process among all.

    Args:
        rank, count: its number and the number of processes.
        wait: barrier of all processes.
        gather: joins the dictionaries of all processes, on all of them.
        apart: whether processes were started independently; none of them joins the results.
    """

    rank: int = 0
    count: int = 1
    wait: Callable[[], None] = _at_once
    gather: Callable[[dict[str, str]], dict[str, str]] = _alone
    apart: bool = False

    @property
    def begins(self) -> bool:
        """Whether this process creates the folder and its rows."""
        return self.apart or self.rank == 0

    @property
    def ends(self) -> bool:
        """Whether this process joins the results of all."""
        return not self.apart and self.rank == 0


def share_of(text: str) -> Processes:
    """From `NUMBER/WORKERS`, numbers from 0; raises `UsageError`."""
    number, workers = parse_share(text)
    return Processes(number, workers, apart=True)


def processes() -> Processes:
    """From the environment of `accelerate launch` or `torchrun`; a single process without either."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes()
    from accelerate.utils import gather_object

    state = join()

    def gather(failures: dict[str, str]) -> dict[str, str]:
        return dict(gather_object(list(failures.items())))

    return Processes(state.process_index, state.num_processes, state.wait_for_everyone, gather)
