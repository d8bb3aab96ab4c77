"""Gain of calibration over plain rounding, on held-out clips: static ranges, SmoothQuant, SVD correction.

python benchmarks/quantize_tricks.py CLIPS [--model mini] [-o benchmarks/results/quantize-tricks.json]

Ranges and migration are fitted on clips of one seed and evaluated on those of another. Values are the signal-to-noise
ratio of the denoised latents x0 to the full model's, dB, over all times. Sources: Xiao et al. 2023 (SmoothQuant),
Li et al. 2024 (SVDQuant: a low-rank branch in 16 bits holds the residual of the 4 bits).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nakawari.families.base import InterpolationPipeline
from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages
from nakawari.quantization import formats, kernels
from nakawari.quantization.formats import decode, encode
from nakawari.quantization.layers import pack_layers, packable
from nakawari.quantization.precisions import uniform
from nakawari.quantization.sensitivity import Calibration, Settings, calibrate, error_of, estimates
from nakawari.variants import load

RANKS = (4, 8)
GROUPS = (32, 16, 8)
ALPHAS = (0.3, 0.5)


def by_time(calibration: Calibration) -> list[Calibration]:
    """The same clips at one time each."""
    count = len(calibration.frames)
    starts = range(0, len(calibration.times), count)
    return [
        replace(
            calibration,
            condition=calibration.condition.select(slice(i, i + count)),
            times=calibration.times[i : i + count],
            noisy=calibration.noisy[i : i + count],
        )
        for i in starts
    ]


def channels_of(layer: nn.Module, x: Tensor) -> Tensor:
    """Inputs with channels last, (..., C)."""
    return x if isinstance(layer, nn.Linear) else x.movedim(1, -1)


@contextmanager
def before_layers(denoiser: nn.Module, act: Callable[[str, nn.Module, Tensor], Tensor | None]) -> Iterator[None]:
    """Call `act` on every layer's input inside the block; it may replace it."""

    def hook(name: str) -> Callable[..., Any]:
        def call(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor] | None:
            changed = act(name, layer, inputs[0])
            return None if changed is None else (changed,)

        return call

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in packable(denoiser).items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def ranges(pipeline: InterpolationPipeline, calibrations: list[Calibration]) -> list[dict[str, Tensor]]:
    """For each set of clips: layer -> largest magnitude of each input channel, (C,)."""
    found = []
    for calibration in calibrations:
        largest: dict[str, Tensor] = {}

        def note(name: str, layer: nn.Module, x: Tensor, largest: dict[str, Tensor] = largest) -> None:
            top = channels_of(layer, x).abs().flatten(0, -2).amax(0)
            largest[name] = torch.maximum(largest.get(name, top), top)

        with before_layers(pipeline.denoiser, note):
            estimates(pipeline, calibration)
        found.append(largest)
    return found


@contextmanager
def static(denoiser: nn.Module, limits: dict[str, float]) -> Iterator[None]:
    """Let int8-dynamic layers use fixed ranges inside the block; larger values are clipped."""
    now = [1.0]
    usual = kernels._largest, kernels._rounded

    def note(name: str, layer: nn.Module, x: Tensor) -> None:
        now[0] = limits[name]

    def largest(x: Tensor) -> Tensor:
        return torch.full((len(x), *[1] * (x.ndim - 1)), now[0])

    def rounded(x: Tensor, step: Tensor) -> Tensor:
        return (x * (1 / step)).round_().clamp_(-127, 127).to(torch.int8)

    kernels._largest, kernels._rounded = largest, rounded
    try:
        with before_layers(denoiser, note):
            yield
    finally:
        kernels._largest, kernels._rounded = usual


def limits_of(largest: list[dict[str, Tensor]]) -> dict[str, float]:
    """Layer -> maximum magnitude."""
    return {name: max(max(one[name].max().item(), 1e-20) for one in largest) for name in largest[0]}


