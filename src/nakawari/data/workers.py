"""Processes that make samples: how they start, that they end with their parent, and what becomes of their errors."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from ..errors import NakawariError


class _Failed(NamedTuple):
    """An error on its way from a worker to the process that asked."""

    error: Exception


class _Reporting(Dataset):
    """A data set whose errors are values: raised in a worker they would come out as a page of its traceback."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:
            error.add_note(traceback.format_exc())  # for --debug; the traceback itself does not travel
            return _Failed(_that_travels(error))


class _Collate:
    def __init__(self, collate: Callable[[list[Any]], Any] | None) -> None:
        self.collate = collate

    def __call__(self, made: Any) -> Any:
        if self.collate is None:
            return made
        failed = [sample for sample in made if isinstance(sample, _Failed)]
        return failed[0] if failed else self.collate(made)


def made(
    dataset: Dataset,
    order: Iterable[Any],
    workers: int,
    collate: Callable[[list[Any]], Any] | None = None,
    pin_memory: bool = False,
) -> Iterator[Any]:
    """`dataset[index]` for each index in `order`, in that order, made by `workers` processes (0 = this one).

    Args:
        collate: given, `order` holds lists of indices, and this makes a batch of their samples.

    Raises: what the data set raises; `NakawariError` where a worker was killed.
    """
    loader = DataLoader(
        _Reporting(dataset),
        **{"batch_size": None, "sampler": order} if collate is None else {"batch_sampler": order},
        num_workers=workers,
        collate_fn=_Collate(collate),
        worker_init_fn=prepare_worker,
        multiprocessing_context=fresh_processes() if workers else None,
        pin_memory=pin_memory,
    )
    try:
        for value in loader:
            if isinstance(value, _Failed):
                raise value.error
            yield value
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise NakawariError(
            f"A process that makes samples was killed ({str(error).splitlines()[0].rstrip('.')}), perhaps for want of "
            "memory; close other programs, or set workers to 0."
        ) from error


def fresh_processes() -> multiprocessing.context.BaseContext:
    """Workers that share no threads with this process: OpenCV's pool does not survive a plain fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nakawari.data.training_data"])
    return context


def prepare_worker(worker: int) -> None:
    """What every process does first that makes samples."""
    # The loop decides when to stop, and takes its workers along.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """torch looks whether a worker's parent process has changed; that is the fork server, which lives as long as its
    workers. Where the loop was killed, both would stay for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _that_travels(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return NakawariError(f"{type(error).__name__}: {error}")
    return error
