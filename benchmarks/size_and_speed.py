"""Peak memory and seconds of mini at four sizes, each in a fresh process of its own; under four minutes.

    python benchmarks/size_and_speed.py [--threads 2] [--name NAME] [-o benchmarks/results/size-and-speed.json]

What is timed is a call of the pipeline, keys as tensors in, uint8 frames out, after a first call at 64 x 64. `load` is
the share of the processor that other processes used meanwhile: figures under load are no figures of speed. `--name`
puts the figures beside those that are in the file, so that another revision's package, first on PYTHONPATH, can be
measured by the same command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nakawari.evaluation.fitting import resize
from nakawari.evaluation.load import others, peak_rss
from nakawari.files import read_json, write_json
from nakawari.media import read_image, to_tensor, to_uint8
from nakawari.provenance import git_revision, machine
from nakawari.variants import MINI, load

JOBS = {"256x160": 14, "512x320": 14, "1920x1080": 7, "3840x2160": 1}
"""Width and height -> in-betweens of the two keys that are drawn at once."""
EXAMPLES = MINI.parent / "examples"


def measured(size: str, between: int, repeats: int = 2) -> dict[str, Any]:
    """Figures of this process."""
    width, height = (int(side) for side in size.split("x"))
    pipeline = load("mini").pipeline
    pipeline.set_progress_bar_config(disable=True)
    pictures = [read_image(EXAMPLES / f"key{number}.png") for number in (1, 2)]
    _draw(pipeline, [np.array(resize(picture, (64, 64))) for picture in pictures], 1)
    keys = [np.array(resize(picture, (width, height))) for picture in pictures]
    wall, cpu = [], []
    with others() as load_of_others:
        for _ in range(repeats):
            began, used = time.perf_counter(), time.process_time()
            _draw(pipeline, keys, between)
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - used)
    return {
        "between": between,
        "seconds": min(wall),
        "seconds_each": [round(value, 3) for value in wall],
        "processor_seconds": min(cpu),
        "seconds_per_in_between": min(wall) / between,
        "peak_bytes": peak_rss(),
        "load": round(load_of_others[0], 3) if load_of_others else None,
        "threads": torch.get_num_threads(),
    }


def _draw(pipeline: Any, keys: list[np.ndarray], between: int) -> np.ndarray:
    start, end = (to_tensor(key[None]) for key in keys)
    generator = [torch.Generator().manual_seed(0)]
    frames = pipeline(start, end, num_frames=between + 2, generator=generator, output_type="pt").frames
    return np.stack([to_uint8(frame * 2 - 1) for frame in frames[0, 1:-1]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--name", default="now", help="under which the figures stand in the file")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/size-and-speed.json"))
    parser.add_argument("--size", choices=JOBS, help="measure this one in this process and print it")
    words = parser.parse_args()
    if words.size:
        torch.set_num_threads(words.threads)
        print(json.dumps(measured(words.size, JOBS[words.size])))
        return
    found = {}
    for size in JOBS:
        command = [sys.executable, __file__, "--size", size, "--threads", str(words.threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        one = found[size] = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{size}: {one['between']} in-betweens in {one['seconds']:.1f} s, {one['peak_bytes'] / 1e9:.2f} GB, "
            f"load of others {one['load']}"
        )
    before = read_json(words.output) if words.output.exists() else {}
    record = {"sizes": found, "git": git_revision(), "machine": machine(), "torch": torch.__version__}
    write_json(words.output, before | {words.name: record})


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
