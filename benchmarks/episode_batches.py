"""Gain of batching cuts of one size on a CPU: CPU seconds per cut, by batch size.

    python benchmarks/episode_batches.py -o benchmarks/results/episode-batches.json

Rounds of all batch sizes alternate, so that other load affects them equally; the median is kept.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from nakawari.episode.plan import Episode
from nakawari.episode.unit import Models
from nakawari.files import write_json

FRAMES = 5
BATCHES = (1, 2, 4)


def seconds_of(pipeline: object, batch: int, size: tuple[int, int], steps: int) -> float:
    """CPU seconds of one cut of three in-betweens in a batch of the given size."""
    keys = torch.rand(2, batch, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    started = time.process_time()
    pipeline(  # type: ignore[operator]
        *keys,
        num_frames=FRAMES,
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    )
    return (time.process_time() - started) / batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, required=True)
    words = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for model, steps in (("mini/small", 1), ("mini", 8)):
        pipeline = Models().pipeline(Episode(Path(), (), model, "cpu"))
        pipeline.set_progress_bar_config(disable=True)
        for size in ((48, 64), (160, 256)):
            seconds_of(pipeline, 1, size, steps)
            rounds = [{one: seconds_of(pipeline, one, size, steps) for one in BATCHES} for _ in range(words.rounds)]
            found = {one: round(statistics.median(each[one] for each in rounds), 4) for one in BATCHES}
            rows.append({"model": model, "steps": steps, "size": f"{size[1]}x{size[0]}", "seconds per cut": found})
            print(rows[-1])
    write_json(words.output, {"threads": 1, "frames": FRAMES, "rounds": words.rounds, "rows": rows})


if __name__ == "__main__":
    main()
