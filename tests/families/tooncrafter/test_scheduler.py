"""DDIM: finite everywhere, exact with an exact network, correct last step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nakawari.diffusion import VelocityProcess
from nakawari.families.tooncrafter.scheduler import SPACINGS, ToonCrafterScheduler, spaced_timesteps


def _sample(scheduler: ToonCrafterScheduler, x0: Tensor, steps: int, spacing: str, eta: float) -> Tensor:
    """Sampling with a network that knows x0."""
    generator = torch.Generator().manual_seed(0)
    scheduler.set_timesteps(steps, spacing=spacing)
    x = torch.randn(x0.shape, generator=generator)
    for time in scheduler.timesteps.tolist():
        t = torch.full((len(x0),), time)
        alpha, sigma = scheduler.process.signal(t), scheduler.process.sigma(t)
        noise = (x - alpha.view(-1, 1, 1, 1, 1) * x0) / sigma.view(-1, 1, 1, 1, 1)
        fresh = torch.randn(x0.shape, generator=generator) if eta else None
        x = scheduler.step(scheduler.process.output(x0, noise, t), time, x, eta, fresh).prev_sample
        assert torch.isfinite(x).all(), f"not finite at time {time}"
    return x


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_finite_at_every_number_of_steps(spacing: str, eta: float) -> None:
    x0 = torch.randn(1, 2, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    scheduler = ToonCrafterScheduler()
    for steps in range(1, 61):
        _sample(scheduler, x0, steps, spacing, eta)


def test_ends_at_x0_with_alpha_one() -> None:
    x0 = torch.randn(1, 2, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    scheduler = ToonCrafterScheduler(base_scale=1.0, set_alpha_to_one=True)
    for steps in (1, 2, 4, 25):
        assert torch.allclose(_sample(scheduler, x0, steps, "trailing", 0.0), x0, atol=1e-4)


def test_ends_as_the_reference_otherwise() -> None:
    x0 = torch.ones(1, 2, 2, 2, 2)
    scheduler = ToonCrafterScheduler()
    x = _sample(scheduler, x0, 50, "trailing", 0.0)
    last = scheduler.process.scales[int(scheduler.timesteps[-1])]
    assert abs(float(x.mean()) - float(last)) < 0.05


def test_trailing_begins_at_the_last_time_and_keeps_the_count() -> None:
    for steps in range(1, 61):
        times = spaced_timesteps(steps, "trailing")
        assert len(times) == steps
        assert times[0] == 999
        assert times == sorted(set(times), reverse=True)


def test_uniform_leaves_out_the_time_that_breaks_the_reference() -> None:
    for steps in (3, 9, 27, 36, 37):
        assert max(spaced_timesteps(steps, "uniform")) < 1000


@pytest.mark.parametrize(("steps", "spacing"), [(0, "trailing"), (1001, "trailing"), (5, "quad")])
def test_refuses(steps: int, spacing: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        spaced_timesteps(steps, spacing)


def test_eta_needs_noise() -> None:
    scheduler = ToonCrafterScheduler()
    scheduler.set_timesteps(2)
    with pytest.raises(ValueError, match="noise"):
        scheduler.step(torch.zeros(1, 1), 999, torch.zeros(1, 1), eta=1.0)


def test_configuration_survives_saving(tmp_path: str) -> None:
    ToonCrafterScheduler(base_scale=1.0, set_alpha_to_one=True).save_pretrained(tmp_path)
    loaded = ToonCrafterScheduler.from_pretrained(tmp_path)
    assert loaded.config.set_alpha_to_one
    assert loaded.process.base_scale == 1.0


MEAN, DEVIATION = 0.6, 0.5
"""Of normal data, whose consistency function is known: as many deviations from the mean at the end as at x_t."""
SCHEDULES = [{}, {"base_scale": 1.0}, {"base_scale": 1.0, "data_std": 0.5}]


def _exact_consistency(process: VelocityProcess, x: Tensor, t: Tensor) -> Tensor:
    a, s = process.signal(t)[:, None], process.sigma(t)[:, None]
    return MEAN + DEVIATION * (x - a * MEAN) / (a**2 * DEVIATION**2 + s**2).sqrt()


def _draw_normal(steps: int, sampler: str | None, schedule: dict[str, float]) -> tuple[Tensor, Tensor]:
    """20,000 values sampled with the exact consistency function, and their initial noise."""
    generator = torch.Generator().manual_seed(0)
    scheduler = ToonCrafterScheduler(**schedule)
    scheduler.set_timesteps(steps, sampler=sampler)
    process, x = scheduler.process, torch.randn(1, 20_000, generator=generator)
    start = x.clone()
    for time in scheduler.timesteps.tolist():
        t = torch.full((1,), time)
        x0 = _exact_consistency(process, x, t)
        output = process.output(x0, (x - process.signal(t)[:, None] * x0) / process.sigma(t)[:, None], t)
        noise = torch.randn(x.shape, generator=generator) if scheduler.wants_noise(time, 0.0) else None
        x = scheduler.step(output, time, x, 0.0, noise).prev_sample
    return x, start


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_the_consistency_sampler_draws_the_data_in_any_number_of_steps(steps: int, schedule: dict) -> None:
    drawn, _ = _draw_normal(steps, "consistency", schedule)
    assert drawn.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert drawn.std().item() == pytest.approx(DEVIATION, abs=0.02)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_one_step_of_it_is_the_exact_solution(schedule: dict) -> None:
    drawn, start = _draw_normal(1, "consistency", schedule)
    # At the last time x_t is the noise alone, and its flow ends as far from the mean as it began.
    assert torch.allclose(drawn, MEAN + DEVIATION * start, atol=1e-4)


def test_ddim_is_the_default_and_no_sampler_for_a_consistency_function() -> None:
    drawn, _ = _draw_normal(4, None, SCHEDULES[1])
    assert abs(drawn.std().item() - DEVIATION) > 0.05


def test_the_times_of_few_steps_are_times_of_the_grid_that_a_student_learns_on() -> None:
    path = VelocityProcess().sampling_times(40).tolist()
    for steps in (1, 2, 4, 8):
        assert set(spaced_timesteps(steps, "trailing")) <= set(path)


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(ValueError, match="sampler must be one of ddim, consistency"):
        ToonCrafterScheduler().set_timesteps(4, sampler="euler")  # type: ignore[arg-type]


def test_consistency_needs_noise_but_for_the_last_step() -> None:
    scheduler = ToonCrafterScheduler()
    scheduler.set_timesteps(2, sampler="consistency")
    with pytest.raises(ValueError, match="consistency sampler with eta 0 needs its noise"):
        scheduler.step(torch.zeros(1, 1), 999, torch.zeros(1, 1))
    scheduler.step(torch.zeros(1, 1), 499, torch.zeros(1, 1))
