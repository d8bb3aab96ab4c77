"""PSNR of the middle frames against the number of sampling steps, on held-out clips of the training pool.

python benchmarks/steps.py RECIPE MODEL [--set key=value …] [-o benchmarks/results/mini-steps.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages
from nakawari.training.data_sources import held_out_samples
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.pixels import middle_psnr
from nakawari.training.recipe import load_recipe
from nakawari.variants import load

STEPS = (1, 2, 4, 8, 50)


@torch.no_grad()
def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("recipe", type=Path)
    words.add_argument("model")
    words.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    words.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/mini-steps.json"))
    arguments = words.parse_args()
    samples = held_out_samples(load_recipe(arguments.recipe, arguments.set))
    pipeline = load(arguments.model).pipeline
    clips = [sample["frames"][None] for sample in samples]
    scores = {"guide alone": _mean([_guide_alone(pipeline, clip) for clip in clips])}
    for steps in STEPS:
        for guided in (True, False):
            name = f"{steps} steps{'' if guided else ', unguided'}"
            scores[name] = _mean([_drawn(pipeline, clip, steps, guided, i) for i, clip in enumerate(clips)])
            print(f"{name:<24}{scores[name]:.3f} dB   (guide alone {scores['guide alone']:.3f})", flush=True)
    record = {
        "psnr": scores,
        "samples": len(clips),
        "packages": packages(),
        "git": git_revision(),
        "machine": machine(),
    }
    write_json(arguments.output, record)


def _guide_alone(pipeline: object, clip: torch.Tensor) -> torch.Tensor:
    condition = pipeline.condition(clip[:, 0], clip[:, -1], num_frames=clip.shape[1])
    return middle_psnr(condition.guide.blend()[..., : clip.shape[-2], : clip.shape[-1]], clip)


def _drawn(pipeline: object, clip: torch.Tensor, steps: int, guided: bool, index: int) -> torch.Tensor:
    frames = pipeline(
        clip[:, 0],
        clip[:, -1],
        num_frames=clip.shape[1],
        num_inference_steps=steps,
        guided=guided,
        generator=[sample_generator(0, index)],
        output_type="pt",
    ).frames
    return middle_psnr(frames * 2 - 1, clip)


def _mean(values: list[torch.Tensor]) -> float:
    return torch.cat(values).double().mean().item()


if __name__ == "__main__":
    main()
