"""Diffusion processes: every conversion against its inverse, and the terminal step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nakawari.diffusion import EDMProcess, Process, VelocityProcess

PROCESSES = [
    VelocityProcess(),
    VelocityProcess(base_scale=1.0),
    VelocityProcess(data_std=0.2),
    VelocityProcess(base_scale=1.0, data_std=0.03),
    EDMProcess(),
]
NAMES = ["velocity", "velocity-unscaled", "preconditioned", "preconditioned-unscaled", "edm"]
TOLERANCE = {torch.float32: 2e-4, torch.bfloat16: 5e-2}


def _time(process: Process, position: float) -> Tensor:
    if isinstance(process, VelocityProcess):
        return torch.tensor([round(position * (process.steps - 1))])
    return torch.tensor([10 ** (6 * position - 3)])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["fp32", "bf16"])
@pytest.mark.parametrize("process", PROCESSES, ids=NAMES)
@given(position=st.floats(0, 1), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_x0_and_noise_come_back_from_the_output(
    process: Process, dtype: torch.dtype, position: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, 1, 64, generator=generator)
    # A preconditioned network answers at unit variance for data of its own deviation.
    x0, noise = (x0 * (getattr(process, "data_std", None) or 1.0)).to(dtype), noise.to(dtype)
    t = _time(process, position)
    noisy, output = process.add_noise(x0, noise, t), process.output(x0, noise, t)
    # How much a rounding of x_t and of the output weighs in the answer.
    tolerance = TOLERANCE[dtype] * max(1.0, float(process.output_gain(t)))
    assert (process.x0(output, noisy, t).float() - x0.float()).abs().max() <= tolerance * (1 + noisy.abs().max())
    assert (process.noise(output, noisy, t).float() - noise.float()).abs().max() <= TOLERANCE[dtype] * (
        1 + noisy.abs().max() / max(1.0, float(process.sigma(t)))
    ) * max(1.0, float(process.signal(t)))


@pytest.mark.parametrize("process", PROCESSES, ids=NAMES)
@given(position=st.floats(0, 1), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_any_output_stands_for_an_x0_and_noise_that_make_x_t(process: Process, position: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    noisy, output = torch.randn(2, 1, 64, generator=generator)
    t = _time(process, position)
    noisy = noisy * float((process.signal(t) ** 2 + process.sigma(t) ** 2).sqrt())
    x0, noise = process.x0(output, noisy, t), process.noise(output, noisy, t)
    assert torch.allclose(process.add_noise(x0, noise, t), noisy, rtol=1e-4, atol=1e-4)
    assert torch.allclose(process.output(x0, noise, t), output, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["fp32", "bf16"])
def test_the_terminal_step_is_pure_noise_and_still_gives_x0(dtype: torch.dtype) -> None:
    process, t = VelocityProcess(), torch.tensor([999])
    assert process.alphas_cumprod[-1] == 0
    x0, noise = torch.randn(2, 1, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    noisy, output = process.add_noise(x0, noise, t), process.output(x0, noise, t)
    assert torch.equal(noisy, noise)
    precision = torch.finfo(dtype).eps
    assert torch.allclose(process.x0(output, noisy, t), x0, rtol=2 * precision, atol=2 * precision)
    assert torch.equal(process.noise(output, noisy, t), noise)


@pytest.mark.parametrize("process", PROCESSES, ids=NAMES)
def test_loss_weights_are_the_named_losses(process: Process) -> None:
    t = _time(process, 0.4)
    x0, noise, off = torch.randn(3, 1, 4096, generator=torch.Generator().manual_seed(1))
    noisy, truth = process.add_noise(x0, noise, t), process.output(x0, noise, t)
    output = truth + 0.1 * off
    error = (process.x0(output, noisy, t) - x0).square().mean()
    native = (output - truth).square().mean()
    in_noise = (process.noise(output, noisy, t) - noise).square().mean()
    assert torch.allclose(process.loss_weight(t, "native") * error, native, rtol=1e-3)
    assert torch.allclose(process.loss_weight(t, "noise") * error, in_noise, rtol=1e-3)
    assert process.loss_weight(t, "x0") == 1
    assert process.loss_weight(t, "min-snr") == min(float(process.snr(t)), 5.0)


def test_training_times_follow_the_family() -> None:
    generator = torch.Generator().manual_seed(0)
    uniform = VelocityProcess().training_times(20000, generator)
    assert uniform.min() == 0
    assert uniform.max() == 999
    assert abs(uniform.float().mean() - 499.5) < 5
    logs = EDMProcess().training_times(20000, generator).log()
    assert abs(logs.mean() - 0.7) < 0.05
    assert abs(logs.std() - 1.6) < 0.05


def test_edm_network_inputs_are_those_of_stable_video_diffusion() -> None:
    process, sigma = EDMProcess(), torch.tensor([3.0])
    assert torch.allclose(process.network_time(sigma), 0.25 * torch.log(sigma))
    assert torch.allclose(process.network_input(torch.ones(1, 2), sigma), torch.full((1, 2), 10**-0.5))
    # x0 = x / (sigma^2 + 1) - F sigma / sqrt(sigma^2 + 1)
    x, output = torch.tensor([[2.0]]), torch.tensor([[0.5]])
    assert torch.allclose(process.x0(output, x, sigma), x / 10 - output * 3 / 10**0.5)


@pytest.mark.parametrize("std", [0.03, 0.5])
def test_a_preconditioned_network_answers_at_unit_variance_and_sees_no_pure_noise(std: float) -> None:
    process = VelocityProcess(base_scale=1.0, data_std=std)
    x0, noise = torch.randn(2, 1, 200_000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[[std]], [[1]]])
    for time in (0, 200, 700, 999):
        t = torch.tensor([time])
        seen = process.network_input(process.add_noise(x0, noise, t), t)
        assert process.output(x0, noise, t).std().item() == pytest.approx(1, rel=0.01)
        # The Wiener filter keeps the share of the variance that is signal.
        kept = (process.signal(t) * std) ** 2 / ((process.signal(t) * std) ** 2 + process.sigma(t) ** 2)
        assert seen.var().item() == pytest.approx(kept.item(), rel=0.02, abs=1e-12)
    assert torch.equal(seen, torch.zeros_like(seen))


def test_silence_of_a_preconditioned_network_is_the_best_linear_guess() -> None:
    process, t = VelocityProcess(base_scale=1.0, data_std=0.3), torch.tensor([300])
    x0, noise = torch.randn(2, 1, 200_000, generator=torch.Generator().manual_seed(1)) * torch.tensor([[[0.3]], [[1]]])
    noisy = process.add_noise(x0, noise, t)
    guess = process.x0(torch.zeros_like(noisy), noisy, t)
    assert torch.allclose(guess, noisy * ((x0 * noisy).mean() / noisy.square().mean()), atol=2e-2)