def migrated(denoiser: nn.Module, largest: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Migrate part of the inputs' range into the weights, in place; returns the divisors of the inputs."""
    found = {}
    for name, layer in packable(denoiser).items():
        if getattr(layer, "groups", 1) != 1:
            continue
        axes = [axis for axis in range(layer.weight.ndim) if axis != 1]
        weights = layer.weight.detach().abs().amax(axes).clamp_min(1e-8)
        factor = (largest[name].clamp_min(1e-8) ** alpha / weights ** (1 - alpha)).clamp(1e-3, 1e3)
        factor = factor / factor.log().mean().exp()
        layer.weight.data = layer.weight.data * factor.reshape(1, -1, *[1] * (layer.weight.ndim - 2))
        found[name] = factor
    return found


def divide(factors: dict[str, Tensor]) -> Callable[[str, nn.Module, Tensor], Tensor | None]:
    """The `act` of `before_layers` for migrated layers."""

    def act(name: str, layer: nn.Module, x: Tensor) -> Tensor | None:
        if name not in factors:
            return None
        scaled = channels_of(layer, x) / factors[name]
        return scaled if isinstance(layer, nn.Linear) else scaled.movedim(-1, 1)

    return act


def corrected(denoiser: nn.Module, rank: int, group: int) -> float:
    """Replace the weights by int4 weights plus a 16-bit low-rank correction; returns bits per weight."""
    usual, formats.GROUP = formats.GROUP, group
    bits, count = 0.0, 0
    for layer in packable(denoiser).values():
        weight = layer.weight.detach()
        low, extra = torch.zeros_like(weight), 0
        if rank:
            u, s, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
            left, right = (u[:, :rank] * s[:rank]).half().float(), v[:rank].half().float()
            low, extra = (left @ right).reshape(weight.shape), 16 * (left.numel() + right.numel())
        packed = encode(weight - low, "int4")
        layer.weight.data = low + decode(packed["packed"], packed["scale"], weight.shape, weight.dtype)
        bits += formats.stored_bytes(weight.shape, "int4") * 8 + extra
        count += weight.numel()
    formats.GROUP = usual
    return bits / count


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/quantize-tricks.json"))
    words = parser.parse_args()
    pipeline = load(words.model).pipeline
    full = pipeline.unet
    fit, judge = (
        by_time(calibrate(pipeline, Settings(words.count, 3, (64, 96), words.times, seed, words.clips)))
        for seed in (0, 1)
    )
    parents = [estimates(pipeline, calibration) for calibration in judge]
    largest = ranges(pipeline, fit)
    spread = torch.cat(parents).var().item()
    rows: dict[str, dict[str, float]] = {}

    def note(name: str, errors: list[float], **more: float) -> None:
        ratio = spread * len(errors) / sum(errors)
        rows[name] = {"x0_snr": 10 * torch.tensor(ratio).log10().item(), **more}
        print(f"{name:<44}{rows[name]['x0_snr']:8.2f} dB  {more}", flush=True)

    def errors(act: Callable[..., Any] | None = None) -> list[float]:
        found = []
        for calibration, parent in zip(judge, parents, strict=True):
            with before_layers(pipeline.denoiser, act or (lambda *_: None)):
                found.append(error_of(estimates(pipeline, calibration), parent))
        return found

    def packed(precision: str) -> nn.Module:
        pipeline.unet = deepcopy(full)
        pack_layers(pipeline.unet, uniform(pipeline.unet, precision))
        return pipeline.unet

    packed("int8")
    note("int8, weights alone", errors())
    denoiser = packed("int8-dynamic")
    note("int8-dynamic", errors())
    with static(denoiser, limits_of(largest)):
        note("int8, static ranges", errors())
    found = []
    for calibration, parent, one in zip(judge, parents, largest, strict=True):
        with static(denoiser, limits_of([one])):
            found.append(error_of(estimates(pipeline, calibration), parent))
    note("int8, static ranges per time", found)
    overall = {name: torch.stack([one[name] for one in largest]).amax(0) for name in largest[0]}
    for alpha in ALPHAS:
        for precision in ("int8-dynamic", "int4"):
            pipeline.unet = deepcopy(full)
            factors = migrated(pipeline.unet, overall, alpha)
            pack_layers(pipeline.unet, uniform(pipeline.unet, precision))
            note(f"{precision}, SmoothQuant {alpha}", errors(divide(factors)))
    for rank, group in [(0, group) for group in GROUPS] + [(rank, 32) for rank in RANKS]:
        pipeline.unet = deepcopy(full)
        bits = corrected(pipeline.unet, rank, group)
        note(f"int4, {group} weights a scale" + (f", SVD of rank {rank}" if rank else ""), errors(), bits=bits)
    record = {"rows": rows, "packages": packages(), "git": git_revision(), "machine": machine()}
    write_json(words.output, record)


if __name__ == "__main__":
    main()
