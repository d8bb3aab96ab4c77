"""An exponential moving average of trained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class WeightAverage:
    """float32 averages of named parameters.

    The decay of the n-th update is min(decay, (1 + n) / (10 + n)), so that early weights are forgotten quickly.

    Args:
        parameters: name -> parameter, held by reference.
        decay: the final decay, in [0, 1).
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self.parameters = dict(parameters)
        self.decay = decay
        self.shadow = {name: value.detach().float().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def update(self, count: int) -> None:
        """Move the averages towards the weights; `count`: number of earlier updates."""
        share = 1 - min(self.decay, (1 + count) / (10 + count))
        for name, parameter in self.parameters.items():
            self.shadow[name].lerp_(parameter.detach().float(), share)

    @torch.no_grad()
    def load(self, shadow: Mapping[str, Tensor]) -> None:
        """Load saved averages; the names must be those of the parameters."""
        for name, value in self.shadow.items():
            value.copy_(shadow[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The parameters hold the averages inside the block, and their exact former values after it."""
        held = {name: value.detach().clone() for name, value in self.parameters.items()}
        self._write(self.shadow)
        try:
            yield
        finally:
            self._write(held)

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])
