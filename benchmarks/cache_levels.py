"""Savings and cost of cache levels: FLOPs of a full-size clip, and PSNR to sampling without a cache.

    python benchmarks/cache_levels.py [--scenes 4] [--steps 30] [--tooncrafter FOLDER]

Operations are counted by torch on the meta device, for both families at their published size. Fidelity is the PSNR of
the frames that the trained `framer-tiny` draws with a level to those that it draws without, from the
same keys, tracks and seeds; the scenes are synthetic and were not trained on. `--tooncrafter` measures a small
ToonCrafter as well. The table `CHANGE` of `families/cache.py`, the rate of change of features, is from other scenes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from gpu_parts import models
from gpu_parts.session import Settings
from nakawari.data.drag_scenes import DragSamples
from nakawari.families.base import Condition, InterpolationPipeline
from nakawari.families.cache import LEVELS, CacheLevel
from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages
from nakawari.variants import load

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "cache-levels.json"
FIGURE = ROOT / "docs" / "images" / "cache-levels.png"
SEED, SIZE, GUIDANCE = 91_000, (128, 192), 2.0
TRIED = {
    f"{share:.0%}, depth {depth}": CacheLevel(share, depth)
    for share, depth in ((0.33, 1), (0.54, 1), (0.2, 2), (0.33, 2))
}
"""Further levels beside the named ones."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--scenes", type=int, default=4)
    words.add_argument("--steps", type=int, default=30)
    words.add_argument("--tooncrafter", type=Path, help="folder of a small trained ToonCrafter")
    words.add_argument("-o", "--output", type=Path, default=RESULT)
    words.add_argument("--figure", type=Path, default=FIGURE)
    given = words.parse_args()
    levels = {name: level for name, level in (LEVELS | TRIED).items() if level is not None}
    counted = {family: operations(family, levels) for family in models.FAMILIES}
    for family, found in counted.items():
        for name, row in found["levels"].items():
            print(f"{family:<12}{name:<20}{row['tflop']:>9.1f} TFLOP  {row['times_fewer']:.2f} times fewer", flush=True)
    settings = {"scenes": given.scenes, "steps": given.steps, "seed": SEED, "size": SIZE, "guidance": GUIDANCE}
    fidelity = {"framer": {"model": "framer-tiny", "psnr": framer_psnr(levels, given.scenes, given.steps)}}
    if given.tooncrafter is not None:
        fidelity["tooncrafter"] = {
            "model": "a small ToonCrafter",
            **tooncrafter_psnr(given.tooncrafter, levels, given.scenes),
        }
    record = {"settings": settings, "levels": {name: asdict(level) for name, level in levels.items()}}
    record |= {"operations": counted, "fidelity": fidelity, "change": changes(given.steps)}
    write_json(given.output, record | {"packages": packages(), "git": git_revision(), "machine": machine()})
    figure(record, given.figure)


def operations(family: str, levels: Mapping[str, CacheLevel], settings: Settings | None = None) -> dict[str, Any]:
    """TFLOP of a guided clip by part, without a cache and with each level; a multiply-add counts as two."""
    settings = settings or Settings(device="meta")
    pipe = models.shapes_only(settings, family)
    frames, steps = models.clip_shape(settings, family)[0], models.STEPS[family]
    keys = models.keys(settings, family)
    control = [models.tracks(settings)] if family == "framer" else None
    generator = [torch.Generator().manual_seed(0)]
    parts = {}
    with FlopCounterMode(display=False) as counter:
        told = pipe.condition(*keys, num_frames=frames, control=control, generator=generator)
    parts["condition"] = counter.get_total_flops() / 1e12
    both = models.both_branches(pipe, told)
    with FlopCounterMode(display=False) as counter:
        pipe.decode(models.noise(pipe, told), told)
    parts["decoder, once"] = counter.get_total_flops() / 1e12
    whole = _evaluation(pipe, both, 0, None)[0]
    parts["denoiser, all steps"] = steps * whole
    shallow = {}
    for depth in {level.depth for level in levels.values()}:
        shallow[depth] = _evaluation(pipe, both, depth, _evaluation(pipe, both, depth, None)[1])[0]
    found = {}
    for name, level in levels.items():
        count = level.count(steps)
        spent = count * whole + (steps - count) * shallow[level.depth]
        found[name] = {"tflop": spent, "times_fewer": parts["denoiser, all steps"] / spent}
    return {"steps": steps, "parts": parts, "levels": found}


