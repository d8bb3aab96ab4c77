"""A watch over a student's latents while it learns: does it vary as its teacher does?

Both are asked at the same x_t, times and conditions, so a healthy student's clean latents have the teacher's standard
deviation, whatever either knows. The measure is that of `nakawari diagnose latents`, at some times of the process in
place of a whole sampling.
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
    """Counts looks; a run that is resumed counts anew."""

    def __init__(self, params: WatchParams) -> None:
        self.params, self.outside = params, 0

    def due(self, step: int) -> bool:
        """Whether this step is looked at."""
        return step % self.params.every == 0

    def judge(self, step: int, ratios: dict[str, float]) -> str | None:
        """Take note of ratios student / teacher by time; a reason to stop, or None."""
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
        x0, noise: (B, F, C, h, w), what x_t is made of.
        times: name -> a time.
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
    """The noisiest time, where sampling starts, and the quartiles of the times of training."""
    drawn = process.training_times(4096, torch.Generator().manual_seed(0)).sort().values
    quartiles = {"upper": drawn[3 * 1024], "middle": drawn[2 * 1024], "lower": drawn[1024]}
    return {"last": torch.as_tensor(process.last_time).to(drawn.dtype), **quartiles}
