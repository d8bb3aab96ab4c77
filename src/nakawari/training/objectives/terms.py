"""Loss terms on clean latents: each function returns one value per sample, (B,)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional

from ...diffusion import Process
from ...weighting import Weighting
from .conditions import inner

Weights = Mapping[Weighting, float]


@dataclass(frozen=True)
class LatentTerms:
    """Distance of an estimate of clean latents from its target: a sum of the terms with nonzero weight.

    Args:
        noise_l1: weight of |noise' - noise|.
        weights: weights of the squared error of x0 (or on the Huber distance), by the names of `Process.loss_weight`.
        huber: use sqrt(e^2 + huber^2) - huber instead of the squared error.
        smooth_l1: weight of the smooth L1 distance.
        inner_only: exclude the two key frames.
    """

    noise_l1: float = 0.0
    weights: Weights = field(default_factory=dict)
    huber: float | None = None
    smooth_l1: float = 0.0
    inner_only: bool = False

    def __call__(
        self, process: Process, estimate: Tensor, target: Tensor, t: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """Estimate and target (B, F, C, h, w), times (B,), mask of known frames (B, F) -> loss (B,)."""
        loss = estimate.new_zeros(len(estimate))
        if self.noise_l1:
            error = noise_error(process, estimate, target, t)
            loss = loss + self.noise_l1 * frame_mean(error, known, self.inner_only)
        if self.weights:
            error = estimate - target
            squared = error.square() if self.huber is None else (error.square() + self.huber**2).sqrt() - self.huber
            loss = loss + weight_at(process, t, self.weights) * frame_mean(squared, known, self.inner_only)
        if self.smooth_l1:
            error = functional.smooth_l1_loss(estimate, target, reduction="none")
            loss = loss + self.smooth_l1 * frame_mean(error, known, self.inner_only)
        return loss


def noise_error(process: Process, estimate: Tensor, target: Tensor, t: Tensor) -> Tensor:
    """|noise' - noise| elementwise: both belong to the same x_t, so it is sqrt(SNR) |x0' - x0|."""
    root = process.snr(t).sqrt().to(target).reshape(-1, *[1] * (target.ndim - 1))
    return root * (estimate - target).abs()


def weight_at(process: Process, t: Tensor, weights: Weights) -> Tensor:
    """The weight of the squared error at times `t`, (B,)."""
    return sum(share * process.loss_weight(t, name) for name, share in weights.items())


def frame_mean(values: Tensor, known: Tensor | None, inner_only: bool) -> Tensor:
    """(B, F, ...) -> (B,), the mean over the known frames."""
    values = inner(values, inner_only)
    if known is None:
        return values.flatten(1).mean(1)
    counted = inner(known, inner_only).to(values)
    return (values.flatten(2).mean(2) * counted).sum(1) / counted.sum(1).clamp(min=1)
