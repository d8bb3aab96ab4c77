"""Samplers and the objective, tested with an exact network."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nakawari.diffusion import EDMProcess
from nakawari.errors import UsageError
from nakawari.families.framer.names import DEFAULT_STEPS
from nakawari.families.framer.schedulers import SVD_SCHEDULE, make_scheduler

MEAN, DEVIATION = 1.0, 0.5
"""Of the data: every latent is normal with these."""


def exact_denoiser(scaled: Tensor, time: Tensor) -> Tensor:
    """F of the exact posterior mean for normal data, for an input scaled by 1/sqrt(sigma^2+1) and c_noise `time`."""
    sigma = torch.as_tensor(time).double().mul(4).exp()
    # The two factors of a variance-preserving x_t; finite for any sigma, infinity included.
    signal, noise = (1 / (sigma**2 + 1)).sqrt(), (1 / (1 + sigma**-2)).sqrt()
    scaled = scaled.double()
    x0 = (DEVIATION**2 * signal * scaled + noise**2 * MEAN) / (DEVIATION**2 * signal**2 + noise**2)
    return ((signal * scaled - x0) / noise).float()


def exact_consistency(scaled: Tensor, time: Tensor) -> Tensor:
    """F of the exact consistency function: the end of the probability flow from x_sigma."""
    sigma = torch.as_tensor(time).double().mul(4).exp()
    root = (sigma**2 + 1).sqrt()
    scaled = scaled.double()
    x0 = MEAN + DEVIATION * (scaled * root - MEAN) / (DEVIATION**2 + sigma**2).sqrt()
    return ((scaled / root - x0) * root / sigma).float()


def exact_noise(scaled: Tensor, time: Tensor) -> Tensor:
    """The exact posterior mean of the noise: what a network answers that was trained for epsilon."""
    sigma = torch.as_tensor(time).float().mul(4).exp()
    x = scaled * (sigma**2 + 1).sqrt()
    return EDMProcess().noise(exact_denoiser(scaled, time), x, sigma.reshape(1))


def draw(name: str, steps: int, network=exact_denoiser, **options: object) -> Tensor:
    """20,000 samples drawn as the pipeline draws them."""
    generator = torch.Generator().manual_seed(0)
    scheduler = make_scheduler(name, **options)
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    x = torch.randn(1, 20_000, generator=generator) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        output = network(scheduler.scale_model_input(x, timestep), timestep)
        x = scheduler.step(output, timestep, x, generator=generator, return_dict=False)[0]
    return x


@pytest.mark.parametrize(
    ("name", "steps", "network", "options"),
    [
        ("euler", 200, exact_denoiser, {}),
        ("euler", 200, exact_denoiser, {"spacing": "exponential"}),
        ("dpm++", 30, exact_denoiser, {}),
        ("dpm++", 30, exact_denoiser, {"order": 3}),
        ("dpm++", 30, exact_denoiser, {"spacing": "exponential"}),
        ("lcm", 4, exact_consistency, {}),
        ("lcm", 1, exact_consistency, {}),
        ("lcm", 8, exact_consistency, {}),
    ],
)
def test_the_exact_network_samples_the_data(name: str, steps: int, network, options: dict) -> None:
    samples = draw(name, steps, network, **options)
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert samples.std().item() == pytest.approx(DEVIATION, abs=0.03)


def test_usual_steps_keep_most_of_the_spread() -> None:
    for name in ("euler", "dpm++"):
        samples = draw(name, DEFAULT_STEPS[name])
        assert samples.mean().item() == pytest.approx(MEAN, abs=0.02)
        assert samples.std().item() > 0.8 * DEVIATION


def test_the_reference_settings_miss_the_data() -> None:
    wrong_times = draw("dpm++-reference", 15)
    noise_target = draw("euler", 30, exact_noise)
    undistilled = draw("lcm", 4)
    assert abs(wrong_times.mean().item() - MEAN) > 0.3
    assert wrong_times.std().item() > 1.5 * DEVIATION
    assert abs(noise_target.mean().item() - MEAN) > 0.3
    assert noise_target.std().item() < 0.5 * DEVIATION
    assert undistilled.std().item() < 0.8 * DEVIATION


def test_samplers_tell_the_network_a_quarter_of_the_log_of_sigma() -> None:
    for name in ("euler", "dpm++", "lcm"):
        scheduler = make_scheduler(name)
        scheduler.set_timesteps(10)
        expected = 0.25 * scheduler.sigmas[:10].double().log()
        torch.testing.assert_close(scheduler.timesteps.double(), expected, atol=1e-6, rtol=1e-6)
        assert scheduler.sigmas[0].item() == pytest.approx(SVD_SCHEDULE["sigma_max"])
        assert scheduler.sigmas[-1].item() == 0
        assert float(scheduler.init_noise_sigma) == pytest.approx(math.hypot(700, 1))
    reference = make_scheduler("dpm++-reference")
    reference.set_timesteps(10)
    assert reference.timesteps[0] > 500


def test_the_exact_network_has_zero_loss_where_the_data_are_known() -> None:
    """For data without variance the posterior is certain: the objective's target equals the exact output."""
    process, generator = EDMProcess(), torch.Generator().manual_seed(0)
    t = process.training_times(512, generator)
    x0, noise = torch.full((512, 8), MEAN), torch.randn(512, 8, generator=generator)
    noisy = process.add_noise(x0, noise, t)
    target = process.output(x0, noise, t)
    exact = (noisy / (t[:, None] ** 2 + 1) - MEAN) * (t[:, None] ** 2 + 1).sqrt() / t[:, None]
    loss = (exact - target).square().mean()
    assert loss < 1e-4
    assert (exact - noise).square().mean() > 0.3


def test_the_exact_network_has_the_least_loss_that_there_is() -> None:
    """Its squared error of x0 is the posterior variance, at every noise level."""
    process, generator = EDMProcess(), torch.Generator().manual_seed(0)
    for sigma in (0.05, 0.5, 2.0, 30.0):
        t = torch.full((1,), sigma)
        x0 = MEAN + DEVIATION * torch.randn(1, 100_000, generator=generator)
        noisy = process.add_noise(x0, torch.randn(x0.shape, generator=generator), t)
        output = exact_denoiser(process.network_input(noisy, t), process.network_time(t))
        error = (process.x0(output, noisy, t) - x0).square().mean().item()
        assert error == pytest.approx(DEVIATION**2 * sigma**2 / (DEVIATION**2 + sigma**2), rel=0.02)


def test_lcm_keeps_to_the_steps_it_was_distilled_on() -> None:
    scheduler = make_scheduler("lcm")
    with pytest.raises(UsageError, match="give 1 to 40"):
        scheduler.set_timesteps(41)
    with pytest.raises(UsageError, match="give 1 to 40"):
        scheduler.set_timesteps(0)
    scheduler.set_timesteps(40)
    assert scheduler.sigmas[39].item() == pytest.approx(SVD_SCHEDULE["sigma_min"], rel=1e-5)


def test_an_unknown_scheduler_is_named() -> None:
    with pytest.raises(UsageError, match="no scheduler 'ddim'"):
        make_scheduler("ddim")  # type: ignore[arg-type]
