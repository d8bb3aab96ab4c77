"""The weights that learn, as one process holds them: whole, or its slices (see `sharding`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor, nn


class Learning:
    """Weights that this process holds whole.

    Args:
        parameters: name -> what the optimizer moves; not in the names: a slash.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = dict(parameters)

    def shape(self, name: str) -> torch.Size:
        """The shape of the whole weight."""
        return self.parameters[name].shape

    def take_gradients(self) -> None:
        """Put onto the parameters what backward passes have left; before anything is done with gradients."""

    def clip(self, accelerator: Accelerator, limit: float) -> float:
        """Clip all gradients to a norm of `limit` together; returns the norm before."""
        return float(accelerator.clip_grad_norm_(self.parameters.values(), limit))

    def share(self, name: str, tensor: Tensor) -> Tensor:
        """Of a whole tensor that belongs to a parameter, what this process holds."""
        return tensor

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors of what all processes hold, in the first process; each has to ask.

        Args:
            tensors: of the parameters, as `NAME` or `NAME/WHAT`.
        """
        return dict(tensors)

    @contextmanager
    def put_together(self) -> Iterator[None]:
        """In the first process all networks are whole inside the block, to be saved; each has to enter."""
        yield
