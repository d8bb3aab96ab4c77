"""Worker processes of the data loader: errors are passed on, and no process remains."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from torch.utils.data import Dataset

from nakawari.data.workers import made
from nakawari.errors import NakawariError, UsageError


class Counting(Dataset):
    def __getitem__(self, index: int) -> int:
        if index == 3:
            raise UsageError("The picture 3 is broken; replace it.")
        if index == 5:
            raise ZeroDivisionError("no frames")
        if index == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


def together(values: list[Any]) -> list[Any]:
    return values


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_is_the_error_itself(workers: int):
    values = made(Counting(), [0, 1, 2, 3, 4], workers)
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UsageError) as caught:
        next(values)
    assert str(caught.value) == "The picture 3 is broken; replace it."
    batches = made(Counting(), [[0, 1], [2, 5]], workers, together)
    assert next(batches) == [0, 1]
    with pytest.raises(ZeroDivisionError) as caught:
        next(batches)
    assert str(caught.value) == "no frames" and "in __getitem__" in caught.value.__notes__[0]


def test_a_worker_that_is_killed_gets_a_sentence():
    with pytest.raises(NakawariError, match=r"was killed \(DataLoader worker .*; close other programs, or set workers"):
        list(made(Counting(), [7, 8], 1))
