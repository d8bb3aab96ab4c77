"""Independent pieces of work on the cores of one processor, one core each.

A frame's many small operations gain little from a second core each; two frames at once gain all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def spread(work: Callable[[Piece], Result], pieces: Sequence[Piece], device: torch.device) -> list[Result]:
    """`work` of each piece, in order, as many at once as torch may use threads, each in one thread of torch.

    One after the other on a GPU, and where gradients or autocast are on, which belong to the thread that switched them
    on.
    """
    cores = torch.get_num_threads()
    alone = device.type != "cpu" or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
    if alone or min(cores, len(pieces)) < 2:
        return [work(piece) for piece in pieces]
    inference = torch.is_inference_mode_enabled()

    def run(piece: Piece) -> Result:
        with torch.inference_mode(inference), torch.no_grad():  # a mode that is off switches gradients on
            return work(piece)

    try:
        with ThreadPoolExecutor(min(cores, len(pieces)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(run, pieces))
    finally:
        torch.set_num_threads(cores)  # what a thread sets for itself is what later threads begin with
