"""Offload frozen networks to CPU memory until they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


class Offload:
    """Moves networks to a device for the length of a block, and back.

    Args:
        networks: frozen networks; trained ones must stay on the optimizer's device.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = list(networks)
        self._depth = 0

    @contextmanager
    def on(self, device: torch.device | str) -> Iterator[None]:
        """Inside the block the networks are on `device`; blocks may be nested."""
        if self._depth == 0:
            self._move(device)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._move("cpu")

    def _move(self, device: torch.device | str) -> None:
        for network in self.networks:
            network.to(device)
