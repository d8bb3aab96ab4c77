"""Every command on a CUDA GPU, with tiny models of both families."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import Result

from nakawari.media import read_frames, read_image
from nakawari.variants import load

Cli = Callable[..., Result]
MODELS = ("plain", "mini", "towers", "framer")
LEVELS = 2
"""Of 255, between what a GPU and a CPU draw in float32: sums in another order, then rounding."""
pytestmark = pytest.mark.gpu


def drawn(cli: Cli, pictures: list[Path], output: Path, *words: Any) -> np.ndarray:
    """Five frames from the command, (5, H, W, 3)."""
    result = cli("interpolate", *pictures, "-o", output, "--between", 3, "--steps", 2, "--format", "png", *words)
    assert result.exit_code == 0, result.stderr
    return np.stack(read_frames(output))


@pytest.mark.parametrize("model", MODELS)
def test_it_draws_what_a_cpu_draws(
    cli: Cli, device: str, models: dict[str, Path], pictures: list[Path], tmp_path: Path, model: str
) -> None:
    words = ("--model", models[model])
    here = drawn(cli, pictures, tmp_path / "here", *words, "--device", device)
    there = drawn(cli, pictures, tmp_path / "there", *words, "--device", "cpu")
    for key, place in zip(pictures, (0, -1), strict=True):
        assert np.array_equal(here[place], read_image(key))
    assert np.abs(here.astype(int) - there).max() <= LEVELS
    again = drawn(cli, pictures, tmp_path / "again", *words, "--device", device)
    assert np.abs(here.astype(int) - again).max() <= 1


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "int8-dynamic", "fp8", "fp8-dynamic", "int4"])
@pytest.mark.parametrize("model", ["mini", "towers", "framer"])
def test_every_precision_draws(
    cli: Cli, device: str, models: dict[str, Path], pictures: list[Path], tmp_path: Path, model: str, precision: str
) -> None:
    words = ("--device", device, "--model")
    exact = drawn(cli, pictures, tmp_path / "exact", *words, models[model])
    rounded = drawn(cli, pictures, tmp_path / "rounded", *words, f"{models[model]}:{precision}")
    assert np.abs(exact.astype(int) - rounded).mean() < 12
    assert not np.array_equal(exact, rounded)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("how", ["model", "sequential"])
def test_offload_draws_the_same(device: str, models: dict[str, Path], model: str, how: str) -> None:
    def latents(pipeline: Any) -> torch.Tensor:
        keys = [torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
        options = {"num_frames": 5, "num_inference_steps": 2, "output_type": "latent"}
        return pipeline(*keys, **options, generator=[torch.Generator().manual_seed(0)]).frames.cpu()

    whole = latents(load(str(models[model]), device).pipeline)
    pipeline = load(str(models[model]), "cpu").pipeline
    getattr(pipeline, f"enable_{how}_cpu_offload")()
    torch.testing.assert_close(latents(pipeline), whole, atol=1e-4, rtol=1e-4)


def trained(cli: Cli, command: str, model: Path, clips: Path, run: Path, steps: int, *words: Any) -> list[float]:
    """Losses of a short run."""
    small = ["--batch", 2, "--size", "32x32", "--frames", 3, "--steps", steps, "--set", "optim.ema=0"]
    small += ["--set", "objective.pixel.perceptual=none", "--set", "workers=0"]
    named = ["--teacher" if command == "distill" else "--model", model]
    result = cli(command, "--data", clips, *named, *small, "-o", run, *words)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("model", ["mini", "towers", "framer"])
def test_adapt_resume_and_draw(
    cli: Cli, device: str, models: dict[str, Path], clips: Path, pictures: list[Path], tmp_path: Path, model: str
) -> None:
    target = "attention" if model == "framer" else "linear-and-convolution"
    words = ["--rank", 2, "--lr", 0.05, "--target", target, "--windows", 0, "--set", "checkpoint.every=2"]
    whole = trained(cli, "adapt", models[model], clips, tmp_path / "whole", 4, *words)
    short = trained(cli, "adapt", models[model], clips, tmp_path / "run", 2, *words, "--set", "optim.schedule=constant")
    assert len(whole) == 4 and len(short) == 2 and all(np.isfinite([*whole, *short]))
    resumed = trained(
        cli, "adapt", models[model], clips, tmp_path / "run", 4, *words, "--set", "optim.schedule=constant", "--resume"
    )
    assert resumed[:2] == short and len(resumed) == 4
    plain = drawn(cli, pictures, tmp_path / "plain", "--device", device, "--model", models[model])
    adapted = drawn(
        cli, pictures, tmp_path / "adapted", "--device", device, "--model", models[model], "--adapter", tmp_path / "run"
    )
    assert not np.array_equal(plain, adapted)


def test_distill_and_draw(
    cli: Cli, device: str, models: dict[str, Path], clips: Path, pictures: list[Path], tmp_path: Path
) -> None:
    words = ["--windows", 0, "--set", "objective.teacher_sampling.steps=1", "--set", "data.distinct=2"]
    words += ["--set", f"objective.cache={tmp_path / 'drawings'}"]
    losses = trained(cli, "distill", models["mini"], clips, tmp_path / "run", 2, *words)
    assert len(losses) == 2 and all(np.isfinite(losses))
    assert len(drawn(cli, pictures, tmp_path / "drawn", "--device", device, "--model", tmp_path / "run")) == 5


@pytest.mark.parametrize("model", ["mini", "framer"])
def test_evaluate_with_cost(
    cli: Cli, device: str, models: dict[str, Path], triplets: Path, tmp_path: Path, model: str
) -> None:
    (tmp_path / "tiny.yaml").write_text("name: tiny\nwidth: 48\nheight: 32\nsteps: 2\nmetrics: [psnr, ssim]\n")
    words = ["--data", triplets, "--protocol", tmp_path / "tiny.yaml", "--device", device, "--json"]
    result = cli("evaluate", models[model], *words, "-o", tmp_path / "out", "--no-floors")
    assert result.exit_code == 0, result.stderr
    cost = json.loads(result.stdout)["entries"][0]["cost"]
    assert cost["ms_per_frame"]["median"] > 0
    if device == "cuda":
        assert cost["memory"]["reserved"] >= cost["memory"]["allocated"] > 0


@pytest.mark.parametrize("model", ["towers", "framer"])
def test_compiled_networks_draw_the_same(device: str, models: dict[str, Path], model: str) -> None:
    pipeline = load(str(models[model]), device).pipeline
    keys = [torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]

    def latents() -> torch.Tensor:
        options = {"num_frames": 5, "num_inference_steps": 2, "output_type": "latent"}
        return pipeline(*keys, **options, generator=[torch.Generator().manual_seed(0)]).frames.cpu()

    plain = latents()
    pipeline.denoiser.compile(backend="inductor" if device == "cuda" else "eager", fullgraph=True)
    torch.testing.assert_close(latents(), plain, atol=2e-3, rtol=1e-3)
