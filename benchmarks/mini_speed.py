"""Seconds per frame and peak memory of mini on this machine, at its default settings.

python benchmarks/mini_speed.py [--threads 2] [-o benchmarks/results/mini-speed.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from nakawari.evaluation.contestants import Model, Task
from nakawari.evaluation.efficiency import measure
from nakawari.evaluation.fitting import resize
from nakawari.evaluation.protocol import Protocol
from nakawari.files import write_json
from nakawari.media import read_image
from nakawari.variants import MINI, load

EXAMPLES = MINI.parent / "examples"
SIZES = ((256, 160), (512, 320))
FRAMES = 16


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/mini-speed.json"))
    words = arguments.parse_args()
    torch.set_num_threads(words.threads)
    model = Model("mini", load("mini").pipeline, source="mini")
    found = {}
    for width, height in SIZES:
        protocol = Protocol(name="speed", width=width, height=height, num_frames=FRAMES, scored="mid-pair")
        keys = np.stack([resize(read_image(EXAMPLES / f"key{n}.png"), (width, height)) for n in (1, 2)])
        task = Task("examples", keys, keys[:0], FRAMES, ())
        cost = measure(model, task, protocol, repeats=2)
        found[f"{width}x{height}"] = cost
        per_frame, clip = cost["ms_per_frame"]["median"] / 1000, cost["seconds_per_clip"]
        memory = cost["peak_rss"] / 2**30
        print(f"{width}x{height}: {clip:.1f} s for {FRAMES} frames, {per_frame:.2f} s a frame, {memory:.2f} GiB")
    write_json(words.output, found)


if __name__ == "__main__":
    main()
