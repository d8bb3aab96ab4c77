"""Error of each Framer sampler with an exact network, and with the fork's settings.

python benchmarks/framer_oracle.py [-o benchmarks/results/framer-oracle.json]

The data are normal with mean 1 and variance 0.25, so the exact network output is known in closed form for every
noise level (Karras et al. 2022, appendix B.3). Mean and variance of 200,000 samples each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nakawari.diffusion import EDMProcess
from nakawari.families.framer.schedulers import make_scheduler
from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages

MEAN, DEVIATION, SAMPLES = 1.0, 0.5, 200_000
Network = Callable[[Tensor, Tensor], Tensor]


def exact(scaled: Tensor, time: Tensor) -> Tensor:
    """F of the posterior mean, for x_t / sqrt(sigma^2 + 1) and c_noise = ln(sigma) / 4."""
    sigma = torch.as_tensor(time).double().mul(4).exp()
    # The two factors of a variance-preserving x_t; finite for any sigma, infinity included.
    signal, noise = (1 / (sigma**2 + 1)).sqrt(), (1 / (1 + sigma**-2)).sqrt()
    scaled = scaled.double()
    x0 = (DEVIATION**2 * signal * scaled + noise**2 * MEAN) / (DEVIATION**2 * signal**2 + noise**2)
    return ((signal * scaled - x0) / noise).float()


def consistent(scaled: Tensor, time: Tensor) -> Tensor:
    """F of the consistency function, the limit of consistency distillation."""
    sigma = torch.as_tensor(time).double().mul(4).exp()
    root = (sigma**2 + 1).sqrt()
    scaled = scaled.double()
    x0 = MEAN + DEVIATION * (scaled * root - MEAN) / (DEVIATION**2 + sigma**2).sqrt()
    return ((scaled / root - x0) * root / sigma).float()


def noise(scaled: Tensor, time: Tensor) -> Tensor:
    """The posterior mean of the noise, which the fork's loss trains the network to predict."""
    sigma = torch.as_tensor(time).float().mul(4).exp()
    return EDMProcess().noise(exact(scaled, time), scaled * (sigma**2 + 1).sqrt(), sigma.reshape(1))


ROWS: tuple[tuple[str, str, int, Network], ...] = (
    ("Euler", "euler", 30, exact),
    ("Euler", "euler", 200, exact),
    ("DPM++", "dpm++", 15, exact),
    ("DPM++", "dpm++", 30, exact),
    ("LCM, consistency distilled", "lcm", 4, consistent),
    ("LCM, not distilled (the fork's turbo mode)", "lcm", 4, exact),
    ("DPM++ with the fork's integer times", "dpm++-reference", 15, exact),
    ("Euler, network trained on the noise (the fork's loss)", "euler", 30, noise),
)


def draw(name: str, steps: int, network: Network) -> Tensor:
    """Samples drawn with the pipeline's scheduler."""
    generator = torch.Generator().manual_seed(0)
    scheduler = make_scheduler(name)  # type: ignore[arg-type]
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    x = torch.randn(1, SAMPLES, generator=generator) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        output = network(scheduler.scale_model_input(x, timestep), timestep)
        x = scheduler.step(output, timestep, x, generator=generator, return_dict=False)[0]
    return x


def loss(network: Network) -> tuple[float, float]:
    """Mean squared error of x0 in nakawari's objective, and its minimum (the posterior variance)."""
    process, generator = EDMProcess(), torch.Generator().manual_seed(0)
    t = process.training_times(2_000, generator)
    x0 = MEAN + DEVIATION * torch.randn(2_000, 50, generator=generator)
    noisy = process.add_noise(x0, torch.randn(x0.shape, generator=generator), t)
    sigma = t[:, None]
    scaled, time = noisy / (sigma**2 + 1).sqrt(), sigma.log() / 4
    error = (process.x0(_rows(network, scaled, time), noisy, t) - x0).square().mean().item()
    least = (DEVIATION**2 * t**2 / (DEVIATION**2 + t**2)).mean().item()
    return error, least


def _rows(network: Network, scaled: Tensor, time: Tensor) -> Tensor:
    return torch.cat([network(row[None], when) for row, when in zip(scaled, time, strict=True)])


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/framer-oracle.json"))
    arguments = words.parse_args()
    print("| sampler and network | steps | mean | variance |\n| --- | --- | --- | --- |")
    print(f"| the data | | {MEAN:.3f} | {DEVIATION**2:.3f} |")
    found = []
    for label, name, steps, network in ROWS:
        x = draw(name, steps, network)
        mean, variance = x.mean().item(), x.var().item()
        found.append({"row": label, "scheduler": name, "steps": steps, "mean": mean, "variance": variance})
        print(f"| {label} | {steps} | {mean:.3f} | {variance:.3f} |")
    losses = {
        label: dict(zip(("error", "least"), loss(own), strict=True))
        for label, own in (("exact", exact), ("noise", noise))
    }
    for label, own in losses.items():
        print(f"error of x0, network {label}: {own['error']:.4f}, least {own['least']:.4f}")
    about = {"machine": machine(), "packages": packages(), "git": git_revision()}
    write_json(arguments.output, {"samplers": found, "loss": losses, **about})


if __name__ == "__main__":
    main()
