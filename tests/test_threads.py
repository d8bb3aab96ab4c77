"""Work spread over cores."""

from __future__ import annotations

import threading

import pytest
import torch

from nakawari.threads import spread

CPU = torch.device("cpu")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_pieces_run_at_once_without_gradients_and_come_back_in_order() -> None:
    met = threading.Barrier(2, timeout=10)

    def work(piece: int) -> tuple[int, int, bool]:
        met.wait()  # passes when two are here at once
        return piece, torch.get_num_threads(), torch.is_grad_enabled()

    with torch.no_grad():
        assert spread(work, [3, 1], CPU) == [(3, 1, False), (1, 1, False)]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_what_is_learnt_from_stays_in_one_thread() -> None:
    here = threading.get_ident()
    assert spread(lambda _: threading.get_ident(), [1, 2], CPU) == [here, here]


@pytest.mark.usefixtures("two_threads")
def test_autocast_reaches_the_threads() -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert spread(lambda _: (torch.ones(2, 2) @ torch.ones(2, 2)).dtype, [1, 2], CPU) == [torch.bfloat16] * 2
    with torch.no_grad():
        assert spread(lambda _: (torch.ones(2, 2) @ torch.ones(2, 2)).dtype, [1, 2], CPU) == [torch.float32] * 2


@pytest.mark.usefixtures("two_threads")
def test_an_error_comes_through_and_threads_are_as_before() -> None:
    def fail(piece: int) -> None:
        raise ValueError(f"piece {piece}")

    with torch.no_grad(), pytest.raises(ValueError, match="piece 1"):
        spread(fail, [1, 2], CPU)
    assert torch.get_num_threads() == 2
