"""Cost and savings of each precision: quality by the evaluation's code, bytes, and time in one interleaved run.

python benchmarks/quantize_mini.py DATA --calibrate CLIPS [--limit 12] [-o benchmarks/results/quantize-mini.json]

Quality is that of `nakawari evaluate mini WORK/int8 … --protocol quick`, guided and unguided; this script makes the
variants, adds the guide alone and a uniform 4-bit variant of the plan's size, and times all variants alternately.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from nakawari.cli.quantize import sensitivity_json
from nakawari.data.samples import Sample, spread
from nakawari.data.triplets import open_dataset
from nakawari.evaluation.contestants import Contestant, Model, Task
from nakawari.evaluation.floors import GuideAlone
from nakawari.evaluation.protocol import Protocol, load_protocol
from nakawari.evaluation.runner import evaluate
from nakawari.evaluation.samples import prepare
from nakawari.evaluation.scored import Frames
from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages
from nakawari.quantization import formats, plans
from nakawari.quantization.figure import write_figure
from nakawari.quantization.layers import pack_layers
from nakawari.quantization.make import quantize, quantize_by_plan
from nakawari.quantization.planning import make_plan
from nakawari.quantization.precisions import uniform, weight_bytes
from nakawari.quantization.sensitivity import Settings
from nakawari.variants import load, model_folder

PRECISIONS = ("fp16", "bf16", "int8", "int8-dynamic", "int4")
TIMED_FRAMES = 16
EQUAL = "int4 of the plan's size"


class FineGroups(Model):
    """A uniform 4-bit model with a different number of weights per scale than the package."""

    def __init__(self, base: str, group: int, guided: bool, parent: str) -> None:
        super().__init__(EQUAL + ("" if guided else " (unguided)"), load(base).pipeline, guided=guided, parent=parent)
        self.group = group
        with groups_of(group):
            pack_layers(self.pipeline.denoiser, uniform(self.pipeline.denoiser, "int4"))

    def draw(self, tasks: Sequence[Task], protocol: Protocol, seed: int) -> list[Frames]:
        with groups_of(self.group):
            return super().draw(tasks, protocol, seed)


@contextmanager
def groups_of(size: int) -> Iterator[None]:
    """Set the number of weights per int4 scale to `size` inside the block."""
    usual, formats.GROUP = formats.GROUP, size
    try:
        yield
    finally:
        formats.GROUP = usual


def variants(words: argparse.Namespace) -> dict[str, str]:
    """Row -> variant, made if missing; the plan with its figure."""
    found = {"fp32": words.model}
    for precision in PRECISIONS:
        folder = words.work / precision
        if not folder.exists():
            quantize(load(words.model).pipeline, words.model, precision, folder)
        found[precision] = str(folder)
    folder = words.work / "plan"
    if not folder.exists():
        settings = Settings(words.clips, words.frames, (64, 96), words.times, 0, words.calibrate)
        planned = make_plan(
            load(words.model).pipeline, budget=words.budget, candidates=words.candidates.split(","), settings=settings
        )
        plans.write(words.work / "plan.yaml", planned.plan)
        write_json(words.work / "sensitivity.json", sensitivity_json(planned))
        write_figure(
            words.figure, planned, f"{words.model}: x0 error per quantized layer, and a plan at {words.budget}"
        )
        quantize_by_plan(load(words.model).pipeline, words.model, words.work / "plan.yaml", folder)
    return found | {"plan": str(folder)}


def group_of_size(model: str, wanted: int) -> tuple[int, int]:
    """The largest even number of weights per scale that makes uniform int4 at least `wanted` bytes, and its bytes."""
    for group in range(formats.GROUP, 3, -2):
        denoiser = load(model).pipeline.denoiser
        with groups_of(group):
            pack_layers(denoiser, uniform(denoiser, "int4"))
        if (size := weight_bytes(denoiser)) >= wanted:
            return group, size
    raise SystemExit(f"no group of int4 weights makes {wanted} bytes")


def quality(words: argparse.Namespace, rows: dict[str, str], group: int) -> dict[str, dict[str, Any]]:
    """Row -> PSNR to truth and to the parent, guided and unguided, and the share of the gain kept."""
    protocol = load_protocol("quick").model_copy(update={"metrics": ("psnr",), "guided": "both"})
    samples = spread(open_dataset(words.data), words.limit)
    fine: list[Contestant] = [
        FineGroups(words.model, group, guided, words.model + ("" if guided else " (unguided)"))
        for guided in (True, False)
    ]
    guide = GuideAlone("guide", load(words.model).pipeline)
    results = evaluate(
        [*rows.values(), *fine, guide], samples, protocol, words.work / "quick", floors=False, cost=False
    )
    entries = {entry["name"]: entry for entry in results["entries"]}

    def scored(name: str) -> dict[str, float | None]:
        entry = entries[name]
        psnr = entry["results"]["quick"]["psnr"]["all"]["mean"]
        return {"psnr": psnr, "to_parent": entry.get("fidelity", {}).get("mean")}

    names = rows | {EQUAL: EQUAL}
    floor = scored("guide")["psnr"]
    gain = scored(words.model)["psnr"] - floor
    table: dict[str, dict[str, Any]] = {"guide alone": {"guided": {"psnr": floor}}}
    for row, name in names.items():
        table[row] = {"guided": scored(name), "unguided": scored(name + " (unguided)")}
        kept = table[row]["guided"]["psnr"] - floor
        table[row]["gain_kept"] = kept / gain if abs(gain) >= 0.05 else None
    return table


def timed(words: argparse.Namespace, rows: dict[str, str], sample: Sample) -> dict[str, dict[str, Any]]:
    """Row -> threads -> minimum milliseconds (wall, CPU) of the denoiser and of a clip; rows alternate."""
    protocol = load_protocol("quick").model_copy(update={"num_frames": TIMED_FRAMES, "scored": "mid-pair"})
    task = prepare(sample, protocol).task
    models = {row: Model(row, load(name).pipeline) for row, name in rows.items()}
    found: dict[str, dict[str, Any]] = {row: {} for row in rows}
    for threads in words.threads:
        torch.set_num_threads(threads)
        for round_number in range(words.rounds + 1):
            for row, model in models.items():
                figures = _clip_times(model, task, protocol)
                best = found[row].setdefault(str(threads), figures)
                if round_number:  # the first round is a warm-up
                    found[row][str(threads)] = {key: min(best[key], value) for key, value in figures.items()}
    return found


def _clip_times(model: Model, task: Task, protocol: Protocol) -> dict[str, float]:
    inside = {"wall": 0.0, "cpu": 0.0}

    def before(*_: object) -> None:
        inside["wall"] -= time.perf_counter()
        inside["cpu"] -= time.process_time()

    def after(*_: object) -> None:
        inside["wall"] += time.perf_counter()
        inside["cpu"] += time.process_time()

    denoiser = model.pipeline.denoiser
    handles = [denoiser.register_forward_pre_hook(before), denoiser.register_forward_hook(after)]
    wall, cpu = time.perf_counter(), time.process_time()
    model.draw([task], protocol, 0)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    for handle in handles:
        handle.remove()
    named = {"clip_ms": wall, "clip_cpu_ms": cpu, "denoiser_ms": inside["wall"], "denoiser_cpu_ms": inside["cpu"]}
    return {name: 1000 * seconds for name, seconds in named.items()}


def sizes(name: str) -> dict[str, int]:
    """Bytes of the denoiser's file, and of its tensors; oneDNN needs up to a tenth more for int8-dynamic."""
    pipeline = load(name).pipeline
    part = next(key for key, value in pipeline.components.items() if value is pipeline.denoiser)
    held = [*pipeline.denoiser.parameters(), *pipeline.denoiser.buffers()]
    on_disk = sum(file.stat().st_size for file in (model_folder(name) / part).glob("*.safetensors"))
    return {"disk": on_disk, "memory": sum(tensor.numel() * tensor.element_size() for tensor in held)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--calibrate", type=Path, help="clips of the training pool")
    parser.add_argument("--budget", default="0.35x")
    parser.add_argument("--candidates", default="int4,int8,fp16")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/quantize-mini"))
    parser.add_argument("--figure", type=Path, default=Path("docs/images/quantize-plan.png"))
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/quantize-mini.json"))
    words = parser.parse_args()
    words.work.mkdir(parents=True, exist_ok=True)
    rows = variants(words)
    bytes_of = {row: sizes(name) for row, name in rows.items()}
    group, equal = group_of_size(words.model, weight_bytes(load(rows["plan"]).pipeline.denoiser))
    bytes_of[EQUAL] = {"memory": equal, "group": group}
    times = timed(words, rows, next(iter(open_dataset(words.data))))
    table = quality(words, rows, group)
    for row in table:
        table[row] |= {"bytes": bytes_of.get(row), "times": times.get(row)}
        print(row, table[row], flush=True)
    record = {"rows": table, "samples": words.limit, "frames_timed": TIMED_FRAMES}
    write_json(words.output, record | {"packages": packages(), "git": git_revision(), "machine": machine()})


if __name__ == "__main__":
    main()
