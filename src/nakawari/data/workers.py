"""Data loader processes: start, termination with their parent, and error handling."""

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
    """An error passed from a worker to the main process."""

    error: Exception


class _Reporting(Dataset):
    """A data set that returns errors as values; raised in a worker they would be replaced by the text of a
    traceback."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:
            error.add_note(traceback.format_exc())  # for --debug; the traceback itself cannot be pickled
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
    """`dataset[index]` for each index in `order`, in that order, loaded by `workers` processes (0 = this one).

    Args:
        collate: given, `order` holds lists of indices, and this makes a batch of their samples.

    Raises: errors of the data set; `NakawariError` if a worker was killed.
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
            f"A data loader process was killed ({str(error).splitlines()[0].rstrip('.')}), perhaps out of "
            "memory; close other programs, or set workers to 0."
        ) from error


def fresh_processes() -> multiprocessing.context.BaseContext:
    """A context for workers without this process's threads: OpenCV's thread pool does not survive a fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nakawari.data.training_data"])
    return context


def prepare_worker(worker: int) -> None:
    """Initialisation of every data loader process."""
    # The main process handles signals and stops its workers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """Exit when the main process dies. torch only checks a worker's parent process, the fork server, which lives as
    long as its workers, so both would remain forever."""
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
