"""Collapse detection: compare the standard deviation of a student's clean latents with its teacher's during training.

Both are evaluated on the same x_t, timesteps and conditions, so a healthy student's x0 has the teacher's standard
deviation. The measure is that of `nakawari diagnose latents`, at a few timesteps instead of a whole sampling run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..diffusion import Process
from .objectives.params_parts import WatchParams

Denoise = Callable[[Tensor, Tensor], Tensor]


class CollapseWatch:
    """Counts the checks outside the band; a resumed run starts at zero."""

    def __init__(self, params: WatchParams) -> None:
        self.params, self.outside = params, 0

    def due(self, step: int) -> bool:
        """Whether this step is checked."""
        return step % self.params.every == 0

    def judge(self, step: int, ratios: dict[str, float]) -> str | None:
        """Record the ratios student / teacher by timestep; returns a reason to stop, or None."""
        worst = max(ratios, key=lambda name: abs(math.log(max(ratios[name], 1e-12))))
        low = 1 / self.params.band
        if step < self.params.start or low <= ratios[worst] <= self.params.band:
            self.outside = 0
            return None
        self.outside += 1
        if not self.params.patience or self.outside < self.params.patience:
            return None
        word = "collapsed" if ratios[worst] < 1 else "exploded"
        return (
            f"the student's latents have {word}: at the {worst} time their deviation is {ratios[worst]:.3g} times the "
            f"teacher's, allowed are {low:.2g} to {self.params.band:.2g}"
        )


@torch.no_grad()
def deviation_ratios(
    process: Process, x0: Tensor, noise: Tensor, times: dict[str, Tensor], student: Denoise, teacher: Denoise
) -> dict[str, float]:
    """Standard deviation of the student's clean latents over the teacher's, the geometric mean over the samples.

    Args:
        x0, noise: (B, F, C, h, w), the parts of x_t.
        times: name -> timestep.
        student, teacher: (x_t, times (B,)) -> network output.
    """
    found = {}
    for name, time in times.items():
        t = time.to(x0.device).expand(len(x0))
        noisy = process.add_noise(x0, noise, t)
        own, other = (process.x0(ask(noisy, t), noisy, t).float().flatten(1).std(1) for ask in (student, teacher))
        found[name] = (own.clamp(min=1e-12) / other.clamp(min=1e-12)).log().mean().exp().item()
    return found


def watched_times(process: Process) -> dict[str, Tensor]:
    """The noisiest timestep, where sampling starts, and the quartiles of the training timesteps."""
    drawn = process.training_times(4096, torch.Generator().manual_seed(0)).sort().values
    quartiles = {"upper": drawn[3 * 1024], "middle": drawn[2 * 1024], "lower": drawn[1024]}
    return {"last": torch.as_tensor(process.last_time).to(drawn.dtype), **quartiles}
