"""Builds records of an evaluation of ATD-12K's size and measures time and memory of a report on them.

    python benchmarks/report_cost.py [--samples 2000] [--variants 5] [--keep FOLDER]

The records are synthetic, in the evaluation's format, and written by its code from per-sample CSVs to aggregates. Wall
time and peak memory are those of a fresh `nakawari report` process.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nakawari.evaluation.aggregate import aggregate
from nakawari.evaluation.folder import made_here, write_record
from nakawari.evaluation.groups import groups
from nakawari.evaluation.metrics import missing
from nakawari.evaluation.protocol import load_protocol
from nakawari.evaluation.reading import FIXED
from nakawari.evaluation.records import lines
from nakawari.evaluation.samples import folder_name
from nakawari.evaluation.schema import FORMAT, Entry, Record
from nakawari.files import write_json, write_text
from nakawari.provenance import git_revision, machine, packages

RESULT = Path(__file__).parent / "results" / "report.json"
SIZE = (512, 288)
PROGRAM = "from nakawari.cli.main import run; run()"
DISTINCT = 24
"""Number of different images per row; the other samples link to them."""

_TYPICAL = {
    "psnr": (27.0, 4.0), "ssim": (0.88, 0.06), "st-lpips": (0.09, 0.04), "flip": (0.07, 0.03),
    "lpips-vgg": (0.16, 0.05), "chamfer": (2.4, 0.9), "key-drift": (1.6, 0.5),
    "flicker": (2.1, 0.8), "roi-psnr": (24.0, 4.0),
}  # fmt: skip


def rows_of(variants: int) -> list[dict[str, Any]]:
    """The table's rows by quality: baselines, anchors, a base, its adapters at increasing scales, and a ceiling."""
    scales = np.round(np.linspace(0, 1.2, variants), 2)
    names = ["mini", *(f"mini+runs/show/best@{scale:g}" for scale in scales[1:])]
    gains = [0.6 - 1.6 * (scale - 0.7) ** 2 for scale in scales]
    others = [
        ("copy of the nearest key", "floor", -4.0),
        ("average of the keys", "floor", -2.6),
        ("DIS flow, both ways", "anchor", -1.1),
        ("mini: guide alone", "anchor", -0.9),
        ("mini: autoencoder", "ceiling", 6.5),
    ]
    models = [
        {"name": name, "role": "model", "gain": gain, "scale": float(scale)}
        for name, gain, scale in zip(names, gains, scales, strict=True)
    ]
    return [{"name": name, "role": role, "gain": gain} for name, role, gain in others] + models


def write_records(folder: Path, samples: int, variants: int) -> None:
    """Write a complete result folder."""
    protocol = load_protocol("atd12k").model_copy(update={"metrics": tuple(_TYPICAL)})
    group = groups(protocol, missing(protocol.metrics))[0]
    random = np.random.default_rng(0)
    names = [f"Disney_v4_{index:04d}_s{index % 7}" for index in range(samples)]
    levels = [("easy", "middle", "hard")[index % 3] for index in range(samples)]
    hardness = random.normal(0, 1, samples) + np.array([(0.8, 0.0, -0.9)[index % 3] for index in range(samples)])
    scenes = [_scene(random) for _ in range(DISTINCT)]
    entries = []
    for row in rows_of(variants):
        files = []
        for seed in protocol.seeds if row["role"] == "model" else protocol.seeds[:1]:
            file = f"{folder_name(row['name'])}/seed-{seed}.csv"
            columns = [_column(metric, row["gain"], hardness, random, samples) for metric in group.columns]
            body = [
                [n, level, *values] for n, level, values in zip(names, levels, zip(*columns, strict=True), strict=True)
            ]
            write_text(folder / file, lines([[*FIXED, *group.columns], *body]))
            files.append(file)
        entries.append(_entry(folder, row, files, protocol.name))
        _write_frames(folder / "frames" / folder_name(row["name"]) / "seed-0", names, scenes, row["gain"], random)
    _write_reference(folder / "frames/reference", names, scenes)
    record = Record(**dict(made_here()), format=FORMAT, samples=names, left_out=missing(protocol.metrics))
    write_record(folder, record)
    write_text(folder / "protocol.yaml", protocol.to_yaml())
    write_json(folder / "aggregates.json", aggregate(folder, protocol, record, entries).model_dump(mode="json"))


