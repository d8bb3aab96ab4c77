"""The interface between the training loop and an objective."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...seeds import seed_from

Batch = Mapping[str, Any]
"""Collated samples: tensors with the batch first (`frames` (B, F, 3, H, W) in [-1, 1]), lists of everything else,
and `index`, the samples' positions in the endless training order."""


class StepOutput(NamedTuple):
    """The result of one forward pass.

    Args:
        loss: scalar, the mean over the batch of each sample's own loss, with gradient.
        logs: name -> scalar; the same names in every step. `baseline` is always present: the loss
            of a zero prediction.
        details: name -> (B,) values, one per sample, recorded if a step is not finite (times, noise levels).
    """

    loss: Tensor
    logs: Mapping[str, Tensor]
    details: Mapping[str, Tensor]


class Objective(nn.Module):
    """A module whose forward pass is the loss. It owns the networks; those that stay frozen require no gradient."""

    over_base = False
    """Whether training starts from an adapter without effect, so that the base may remain the best."""

    @abstractmethod
    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        """The loss of a batch. Every random number comes from the sample's own generator, so that a sample's loss
        does not depend on the rest of its batch."""

    @abstractmethod
    def validate(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Scores on held-out batches, deterministic."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Save the trained parameters as a loadable variant or adapter into `folder`, an empty folder."""

    def sample(self, batches: Sequence[Batch], folder: Path) -> None:
        """Write pictures of held-out batches into `folder`, an empty folder."""
        return

    def step_end(self, step: int) -> str | None:
        """Called after each optimizer step; a returned reason stops the run early."""
        return None

    def observed(self) -> dict[str, float]:
        """Measurements of `step_end` at this step, for the log; {} if there are none."""
        return {}

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Name -> trained parameter."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def network_to_shard(self) -> nn.Module:
        """The network that processes may share, see `training.sharding`: each step of training, drawing and validation
        evaluates it equally often in every process. Raises `UsageError` where there is none."""
        raise UsageError(f"The objective {type(self).__name__.lower()} cannot be sharded; set shard to false.")

    def train(self, mode: bool = True) -> Objective:
        """As `nn.Module.train`, but modules with only frozen weights stay in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            trained = [parameter.requires_grad for parameter in module.parameters()]
            if mode and trained and not any(trained):
                module.eval()
        return self


def sample_generator(seed: int, index: int) -> torch.Generator:
    """The CPU generator of sample `index` in a run with `seed`: a pure function of the two."""
    return torch.Generator().manual_seed(seed_from(f"{seed}:{index}", "little"))


def randn(generators: Sequence[torch.Generator], shape: Sequence[int], like: Tensor) -> Tensor:
    """Normal noise (len(generators), *shape), each sample from its own generator, on the device and dtype of `like`."""
    noise = torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])
    return noise.to(device=like.device, dtype=like.dtype)


def rand(generators: Sequence[torch.Generator]) -> Tensor:
    """Uniform numbers in [0, 1), one per sample, (B,) on the CPU."""
    return torch.cat([torch.rand(1, generator=generator) for generator in generators])


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Samples -> batch: tensors are stacked, everything else becomes a list."""
    return {
        key: torch.stack([sample[key] for sample in samples])
        if isinstance(samples[0][key], Tensor)
        else [sample[key] for sample in samples]
        for key in samples[0]
    }
