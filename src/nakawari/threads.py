"""Run independent tasks on the cores of one CPU, one core each.

The many small operations of one frame gain little from a second core; two frames in parallel gain fully.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def spread(work: Callable[[Piece], Result], pieces: Sequence[Piece], device: torch.device) -> list[Result]:
    """Run `work` on each piece, with as many in parallel as torch has threads, each with one torch thread.

    Sequential on a GPU, and if gradients are on, which are state of the calling thread. Autocast is on in the threads
    if it is on here. Returns the results in order.
    """
    cores = torch.get_num_threads()
    if device.type != "cpu" or torch.is_grad_enabled() or min(cores, len(pieces)) < 2:
        return [work(piece) for piece in pieces]
    inference = torch.is_inference_mode_enabled()
    autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def begin() -> None:
        torch.set_num_threads(1)
        # Not by `torch.autocast`: its end in one thread clears the cache of cast weights, which all threads share.
        torch.set_autocast_enabled("cpu", autocast[0])
        torch.set_autocast_dtype("cpu", autocast[1])

    def run(piece: Piece) -> Result:
        with torch.inference_mode(inference), torch.no_grad():  # inference_mode(False) would enable gradients
            return work(piece)

    try:
        with ThreadPoolExecutor(min(cores, len(pieces)), initializer=begin) as pool:
            return list(pool.map(run, pieces))
    finally:
        torch.set_num_threads(cores)  # new threads inherit the value set last
