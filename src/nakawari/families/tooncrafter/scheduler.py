"""DDIM for a zero-terminal-SNR velocity model with dynamic rescale.

Song et al. 2021 (DDIM), Lin et al. 2024 (trailing steps), Xing et al. 2024 (ToonCrafter's rescale of x0). Differs from
the scheduler of diffusers where the family does: each step goes to the next entry of the list of times, whatever the
number of steps; the last one goes to the noise level of step 0; x0 follows the dynamic scale from step to step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from torch import Tensor

from ...diffusion import VelocityProcess

Spacing = Literal["trailing", "uniform"]
SPACINGS: tuple[Spacing, ...] = ("trailing", "uniform")


@dataclass
class DDIMOutput(BaseOutput):
    """`prev_sample` is x at the next time; `pred_original_sample` the estimate of x0 as `encode` scales it."""

    prev_sample: Tensor
    pred_original_sample: Tensor


def spaced_timesteps(steps: int, spacing: Spacing, train_steps: int = 1000) -> list[int]:
    """The times of a sampling run, noisiest first.

    `trailing` ends exactly at the last training step and always has `steps` entries. `uniform` is the older layout
    of the reference: a whole stride from 1 upwards, which never reaches the last step and, where `steps` does not
    divide `train_steps`, has a few entries more; a time past the end, which makes the reference fail, is left out.
    """
    if not 1 <= steps <= train_steps:
        raise ValueError(f"the number of steps must be between 1 and {train_steps}, not {steps}")
    if spacing == "trailing":
        # numpy rounds halves to even, as the reference does.
        times = np.round(np.arange(train_steps, 0, -train_steps / steps)).astype(int)[:steps] - 1
        return times.tolist()
    if spacing == "uniform":
        times = np.arange(0, train_steps, train_steps // steps) + 1
        return times[times < train_steps][::-1].tolist()
    raise ValueError(f"spacing must be one of {', '.join(SPACINGS)}, not {spacing!r}")


class ToonCrafterScheduler(SchedulerMixin, ConfigMixin):
    """DDIM over a `VelocityProcess`; the configuration is the process's own, and `process` gives it.

    Args:
        num_train_timesteps, beta_start, beta_end, base_scale, turning_step: see `VelocityProcess`.
        spacing: default of `set_timesteps`.
        set_alpha_to_one: the last step gives x0 itself instead of x at the noise level of step 0, where the
            reference ends.
    """

    order = 1

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        base_scale: float = 0.7,
        turning_step: int = 400,
        spacing: Spacing = "trailing",
        set_alpha_to_one: bool = False,
    ) -> None:
        self.process = VelocityProcess(num_train_timesteps, beta_start, beta_end, base_scale, turning_step)
        self.init_noise_sigma = 1.0
        self.num_inference_steps: int | None = None
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)

    def set_timesteps(
        self, num_inference_steps: int, device: torch.device | str | None = None, spacing: Spacing | None = None
    ) -> None:
        """Choose the times of a run; see `spaced_timesteps`."""
        times = spaced_timesteps(num_inference_steps, spacing or self.config.spacing, self.config.num_train_timesteps)
        self.timesteps = torch.tensor(times, device=device)
        self.num_inference_steps = len(times)

    def scale_model_input(self, sample: Tensor, timestep: Tensor | int | None = None) -> Tensor:
        """x_t as it is: this process does not scale the network's input."""
        return sample

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x_t from clean latents; `timesteps` (B,)."""
        return self.process.add_noise(original_samples, noise, timesteps)

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        eta: float = 0.0,
        noise: Tensor | None = None,
        temperature: float = 1.0,
        return_dict: bool = True,
    ) -> DDIMOutput | tuple[Tensor, Tensor]:
        """One DDIM step from `timestep` to the next entry of `timesteps`.

        Args:
            model_output: velocity, (B, ...), float.
            timestep: an entry of `timesteps`.
            sample: x_t, same shape.
            eta: 0 deterministic, 1 ancestral; needs `noise` above 0.
            noise: standard normal, same shape.
            temperature: factor on the noise.
        """
        if eta > 0 and noise is None:
            raise ValueError("eta above 0 needs the noise of this step")
        time = int(timestep)
        x0, epsilon = self._predictions(model_output, sample, time)
        here, there, scale = self._levels(time)
        sigma = eta * max((1 - there) / (1 - here) * (1 - here / there), 0.0) ** 0.5
        # Rounding can push this below zero where the whole next noise is fresh (eta 1, first step): clamp, not NaN.
        direction = max(1 - there - sigma**2, 0.0) ** 0.5
        previous = there**0.5 * scale * x0 + direction * epsilon
        if eta > 0:
            previous = previous + sigma * temperature * noise
        previous = previous.to(sample.dtype)
        return DDIMOutput(prev_sample=previous, pred_original_sample=x0) if return_dict else (previous, x0)

    def _predictions(self, output: Tensor, sample: Tensor, time: int) -> tuple[Tensor, Tensor]:
        times = torch.full((sample.shape[0],), time)
        x, v = sample.float(), output.float()
        return self.process.x0(v, x, times), self.process.noise(v, x, times)

    def _levels(self, time: int) -> tuple[float, float, float]:
        """Signal level at `time` and at the next entry, and the scale that x0 gets there."""
        levels, scales, times = self.process.alphas_cumprod.float(), self.process.scales, self.timesteps.tolist()
        after = times[times.index(time) + 1 :]
        if after:
            return float(levels[time]), float(levels[after[0]]), float(scales[after[0]])
        if self.config.set_alpha_to_one:
            return float(levels[time]), 1.0, 1.0
        # The reference ends at the level of step 0 and leaves x0 scaled as at the last time.
        return float(levels[time]), float(levels[0]), float(scales[time])