def _column(metric: str, gain: float, hardness: np.ndarray, random: np.random.Generator, samples: int) -> list[str]:
    mean, spread = _TYPICAL[metric]
    sense = 1 if metric in ("psnr", "ssim", "roi-psnr") else -1
    values = mean + sense * spread * (0.8 * hardness + 0.25 * gain + 0.1 * random.normal(0, 1, samples))
    return [f"{value:.6f}" for value in np.clip(values, 0.001, 0.999 if metric == "ssim" else 60)]


def _entry(folder: Path, row: dict[str, Any], files: list[str], protocol: str) -> Entry:
    place = folder_name(row["name"])
    if row["role"] == "model":
        speed = 120.0 + 90.0 * row["scale"]
        cost = {
            "ms_per_frame": {"median": speed, "p95": 1.1 * speed}, "seconds_per_clip": speed / 1000, "frames_made": 1,
            "size": list(SIZE), "network_evaluations": 4.0 + round(10 * row["scale"]), "guidance": None,
            "precision": "as-loaded", "warm_up": 1, "repeats": 5, "threads": 1, "device": "cpu", "memory": None,
            "parameters": 12_345_678, "denoiser_parameters": 9_876_543, "bytes": 4 * 12_345_678,
            "bytes_on_disk": 50_000_000, "load_seconds": 0.8, "peak_rss": 900 * 2**20,
            "packages": packages(), "git": git_revision(), "machine": machine(),
        }  # fmt: skip
        write_json(folder / place / "cost.json", cost)
    return Entry(name=row["name"], role=row["role"], status="ok", folder=place, files={protocol: files})


def _scene(random: np.random.Generator) -> list[np.ndarray]:
    """Start, middle and end of discs moving over a flat, grainy background: easy and hard areas for an image codec."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    ground = random.integers(120, 240, 3) + random.normal(0, 6, (height, width, 1))
    discs = [
        (
            random.uniform(0.2, 0.8, 2) * SIZE,
            random.normal(0, 30, 2),
            random.uniform(15, 60),
            random.integers(0, 256, 3),
        )
        for _ in range(8)
    ]
    frames = []
    for t in (0.0, 0.5, 1.0):
        frame = np.broadcast_to(ground, (height, width, 3)).copy()
        for centre, motion, radius, colour in discs:
            cx, cy = centre + t * motion
            distance = np.hypot(x - cx, y - cy)
            frame[distance < radius] = colour
            frame[np.abs(distance - radius) < 1.5] = 20
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames


def _write_frames(
    folder: Path, names: list[str], scenes: list[list[np.ndarray]], gain: float, random: np.random.Generator
) -> None:
    for index, name in enumerate(names):
        path = folder / folder_name(name) / "t0.5000.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if index < len(scenes):
            start, truth, end = (frame.astype(np.float64) for frame in scenes[index])
            share = 1 / (2 + max(gain + 4, 0))
            mixed = (1 - share) * truth + share * (start + end) / 2 + random.normal(0, 2, truth.shape)
            Image.fromarray(mixed.clip(0, 255).astype(np.uint8)).save(path)
        else:
            os.link(folder / folder_name(names[index % len(scenes)]) / "t0.5000.png", path)


def _write_reference(folder: Path, names: list[str], scenes: list[list[np.ndarray]]) -> None:
    for index, name in enumerate(names):
        place = folder / folder_name(name)
        place.mkdir(parents=True, exist_ok=True)
        for stem, frame in zip(("start", "t0.5000", "end"), scenes[index % len(scenes)], strict=True):
            if index < len(scenes):
                Image.fromarray(frame).save(place / f"{stem}.png")
            else:
                os.link(folder / folder_name(names[index % len(scenes)]) / f"{stem}.png", place / f"{stem}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--variants", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="keep records and report in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        write_records(folder / "result", options.samples, options.variants)
        words = [sys.executable, "-c", PROGRAM, "report", str(folder / "result"), "-o", str(folder / "report")]
        load = os.getloadavg()[0]
        start = time.perf_counter()
        subprocess.run(words, check=True)
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        page = (folder / "report/index.html").stat().st_size
    peak = used.ru_maxrss * 1024
    result = {
        "samples": options.samples,
        "variants": options.variants,
        "seconds": round(seconds, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "load_before": round(load, 1),
        "peak_rss_bytes": peak,
        "page_bytes": page,
        "machine": {**machine(), "processor": platform.processor() or platform.machine()},
        "packages": packages(),
    }
    write_json(RESULT, result)
    print(f"{seconds:.1f} s, {peak / 2**20:.0f} MiB, page {page / 2**20:.1f} MiB; written to {RESULT}")


if __name__ == "__main__":
    main()
