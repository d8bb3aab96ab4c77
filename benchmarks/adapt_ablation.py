"""Ablation: an objective that treats the model's output as noise, whatever its prediction type, against ours.

    python benchmarks/adapt_ablation.py TRAIN_CLIPS TRIPLETS -o OUT [--model mini] [--recipe RECIPE] [--steps 120]

Trains both adapters and runs `nakawari diagnose latents` on both; draws docs/images/ablation-MODEL-latents.png
(the standard deviation of x_t and x0 over the base's, by step) and docs/images/ablation-MODEL-frames.png, and writes
benchmarks/results/ablation-MODEL.json.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nakawari.data.triplets import open_dataset
from nakawari.evaluation.metrics import psnr
from nakawari.files import atomic_path, read_json, write_json
from nakawari.media import read_frames, write_image
from nakawari.provenance import git_revision, machine, packages

ROOT = Path(__file__).parents[1]
IMAGES, RESULTS = ROOT / "docs" / "images", ROOT / "benchmarks" / "results"
RUNS = ("ours", "answers noise")
COLOURS = {"ours": "#0072B2", "answers noise": "#D55E00"}
STEPS = 25
# Uniform times for both, as in that trainer: mini's own distribution has only the noisiest time.
SHARED = ("--set", "objective.last_time_share=0.0")


def nakawari(*words: Any, may_fail: bool = False) -> None:
    """Run a command line; `diagnose latents` reports a collapse by its exit status."""
    print("nakawari", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "nakawari", *map(str, words)], check=False).returncode
    if done and not (may_fail and done == 1):
        raise SystemExit(done)


def folder_of(output: Path, name: str) -> Path:
    return output / name.replace(" ", "-")


def trained(given: argparse.Namespace) -> dict[str, str]:
    """Name -> variant of each run, trained if missing."""
    variants = {}
    for name in RUNS:
        run = folder_of(given.output, name)
        if name == RUNS[0] and not (run / "summary.json").exists():
            nakawari("adapt", *asked(given), *SHARED, "-o", run)
        elif not (run / "summary.json").exists():
            recipe = folder_of(given.output, RUNS[0]) / "recipe.yaml"
            words = (recipe, "--set", "objective.kind=answer-noise", "-o", run)
            subprocess.run([sys.executable, ROOT / "benchmarks" / "failures" / "train.py", *words], check=True)
        variants[name] = f"{given.model}+{run}"
    return variants


def asked(given: argparse.Namespace) -> tuple[Any, ...]:
    """Model, clips and steps as arguments of `nakawari adapt`."""
    if given.recipe is None:
        return "--data", given.clips, "--model", given.model, "--steps", given.steps
    changes = (f"model.base={given.model}", f"data.sources.0.path={given.clips}", f"optim.steps={given.steps}")
    return given.recipe, *(word for change in changes for word in ("--set", change))


def diagnosed(given: argparse.Namespace, variants: dict[str, str]) -> dict[str, Any]:
    found = {}
    for name, variant in variants.items():
        output = folder_of(given.output, name) / "diagnosis"
        how = ("--data", given.triplets, "--samples", 6, "--steps", STEPS, "-o", output)
        nakawari("diagnose", "latents", variant, *how, may_fail=True)
        found[name] = read_json(output / "latents.json")
    return found


def latents_figure(found: dict[str, Any], model: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(8.6, 3), sharex=True, sharey=True, layout="constrained")
    for axes, quantity in zip(panels, ("x_t", "x0"), strict=True):
        band = found["ours"]["band"]
        axes.axhspan(1 / band, band, color="0.92")
        axes.axhline(1, color="0.5", lw=0.8)
        for name, record in found.items():
            ratios = [np.nan if ratio is None else ratio for ratio in record["ratios"][quantity]]
            axes.plot(range(1, len(ratios) + 1), ratios, color=COLOURS[name], marker=".", label=name)
        axes.set_yscale("log", base=2)
        axes.set_title(f"std of {quantity} over the base's", fontsize=10, loc="left")
        axes.set_xlabel("sampling step")
    panels[0].legend(frameon=False)
    with atomic_path(IMAGES / f"ablation-{model}-latents.png") as path:
        figure.savefig(path, dpi=130, metadata={"Software": None})


def frames_figure(given: argparse.Namespace, variants: dict[str, str]) -> dict[str, list[float]]:
    """One row each for a few triplets: start, end, truth, and every model's middle frame; returns PSNR by model."""
    samples = list(open_dataset(given.triplets))
    chosen = [samples[int(index)] for index in np.linspace(0, len(samples) - 1, 4)]
    scores: dict[str, list[float]] = {name: [] for name in ("base", *variants)}
    rows = []
    for sample in chosen:
        start, truth, end = sample.read()
        row = [start, end, truth]
        for name, variant in {"base": given.model, **variants}.items():
            drawn = drawn_middle(given, name, variant, sample)
            scores[name].append(psnr(drawn, truth))
            row.append(drawn)
        rows.append(np.concatenate([np.pad(frame, ((2, 2), (2, 2), (0, 0)), constant_values=255) for frame in row], 1))
    write_image(IMAGES / f"ablation-{given.model}-frames.png", halved(np.concatenate(rows)))
    return scores


def halved(picture: np.ndarray) -> np.ndarray:
    """Downscale by 2: frames of published shows are quoted small."""
    import cv2

    return cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def drawn_middle(given: argparse.Namespace, name: str, variant: str, sample: Any) -> np.ndarray:
    output = given.output / "frames" / name.replace(" ", "-") / sample.name
    if not output.exists():
        how = ("--between", 1, "--steps", STEPS, "--model", variant)
        nakawari("interpolate", *sample.keys, "-o", output, *how)
    return np.stack(read_frames(output))[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("triplets", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="mini", help="name of a bundled model")
    parser.add_argument("--recipe", type=Path, help="recipe of both adapters; default: that of `nakawari adapt --data`")
    parser.add_argument("--steps", type=int, default=120)
    given = parser.parse_args()
    variants = trained(given)
    found = diagnosed(given, variants)
    latents_figure(found, given.model)
    scores = frames_figure(given, variants)
    kept = ("sentences", "mixture", "ratios", "findings")
    record = {
        "steps": given.steps,
        "sampling_steps": STEPS,
        "diagnosis": {name: {key: record[key] for key in kept} for name, record in found.items()},
        "psnr": {name: float(np.mean(values)) for name, values in scores.items()},
        "machine": machine(),
        "packages": packages(),
        "git": git_revision(),
    }
    write_json(RESULTS / f"ablation-{given.model}.json", record)
    for name, record in found.items():
        print(f"{name}: {' '.join(record['sentences']) or 'no collapse, no explosion'}")
    print({name: round(float(np.mean(values)), 2) for name, values in scores.items()})


if __name__ == "__main__":
    main()
