"""Diffusion processes: the noise schedule, and the prediction type of a denoiser.

A denoiser does not predict x0 or noise directly; losses and samplers are written in those two. A process
converts exactly in both directions, so that no other module needs to know a network's prediction type.

Arithmetic runs in float32 whatever the dtype of the tensors (the terminal step of a zero-SNR schedule does not
survive bfloat16), and results have the dtype of the noisy input. Times are one per sample, shape (B,).

Sources: Salimans & Ho 2022 (velocity); Lin et al. 2024 (zero terminal SNR, eq. 1-3, algorithm 1); Xing et al. 2024
(dynamic rescale of ToonCrafter); Karras et al. 2022, table 1 and section 5 (EDM), with the constants of Stable
Video Diffusion (Blattmann et al. 2023, appendix D).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .weighting import Weighting


def _column(values: Tensor, like: Tensor) -> Tensor:
    """Per-sample values (B,) as (B,1,1,...), float32, on the device of `like`."""
    return values.to(device=like.device, dtype=torch.float32).reshape(-1, *[1] * (like.ndim - 1))


def trailing_times(steps: int, schedule: int) -> list[int]:
    """`steps` evenly spaced times of a schedule of length `schedule`, from the last down (Lin et al. 2024, section
    3.3)."""
    # numpy rounds halves to even, as ToonCrafter's reference does.
    return (np.round(np.arange(schedule, 0, -schedule / steps)).astype(int)[:steps] - 1).tolist()


class Process(ABC):
    """The conversion between x0, noise and network output, for one family.

    Every x_t is `alpha(t) x0 + sigma(t) noise`, with x0 the clean latents from `encode`.
    """

    @abstractmethod
    def signal(self, t: Tensor) -> Tensor:
        """The factor of x0 in x_t, shape of `t`, float32."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """The factor of the noise in x_t, shape of `t`, float32."""

    @abstractmethod
    def output(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The training target: the ideal network output at `t` for an x_t of `x0` and `noise`."""

    @abstractmethod
    def x0(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """The clean latents predicted by a network output, at x_t = `noisy`."""

    @abstractmethod
    def noise(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """The noise predicted by a network output, at x_t = `noisy`."""

    @abstractmethod
    def training_times(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Times for `batch` training samples from the family's distribution; shape (batch,), on the CPU."""

    @property
    @abstractmethod
    def last_time(self) -> float:
        """The noisiest time, where sampling starts."""

    @abstractmethod
    def sampling_times(self, steps: int) -> Tensor:
        """`steps` times from `last_time` down, (steps,), on the CPU, without the clean end after them."""

    @abstractmethod
    def output_gain(self, t: Tensor) -> Tensor:
        """Sensitivity of x0 to the network output: |d x0 / d output| at `t`, shape of `t`."""

    def network_input(self, noisy: Tensor, t: Tensor) -> Tensor:
        """x_t scaled for the network input."""
        return noisy

    def network_time(self, t: Tensor) -> Tensor:
        """`t` in the network's parametrization."""
        return t

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t from clean latents and noise, all of one shape (B, ...)."""
        mixed = _column(self.signal(t), x0) * x0.float() + _column(self.sigma(t), x0) * noise.float()
        return mixed.to(x0.dtype)

    def ddim(self, output: Tensor, noisy: Tensor, t: Tensor, following: Tensor) -> Tensor:
        """x at the times `following` (B,), one solver step from x_t = `noisy` (Song et al. 2021, eq. 12, no noise)."""
        return self.add_noise(self.x0(output, noisy, t), self.noise(output, noisy, t), following)

    def renoise(self, x0: Tensor, following: Tensor | None, noise: Tensor | None) -> Tensor:
        """x at the times `following` (B,), one step of consistency sampling (Song et al. 2023, algorithm 1): an
        estimate of x0 with fresh noise; x0 itself if `following` is None."""
        return x0 if following is None or noise is None else self.add_noise(x0, noise, following)

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio of x_t for data of unit variance, shape of `t`."""
        return (self.signal(t) / self.sigma(t)) ** 2

    def loss_weight(self, t: Tensor, weighting: Weighting, gamma: float = 5.0) -> Tensor:
        """The factor on a squared error *of x0* that gives the named loss; shape of `t`.

        `native` is the plain squared error of the network output, `x0` and `noise` those of the named quantity,
        `min-snr` is min(SNR, gamma) (Hang et al. 2023).
        """
        if weighting == "x0":
            return torch.ones_like(self.sigma(t))
        if weighting == "native":
            return self.output_gain(t) ** -2
        if weighting == "noise":
            return self.snr(t)
        return self.snr(t).clamp(max=gamma)


@dataclass(frozen=True)
class VelocityProcess(Process):
    """Zero-terminal-SNR v-prediction with ToonCrafter's dynamic rescale; `t` is an integer in [0, steps).

    Args:
        steps: length of the training schedule.
        beta_start, beta_end: ends of the schedule, linear in the square root.
        base_scale: x0 is multiplied by s_t, which falls linearly from 1 to this over `turning_step` steps, then stays
            constant.
        turning_step: end of the fall; a `base_scale` of 1.0 switches the rescale off.
        data_std: None = the network predicts the velocity, as the released weights do. Otherwise the network is
            preconditioned as in EDM (Karras et al. 2022, section 5) for data of this standard deviation d: its input is
            x_t after the Wiener filter, in units of d, and its output F, of unit variance, gives the velocity
            `skip x_t + gain F`. Where x_t is pure noise, its input is zero, so it need not learn to cancel the noise.
    """

    steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    base_scale: float = 0.7
    turning_step: int = 400
    data_std: float | None = None

    @cached_property
    def betas(self) -> Tensor:
        """The rescaled betas, float64, (steps,)."""
        betas = torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.steps, dtype=torch.float64) ** 2
        root = (1 - betas).cumprod(0).sqrt()
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        alpha_bar = root**2
        return 1 - torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """Cumulative product of 1 - beta, float64, (steps,); the last is exactly 0."""
        return (1 - self.betas).cumprod(0)

    @cached_property
    def scales(self) -> Tensor:
        """The dynamic scale s_t, float64, (steps,)."""
        fall = torch.linspace(1, self.base_scale, self.turning_step, dtype=torch.float64)
        flat = torch.full((self.steps,), self.base_scale, dtype=torch.float64)
        return torch.cat([fall, flat])[: self.steps]

    @cached_property
    def _tables(self) -> dict[tuple[str, torch.device], Tensor]:
        """Cache of float32 tables by name and device, so that no step waits for a transfer."""
        return {}

    def _at(self, name: str, make: Callable[[], Tensor], t: Tensor) -> Tensor:
        key = (name, t.device)
        if key not in self._tables:
            self._tables[key] = make().float().to(t.device)
        return self._tables[key][t.long()]

    def alpha(self, t: Tensor) -> Tensor:
        """sqrt of the cumulative product at `t`: the factor of the *scaled* x0."""
        return self._at("alpha", lambda: self.alphas_cumprod.sqrt(), t)

    def scale(self, t: Tensor) -> Tensor:
        """The dynamic scale s_t at `t`."""
        return self._at("scale", lambda: self.scales, t)

    def signal(self, t: Tensor) -> Tensor:
        return self.alpha(t) * self.scale(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self._at("sigma", lambda: (1 - self.alphas_cumprod).sqrt(), t)

    def network_input(self, noisy: Tensor, t: Tensor) -> Tensor:
        if self.data_std is None:
            return noisy
        wiener = self.alpha(t) * self.scale(t) * self.data_std / self._variance(t)
        return (_column(wiener, noisy) * noisy.float()).to(noisy.dtype)

    def output(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        scaled = _column(self.scale(t), x0) * x0.float()
        alpha, sigma = _column(self.alpha(t), x0), _column(self.sigma(t), x0)
        velocity = alpha * noise.float() - sigma * scaled
        if self.data_std is not None:
            noisy = alpha * scaled + sigma * noise.float()
            velocity = (velocity - _column(self._skip(t), x0) * noisy) / _column(self._gain(t), x0)
        return velocity.to(x0.dtype)

    def x0(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        velocity = self._velocity(output, noisy, t)
        scaled = _column(self.alpha(t), noisy) * noisy.float() - _column(self.sigma(t), noisy) * velocity
        return (scaled / _column(self.scale(t), noisy)).to(noisy.dtype)

    def noise(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        velocity = self._velocity(output, noisy, t)
        mixed = _column(self.alpha(t), noisy) * velocity + _column(self.sigma(t), noisy) * noisy.float()
        return mixed.to(noisy.dtype)

    def _velocity(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """The velocity predicted by a network output, float32."""
        if self.data_std is None:
            return output.float()
        return _column(self._skip(t), noisy) * noisy.float() + _column(self._gain(t), noisy) * output.float()

    def _variance(self, t: Tensor) -> Tensor:
        """The variance of x_t for data of standard deviation `data_std`."""
        return (self.alpha(t) * self.scale(t) * (self.data_std or 0.0)) ** 2 + self.sigma(t) ** 2

    def _skip(self, t: Tensor) -> Tensor:
        """The factor of x_t in the best linear estimate of the velocity."""
        data = (self.scale(t) * (self.data_std or 0.0)) ** 2
        return self.alpha(t) * self.sigma(t) * (1 - data) / self._variance(t)

    def _gain(self, t: Tensor) -> Tensor:
        """The standard deviation of the residual of that estimate."""
        return self.scale(t) * (self.data_std or 0.0) / self._variance(t).sqrt()

    @property
    def last_time(self) -> float:
        return self.steps - 1

    def sampling_times(self, steps: int) -> Tensor:
        return torch.tensor(trailing_times(steps, self.steps))

    def output_gain(self, t: Tensor) -> Tensor:
        gain = self.sigma(t) / self.scale(t)
        return gain if self.data_std is None else gain * self._gain(t)

    def training_times(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randint(0, self.steps, (batch,), generator=generator)


@dataclass(frozen=True)
class EDMProcess(Process):
    """EDM as Stable Video Diffusion uses it (sigma_data = 1, v-preconditioning); `t` is the noise level sigma > 0.

    Args:
        log_mean, log_std: parameters of the normal distribution of ln sigma in training.
        sigma_max, sigma_min: start and end of sampling, before the clean end.
        rho: concentration of sampling times towards the clean end (Karras et al. 2022, eq. 5).
    """

    log_mean: float = 0.7
    log_std: float = 1.6
    sigma_max: float = 700.0
    sigma_min: float = 0.002
    rho: float = 7.0

    def signal(self, t: Tensor) -> Tensor:
        return torch.ones_like(t, dtype=torch.float32)

    def sigma(self, t: Tensor) -> Tensor:
        return t.float()

    def network_input(self, noisy: Tensor, t: Tensor) -> Tensor:
        return (noisy.float() * _column((self.sigma(t) ** 2 + 1) ** -0.5, noisy)).to(noisy.dtype)

    def network_time(self, t: Tensor) -> Tensor:
        return 0.25 * self.sigma(t).log()

    def output(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        # F = (c_skip x_sigma - x0) / -c_out, written without subtracting two large numbers.
        sigma = _column(self.sigma(t), x0)
        return ((noise.float() - sigma * x0.float()) * (sigma**2 + 1) ** -0.5).to(x0.dtype)

    def x0(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        sigma = _column(self.sigma(t), noisy)
        root = (sigma**2 + 1) ** 0.5
        return (noisy.float() / root**2 - output.float() * sigma / root).to(noisy.dtype)

    def noise(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        # (x_sigma - x0) / sigma with x0 substituted: finite for every sigma, no cancellation at small ones.
        sigma = _column(self.sigma(t), noisy)
        root = (sigma**2 + 1) ** 0.5
        return (noisy.float() * sigma / root**2 + output.float() / root).to(noisy.dtype)

    @property
    def last_time(self) -> float:
        return self.sigma_max

    def sampling_times(self, steps: int) -> Tensor:
        high, low = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        times = torch.linspace(high, low, steps, dtype=torch.float64) ** self.rho
        # The ends are exact.
        return torch.cat([times.new_tensor([self.sigma_max]), times[1:]]).float()

    def output_gain(self, t: Tensor) -> Tensor:
        return self.sigma(t) * (self.sigma(t) ** 2 + 1) ** -0.5

    def training_times(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        return (self.log_mean + self.log_std * torch.randn(batch, generator=generator)).exp()
