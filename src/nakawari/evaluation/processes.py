"""One process or several: who does which sample, who writes the end.

Several are started together by `accelerate launch` or `torchrun`, and know of each other; or each by itself, on any
machines, with a share of the samples, and what they leave is joined by a run without a share.
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
    """This process's place.

    Args:
        rank, count: its number and how many there are.
        wait: returns when every process has come here.
        gather: joins the dictionaries of all processes, on all of them.
        apart: whether each was started by itself and knows nothing of the others; none of them writes the end.
    """

    rank: int = 0
    count: int = 1
    wait: Callable[[], None] = _at_once
    gather: Callable[[dict[str, str]], dict[str, str]] = _alone
    apart: bool = False

    @property
    def begins(self) -> bool:
        """Whether this process says whose the folder and its rows are."""
        return self.apart or self.rank == 0

    @property
    def ends(self) -> bool:
        """Whether this process puts together what all have done."""
        return not self.apart and self.rank == 0


def share_of(text: str) -> Processes:
    """From `NUMBER/WORKERS`, numbers from 0; raises `UsageError`."""
    number, workers = parse_share(text)
    return Processes(number, workers, apart=True)


def processes() -> Processes:
    """As `accelerate launch` or `torchrun` says; a single process when neither was used."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes()
    from accelerate.utils import gather_object

    state = join()

    def gather(failures: dict[str, str]) -> dict[str, str]:
        return dict(gather_object(list(failures.items())))

    return Processes(state.process_index, state.num_processes, state.wait_for_everyone, gather)
