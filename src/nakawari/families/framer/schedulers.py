"""The samplers of Framer: diffusers schedulers with the settings for a Stable Video Diffusion network.

The network is conditioned on c_noise = ln(sigma) / 4 with sigma from 700 to 0.002. A scheduler that passes anything
else, such as integer training steps, evaluates the network at timesteps that it was not trained for.

Sources: Karras et al. 2022 (EDM, schedule and Euler); Lu et al. 2022 (DPM-Solver++); Song et al. 2023 and Wang et al.
2024 (consistency models, AnimateLCM).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, EDMDPMSolverMultistepScheduler, EulerDiscreteScheduler
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ...diffusion import EDMProcess
from ...errors import UsageError
from .names import SCHEDULERS, SchedulerName

Spacing = Literal["karras", "exponential"]

SVD_SCHEDULE: Mapping[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "interpolation_type": "linear",
    "sigma_min": 0.002,
    "sigma_max": 700.0,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
}
"""The scheduler configuration published with Stable Video Diffusion XT."""


def make_scheduler(
    name: SchedulerName,
    *,
    config: Mapping[str, Any] = SVD_SCHEDULE,
    order: int = 2,
    spacing: Spacing = "karras",
) -> SchedulerMixin:
    """A sampler by name, over the noise levels of `config`.

    Args:
        name: `euler`; `dpm++`, with the correct timestep; `lcm`, for few-step (consistency distilled) weights only; or
            `dpm++-reference`, which passes integer steps to the network, stops early, and exists for comparison.
        config: a scheduler configuration of Stable Video Diffusion.
        order: of the DPM++ solvers, 1 to 3.
        spacing: of the noise levels of `euler` and `dpm++`.

    Raises:
        UsageError: a name that is not one of these.
    """
    if name == "euler":
        levels = {"use_karras_sigmas": spacing == "karras", "use_exponential_sigmas": spacing == "exponential"}
        return EulerDiscreteScheduler.from_config(dict(config), **levels)
    if name == "dpm++":
        return EDMDPMSolverMultistepScheduler(
            sigma_min=config["sigma_min"],
            sigma_max=config["sigma_max"],
            sigma_data=1.0,
            sigma_schedule=spacing,
            prediction_type="v_prediction",
            solver_order=order,
        )
    if name == "lcm":
        return LCMSVDScheduler(sigma_min=config["sigma_min"], sigma_max=config["sigma_max"])
    if name == "dpm++-reference":
        return DPMSolverMultistepScheduler.from_config(
            dict(config),
            algorithm_type="dpmsolver++",
            solver_order=order,
            use_karras_sigmas=False,
            final_sigmas_type="sigma_min",
        )
    raise UsageError(f"There is no scheduler {name!r}; give one of {', '.join(SCHEDULERS)}.")


def noise_levels(scheduler: SchedulerMixin) -> dict[str, Any]:
    """The configuration of Stable Video Diffusion with the noise range of `scheduler`."""
    own = {name: scheduler.config.get(name) for name in ("sigma_min", "sigma_max")}
    return {**SVD_SCHEDULE, **{name: value for name, value in own.items() if value is not None}}


@dataclass
class LCMSVDOutput(BaseOutput):
    """Output of `LCMSVDScheduler.step`.

    Args:
        prev_sample: x at the next noise level.
        denoised: the clean latents estimated in this step.
    """

    prev_sample: Tensor
    denoised: Tensor


class LCMSVDScheduler(SchedulerMixin, ConfigMixin):
    """Few-step consistency sampling over an `EDMProcess`: estimate x0, add noise of the next level, repeat.

    Only for consistency-distilled weights, whose single prediction is already a sample. Ordinary weights predict a
    mean, so the result is blurred and low in contrast.

    Args:
        num_train_timesteps: length of the schedule that the weights were distilled on; steps are taken from it.
        sigma_min, sigma_max: ends of that schedule.
        rho: curvature of the schedule.
    """

    order = 1

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 40,
        sigma_min: float = 0.002,
        sigma_max: float = 700.0,
        rho: float = 7.0,
    ) -> None:
        self.process = EDMProcess(sigma_max=sigma_max, sigma_min=sigma_min, rho=rho)
        self.init_noise_sigma = (sigma_max**2 + 1) ** 0.5
        self.set_timesteps(num_train_timesteps)

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Choose the noise levels of `num_inference_steps` steps: every n-th of the training schedule, then zero.

        Raises:
            UsageError: fewer than one step, or more than the training schedule has.
        """
        trained = self.config.num_train_timesteps
        if not 1 <= num_inference_steps <= trained:
            raise UsageError(f"The LCM sampler cannot take {num_inference_steps} steps; give 1 to {trained}.")
        ramp = np.arange(num_inference_steps) * (trained // num_inference_steps) / max(trained - 1, 1)
        low, high = (level ** (1 / self.config.rho) for level in (self.config.sigma_min, self.config.sigma_max))
        sigmas = (high + ramp * (low - high)) ** self.config.rho
        self.sigmas = torch.from_numpy(np.append(sigmas, 0.0)).float()
        self._levels: list[float] = self.sigmas.tolist()
        self.timesteps = torch.from_numpy(0.25 * np.log(sigmas)).float().to(device)
        self.step_index = 0
        self._noises: dict[int, Tensor] = {}

    def draw_noises(self, sample: Tensor, generator: torch.Generator | list[torch.Generator] | None) -> None:
        """Draw the noise of all steps in advance, in order, onto the device of `sample`, so that steps need not
        wait for it."""
        self._noises = {
            index: randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
            for index in range(self.step_index, len(self._levels) - 1)
            if self._levels[index + 1] > 0
        }

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at step `begin_index`."""
        self.step_index = begin_index

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:
        """`sample` scaled as the network's input at the current step."""
        return self.process.network_input(sample, self._level(sample, self.step_index))

    def _level(self, sample: Tensor, index: int) -> Tensor:
        """The noise level of a step, repeated for the batch."""
        return torch.full((len(sample),), self._levels[index], device=sample.device)

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | float,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> LCMSVDOutput | tuple[Tensor, ...]:
        """One step; `generator` (one, or one per sample) draws the added noise, unless `draw_noises` has
        drawn it."""
        denoised = self.process.x0(model_output, sample, self._level(sample, self.step_index))
        following, noise = None, None
        if self._levels[self.step_index + 1] > 0:
            following = self._level(sample, self.step_index + 1)
            noise = self._noises.pop(self.step_index, None)
            if noise is None:
                noise = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
        previous = self.process.renoise(denoised, following, noise)
        self.step_index += 1
        output = LCMSVDOutput(prev_sample=previous, denoised=denoised)
        return output if return_dict else output.to_tuple()
