"""The trained weights held by one process: complete, or its shards (see `sharding`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor, nn


class Learning:
    """Weights that this process holds completely.

    Args:
        parameters: name -> what the optimizer moves; not in the names: a slash.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = dict(parameters)

    def shape(self, name: str) -> torch.Size:
        """The shape of the complete weight."""
        return self.parameters[name].shape

    def take_gradients(self) -> None:
        """Collect the gradients of the backward passes on the parameters; call it before using gradients."""

    def clip(self, accelerator: Accelerator, limit: float) -> float:
        """Clip the total gradient norm to `limit`; returns the norm before clipping."""
        return float(accelerator.clip_grad_norm_(self.parameters.values(), limit))

    def share(self, name: str, tensor: Tensor) -> Tensor:
        """This process's shard of a parameter's complete tensor."""
        return tensor

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather complete tensors in the first process; every process must call it.

        Args:
            tensors: of the parameters, as `NAME` or `NAME/WHAT`.
        """
        return dict(tensors)

    @contextmanager
    def put_together(self) -> Iterator[None]:
        """Make all networks complete in the first process inside the block, for saving; every process must enter it."""
        yield