@torch.no_grad()
def _evaluation(pipe: InterpolationPipeline, told: Condition, depth: int, deep: Any) -> tuple[float, Any]:
    """TFLOP of one evaluation, and the features it caches."""
    x = models.noise(pipe, told)
    with FlopCounterMode(display=False) as counter:
        if pipe.family == "framer":
            time = torch.tensor(0.25, device=x.device)
            _, kept = pipe.network(x, time, told, branches=told.batch, depth=depth, deep=deep)
        else:
            times = torch.full((len(x),), 500, device=x.device)
            _, kept = pipe.denoise_in_part(x, times, told, depth, deep) if depth else (pipe.denoise(x, times, told), ())
    return counter.get_total_flops() / 1e12, kept


Draw = Callable[[CacheLevel | None], np.ndarray]


def psnr_by_level(drawn: Draw, levels: Mapping[str, CacheLevel]) -> dict[str, dict[str, float]]:
    """Mean and minimum PSNR over the scenes, of the in-betweens (B, F, H, W, 3) against those drawn without a cache."""
    whole, found = drawn(None), {}
    for name, level in levels.items():
        each = -10 * np.log10(((drawn(level) - whole) ** 2).reshape(len(whole), -1).mean(axis=1))
        found[name] = {"mean": float(each.mean()), "least": float(each.min())}
        print(f"{name:<20}{found[name]['mean']:7.2f} dB, least {found[name]['least']:.2f}", flush=True)
    return found


def framer_call(count: int, steps: int, seed: int) -> tuple[InterpolationPipeline, Callable[..., np.ndarray]]:
    """`framer-tiny`, and its call on scenes with seeds from `seed` on."""
    pipeline = load("framer-tiny:fp32").pipeline
    pipeline.set_progress_bar_config(disable=True)
    samples = DragSamples([3], SIZE, 1, seed)
    scenes = [samples.scene(index) for index in range(count)]
    keys = [np.stack(one) for one in zip(*(scene.render([0.0, 1.0]) for scene in scenes), strict=True)]
    tracks = [scene.track([0.0, 0.5, 1.0])[:, None] for scene in scenes]
    told = {"num_frames": 3, "num_inference_steps": steps, "guidance_scale": GUIDANCE, "tracks": tracks}

    def call(level: CacheLevel | None) -> np.ndarray:
        generators = [torch.Generator().manual_seed(seed + index) for index in range(count)]
        return pipeline(*keys, generator=generators, cache=level, output_type="np", **told).frames[:, 1:-1]

    return pipeline, call


def framer_psnr(levels: Mapping[str, CacheLevel], count: int, steps: int) -> dict[str, dict[str, float]]:
    """Of `framer-tiny`."""
    return psnr_by_level(framer_call(count, steps, SEED)[1], levels)


def tooncrafter_psnr(folder: Path, levels: Mapping[str, CacheLevel], count: int, steps: int = 50) -> dict[str, Any]:
    """Of a small ToonCrafter, with the released model's steps, ancestral noise (eta 1) and without (eta 0)."""
    pipeline = load(f"{folder}:fp32").pipeline
    pipeline.set_progress_bar_config(disable=True)
    size, frames = (64, 96), 5
    samples = DragSamples([frames], size, 1, SEED)
    scenes = [samples.scene(index) for index in range(count)]
    keys = [np.stack(one) for one in zip(*(scene.render([0.0, 1.0]) for scene in scenes), strict=True)]
    told = {"num_frames": frames, "num_inference_steps": steps, "guidance_scale": GUIDANCE, "output_type": "np"}

    def call(level: CacheLevel | None, eta: float) -> np.ndarray:
        generators = [torch.Generator().manual_seed(SEED + index) for index in range(count)]
        return pipeline(*keys, generator=generators, cache=level, eta=eta, **told).frames[:, 1:-1]

    found = {f"psnr, eta {eta:g}": psnr_by_level(partial(call, eta=eta), levels) for eta in (1.0, 0.0)}
    return {"steps": steps, "size": size, "frames": frames, **found}


