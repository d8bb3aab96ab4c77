"""What a cache level saves and what it costs: operations of a full-size clip, and fidelity to the run without it.

    python benchmarks/cache_levels.py [--scenes 4] [--steps 30]

Operations are counted by torch on the meta device, for both families at their published size. Fidelity is the PSNR of
the frames that `framer-tiny`, which has learnt its task, draws with a level, to those that it draws without, from the
same keys, tracks and seeds; the scenes are made by rule and were not trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
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
    f"every {every}, depth {depth}, first {first:.0%}": CacheLevel(every, every, depth, first)
    for every, depth, first in ((2, 2, 0.0), (3, 1, 0.0), (3, 2, 0.2), (5, 1, 0.0))
}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--scenes", type=int, default=4)
    words.add_argument("--steps", type=int, default=30)
    words.add_argument("-o", "--output", type=Path, default=RESULT)
    words.add_argument("--figure", type=Path, default=FIGURE)
    given = words.parse_args()
    levels = {name: level for name, level in (LEVELS | TRIED).items() if level is not None}
    counted = {family: operations(family, levels) for family in models.FAMILIES}
    for family, found in counted.items():
        for name, row in found["levels"].items():
            print(f"{family:<12}{name:<20}{row['tflop']:>9.1f} TFLOP  {row['times_fewer']:.2f} times fewer", flush=True)
    settings = {"scenes": given.scenes, "steps": given.steps, "seed": SEED, "size": SIZE, "guidance": GUIDANCE}
    fidelity = psnr_by_level(levels, given.scenes, given.steps)
    record = {"settings": settings, "levels": {name: asdict(level) for name, level in levels.items()}}
    record |= {"operations": counted, "fidelity": {"model": "framer-tiny", "psnr": fidelity}}
    write_json(given.output, record | {"packages": packages(), "git": git_revision(), "machine": machine()})
    figure(record, given.figure)


def operations(family: str, levels: Mapping[str, CacheLevel], settings: Settings | None = None) -> dict[str, Any]:
    """TFLOP of a guided clip by part, without a level and with each: two for every multiply-accumulate."""
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
    whole = {"both": _evaluation(pipe, both, 0, None)[0], "one": _evaluation(pipe, told, 0, None)[0]}
    parts["denoiser, all steps"] = steps * whole["both"]
    shallow = {}
    for depth in {level.depth for level in levels.values()}:
        for name, condition in (("both", both), ("one", told)):
            deep = _evaluation(pipe, condition, depth, None)[1]
            shallow[depth, name] = _evaluation(pipe, condition, depth, deep)[0]
    # Framer's branches read each other's tokens, so it always evaluates both.
    alone = "one" if family == "tooncrafter" else "both"
    found = {}
    for name, level in levels.items():
        spent = 0.0
        for index in range(steps):
            branches = "both" if level.all_branches(index, steps) else alone
            spent += whole[branches] if level.whole(index, steps) else shallow[level.depth, branches]
        found[name] = {"tflop": spent, "times_fewer": parts["denoiser, all steps"] / spent}
    return {"steps": steps, "parts": parts, "levels": found}


@torch.no_grad()
def _evaluation(pipe: InterpolationPipeline, told: Condition, depth: int, deep: Any) -> tuple[float, Any]:
    """TFLOP of one evaluation, and what it keeps."""
    x = models.noise(pipe, told)
    with FlopCounterMode(display=False) as counter:
        if pipe.family == "framer":
            time = torch.tensor(0.25, device=x.device)
            _, kept = pipe.network(x, time, told, branches=told.batch, depth=depth, deep=deep)
        else:
            times = torch.full((len(x),), 500, device=x.device)
            _, kept = pipe.denoise_in_part(x, times, told, depth, deep) if depth else (pipe.denoise(x, times, told), ())
    return counter.get_total_flops() / 1e12, kept


def psnr_by_level(levels: Mapping[str, CacheLevel], count: int, steps: int) -> dict[str, dict[str, float]]:
    """Mean and least PSNR over the scenes, of the in-betweens against those drawn without a level."""
    pipeline = load("framer-tiny:fp32").pipeline
    pipeline.set_progress_bar_config(disable=True)
    samples = DragSamples([3], SIZE, 1, SEED)
    scenes = [samples.scene(index) for index in range(count)]
    start, end = (np.stack(keys) for keys in zip(*(scene.render([0.0, 1.0]) for scene in scenes), strict=True))
    tracks = [scene.track([0.0, 0.5, 1.0])[:, None] for scene in scenes]

    def drawn(level: CacheLevel | None) -> np.ndarray:
        generators = [torch.Generator().manual_seed(SEED + index) for index in range(count)]
        told = {"num_frames": 3, "num_inference_steps": steps, "guidance_scale": GUIDANCE, "tracks": tracks}
        return pipeline(start, end, generator=generators, cache=level, output_type="np", **told).frames[:, 1:-1]

    whole, found = drawn(None), {}
    for name, level in levels.items():
        error = ((drawn(level) - whole) ** 2).reshape(count, -1).mean(axis=1)
        each = -10 * np.log10(error)
        found[name] = {"mean": float(each.mean()), "least": float(each.min())}
        print(f"{name:<20}{found[name]['mean']:7.2f} dB, least {found[name]['least']:.2f}", flush=True)
    return found


def figure(record: Mapping[str, Any], path: Path) -> None:
    """Fidelity against what is saved at full size."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(6.5, 4), layout="constrained")
    axes = drawn.subplots()
    fidelity = record["fidelity"]["psnr"]
    rows = record["operations"]["framer"]["levels"]
    for name, row in rows.items():
        named = name in LEVELS
        axes.plot(
            row["times_fewer"], fidelity[name]["mean"], "o" if named else ".", color="#b5541c" if named else "#888"
        )
        if named:
            place = (row["times_fewer"], fidelity[name]["mean"])
            axes.annotate(name, place, xytext=(6, 4), textcoords="offset points", fontsize=9)
    axes.axhline(40, color="#3d6b8f", linewidth=0.8, linestyle="--")
    axes.set_xlabel("times fewer operations of the full-size Framer's denoiser")
    axes.set_ylabel("PSNR to the run without a cache, dB")
    axes.set_title(f"framer-tiny, {record['settings']['steps']} steps", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    drawn.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
