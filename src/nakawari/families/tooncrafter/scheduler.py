"""DDIM and consistency sampling for a zero-terminal-SNR velocity model with dynamic rescale.

Song et al. 2021 (DDIM), Song et al. 2023 (consistency models, algorithm 1), Lin et al. 2024 (trailing steps), Xing et
al. 2024 (ToonCrafter's rescale of x0). Differences from
the scheduler of diffusers: each step goes to the next entry of the list of timesteps, for any
number of steps; the last one goes to the noise level of step 0; x0 follows the dynamic scale from step to step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from torch import Tensor

from ...diffusion import VelocityProcess, trailing_times

Spacing = Literal["trailing", "uniform"]
SPACINGS: tuple[Spacing, ...] = ("trailing", "uniform")
Sampler = Literal["ddim", "consistency"]
SAMPLERS: tuple[Sampler, ...] = ("ddim", "consistency")


@dataclass
class DDIMOutput(BaseOutput):
    """`prev_sample` is x at the next time; `pred_original_sample` the estimate of x0 as `encode` scales it."""

    prev_sample: Tensor
    pred_original_sample: Tensor


def spaced_timesteps(steps: int, spacing: Spacing, train_steps: int = 1000) -> list[int]:
    """The times of a sampling run, noisiest first.

    `trailing` ends exactly at the last training step and always has `steps` entries. `uniform` is the older layout
    of the reference: an integer stride from 1 upwards, which never reaches the last step and, if `steps` does not
    divide `train_steps`, has a few entries more; a timestep past the end, which makes the reference fail, is dropped.
    """
    if not 1 <= steps <= train_steps:
        raise ValueError(f"the number of steps must be between 1 and {train_steps}, not {steps}")
    if spacing == "trailing":
        return trailing_times(steps, train_steps)
    if spacing == "uniform":
        times = np.arange(0, train_steps, train_steps // steps) + 1
        return times[times < train_steps][::-1].tolist()
    raise ValueError(f"spacing must be one of {', '.join(SPACINGS)}, not {spacing!r}")


class ToonCrafterScheduler(SchedulerMixin, ConfigMixin):
    """Samplers over a `VelocityProcess`; the configuration is that of `process`.

    Args:
        num_train_timesteps, beta_start, beta_end, base_scale, turning_step, data_std: see `VelocityProcess`.
        spacing, sampler: defaults of `set_timesteps`.
        set_alpha_to_one: the last step of DDIM returns x0 itself instead of x at the noise level of step 0, as in the
            reference. The consistency sampler always ends at x0.
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
        data_std: float | None = None,
        sampler: Sampler = "ddim",
    ) -> None:
        self.process = VelocityProcess(num_train_timesteps, beta_start, beta_end, base_scale, turning_step, data_std)
        self.init_noise_sigma = 1.0
        self.num_inference_steps: int | None = None
        self.sampler: Sampler = sampler
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)

    def set_timesteps(
        self,
        num_inference_steps: int,
        device: torch.device | str | None = None,
        spacing: Spacing | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        """Set the timesteps of a run, see `spaced_timesteps`, and the sampler.

        `consistency` is for consistency-distilled weights: estimate x0, add fresh noise of the next
        timestep, repeat. Ordinary weights predict a mean, so the result is blurred.
        """
        self.sampler = sampler or self.config.sampler
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, not {self.sampler!r}")
        times = spaced_timesteps(num_inference_steps, spacing or self.config.spacing, self.config.num_train_timesteps)
        self.timesteps = torch.tensor(times, device=device)
        self.num_inference_steps = len(times)

    def scale_model_input(self, sample: Tensor, timestep: Tensor | int) -> Tensor:
        """x_t scaled as the network's input."""
        return self.process.network_input(sample, torch.as_tensor(timestep).expand(len(sample)))

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
        """One step from `timestep` to the next entry of `timesteps`.

        Args:
            model_output: the network's output, (B, ...), float.
            timestep: an entry of `timesteps`.
            sample: x_t, same shape.
            eta: of DDIM, 0 deterministic, 1 ancestral.
            noise: standard normal, same shape; see `wants_noise`.
            temperature: factor on the noise.
        """
        time = int(timestep)
        if noise is None and self.wants_noise(time, eta):
            raise ValueError(f"a step of the {self.sampler} sampler with eta {eta:g} needs its noise")
        times = torch.full((sample.shape[0],), time, device=sample.device)
        x, answer = sample.float(), model_output.float()
        x0 = self.process.x0(answer, x, times)
        if self.sampler == "consistency":
            following = self._following(time)
            there = None if following is None else torch.full((len(x0),), following, device=x0.device)
            fresh = None if noise is None else temperature * noise.float()
            previous = self.process.renoise(x0, there, fresh).to(sample.dtype)
        else:
            previous = self._ddim(x0, lambda: self.process.noise(answer, x, times), time, eta, noise, temperature).to(
                sample.dtype
            )
        return DDIMOutput(prev_sample=previous, pred_original_sample=x0) if return_dict else (previous, x0)

    def wants_noise(self, time: int, eta: float) -> bool:
        """Whether the step from `time` draws fresh noise."""
        return self._following(time) is not None if self.sampler == "consistency" else eta > 0

    def _ddim(
        self,
        x0: Tensor,
        epsilon: Callable[[], Tensor],
        time: int,
        eta: float,
        noise: Tensor | None,
        temperature: float,
    ) -> Tensor:
        """One step from x0 and the noise that `epsilon` computes, which the last step does not need."""
        here, there, scale = self._levels(time)
        sigma = eta * max((1 - there) / (1 - here) * (1 - here / there), 0.0) ** 0.5
        # Rounding can make this negative when all noise is fresh (eta 1, first step); clamp to avoid NaN.
        direction = max(1 - there - sigma**2, 0.0) ** 0.5
        previous = there**0.5 * scale * x0
        if direction:
            previous = previous + direction * epsilon()
        return previous if noise is None or eta == 0 else previous + sigma * temperature * noise

    def _levels(self, time: int) -> tuple[float, float, float]:
        """Signal level at `time` and at the next entry, and the scale of x0 there."""
        levels, scales, following = self.process.alphas_cumprod.float(), self.process.scales, self._following(time)
        if following is not None:
            return float(levels[time]), float(levels[following]), float(scales[following])
        if self.config.set_alpha_to_one:
            return float(levels[time]), 1.0, 1.0
        # The reference ends at the level of step 0 and keeps the x0 scale of the last timestep.
        return float(levels[time]), float(levels[0]), float(scales[time])

    def _following(self, time: int) -> int | None:
        """The entry of `timesteps` after `time`; None after the last."""
        times = self.timesteps.tolist()
        place = times.index(time) + 1
        return times[place] if place < len(times) else None