@torch.no_grad()
def changes(steps: int, count: int = 2) -> list[tuple[float, float]]:
    """ln of noise to signal -> rate of change of deep features, see `families.cache.CHANGE`; on other scenes."""
    pipeline, call = framer_call(count, steps, SEED + 1000)
    network, seen = pipeline.network, []

    def watched(*args: Any, **options: Any) -> Any:
        answer = network(*args, **options)
        seen.append((args, options, answer))
        return answer

    object.__setattr__(pipeline, "network", watched)
    call(CacheLevel(depth=2))
    object.__delattr__(pipeline, "network")
    sigmas = pipeline.scheduler.sigmas.tolist()
    found = []
    for index in range(2, steps):
        args, options, (exact, _) = seen[index]
        (_, _, (_, last)), (_, _, (_, before)) = seen[index - 1], seen[index - 2]
        width = math.log(sigmas[index - 1] / sigmas[index])
        step = sigmas[index] / math.hypot(sigmas[index], 1) * (1 - sigmas[index + 1] / sigmas[index])
        errors = []
        for deep in (last, tuple(2 * one - other for one, other in zip(last, before, strict=True))):
            answer = network(*args, **options | {"deep": deep})[0].sample
            without, told = (answer - exact.sample).chunk(2)
            errors.append((without + GUIDANCE * (told - without)).square().mean().sqrt().item() * step)
        found.append((math.log(sigmas[index]), math.sqrt(min(errors)) / width))
    most = max(pace for _, pace in found)
    return [(level, pace / most) for level, pace in found]


def figure(record: Mapping[str, Any], path: Path) -> None:
    """Plot PSNR against the savings at full size, one panel per model."""
    from matplotlib.figure import Figure

    fidelity = record["fidelity"]
    panels = [("framer", "psnr", f"framer-tiny, {record['settings']['steps']} steps")]
    if "tooncrafter" in fidelity:
        steps = fidelity["tooncrafter"]["steps"]
        panels += [
            ("tooncrafter", f"psnr, eta {eta}", f"a small ToonCrafter, {steps} steps, eta {eta}") for eta in (1, 0)
        ]
    drawn = Figure(figsize=(1 + 4.5 * len(panels), 4), layout="constrained")
    for axes, (family, key, title) in zip(drawn.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        rows, found = record["operations"][family]["levels"], fidelity[family][key]
        for depth, colour in ((1, "#b5541c"), (2, "#3d6b8f")):
            names = [name for name in rows if record["levels"][name]["depth"] == depth]
            names.sort(key=lambda name: rows[name]["times_fewer"])
            x = [rows[name]["times_fewer"] for name in names]
            for kind, style in (("mean", "-o"), ("least", ":")):
                label = f"depth {depth}" + (", least of the scenes" if kind == "least" else "")
                axes.plot(x, [found[name][kind] for name in names], style, color=colour, markersize=4, label=label)
        for name in (name for name in LEVELS if name in rows):
            place = (rows[name]["times_fewer"], found[name]["mean"])
            axes.annotate(name, place, xytext=(4, 6), textcoords="offset points", fontsize=9)
        axes.axhline(40, color="#888", linewidth=0.8, linestyle="--")
        axes.set_xlabel(f"times fewer operations of the full-size {'Framer' if family == 'framer' else 'ToonCrafter'}")
        axes.set_ylabel("PSNR to the run without a cache, dB")
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    drawn.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
