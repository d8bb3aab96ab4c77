"""Fixtures over the reference vectors; the functions themselves are in `parity.vectors`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from parity.vectors import VARIABLE, parity_folder


@pytest.fixture
def folder() -> Path:
    """The folder of all families' vectors; the test is skipped when the environment names none."""
    found = parity_folder()
    if found is None:
        pytest.skip(f"{VARIABLE} is not set: no reference vectors")
    return found


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    """Vectors compare forward passes only."""
    with torch.no_grad():
        yield
