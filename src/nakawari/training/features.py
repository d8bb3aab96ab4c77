"""Feature imitation: match the outputs of a student's blocks to the teacher's, where both have the same shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .students import stage_names


class FeatureImitation:
    """Compares the outputs of corresponding blocks.

    Args:
        student, teacher: denoisers; evaluated one after the other inside `watching`, the teacher without gradient.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        self.pairs = stage_names(student, teacher)
        self._modules = [
            (student.get_submodule(own), teacher.get_submodule(other)) for own, other in self.pairs.items()
        ]
        self._outputs: dict[int, Tensor] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside the block outputs are recorded."""
        handles = [module.register_forward_hook(self._keep) for pair in self._modules for module in pair]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._outputs.clear()

    def loss(self, batch: int) -> Tensor:
        """|own - teacher's|^2 / |teacher's|^2, the mean over the blocks of one shape, per sample (batch,).

        Raises: `UsageError` if no block has the teacher's shape.
        """
        errors = [error for own, other in self._modules if (error := self._error(own, other, batch)) is not None]
        if not errors:
            raise UsageError(
                "No block of the student has the shape of the teacher's; set objective.features to 0, or make the "
                "student shallower instead of narrower."
            )
        return torch.stack(errors).mean(0)

    def _error(self, own: nn.Module, other: nn.Module, batch: int) -> Tensor | None:
        ours, theirs = self._outputs[id(own)], self._outputs[id(other)]
        if ours.shape != theirs.shape:
            return None
        ours, theirs = (value.float().reshape(batch, -1) for value in (ours, theirs.detach()))
        return (ours - theirs).square().mean(1) / theirs.square().mean(1).clamp(min=1e-12)

    def _keep(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._outputs[id(module)] = output[0] if isinstance(output, tuple) else output
