"""Effect of a style adapter on a Framer: held-out clips in the style, drawn by the base and with the adapter.

    python benchmarks/framer_style.py BASE ADAPTER [--clips 40] [--steps 10] [--sheet SHEET.png]

Both draw the same keys along the same tracks from the same noise; PSNR of the middle frame, its difference paired by
clip with a 95 % interval. `nakawari train recipes/framer/3-style.yaml` makes the adapter; nothing is trained here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nakawari.data.drag_scenes import DragSamples
from nakawari.evaluation.statistics import paired
from nakawari.files import write_json
from nakawari.media.tensors import to_uint8
from nakawari.media.write import write_image
from nakawari.provenance import git_revision, machine, packages
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.pixels import middle_psnr
from nakawari.variants import load, with_adapters

RESULT = Path(__file__).parent / "results" / "framer-style.json"
SEED = 78_000
SIZE = (80, 96)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("base")
    words.add_argument("adapter")
    words.add_argument("--clips", type=int, default=40)
    words.add_argument("--steps", type=int, default=10)
    words.add_argument("--sheet", type=Path)
    words.add_argument("-o", "--output", type=Path, default=RESULT)
    given = words.parse_args()
    samples = DragSamples([3], SIZE, 1, SEED, "target")
    clips = [samples.sample(index) for index in range(given.clips)]
    names = {"base": given.base, "adapted": with_adapters(given.base, [given.adapter])}
    made = {way: drawn(name, clips, given.steps) for way, name in names.items()}
    truth = torch.stack([clip["frames"] for clip in clips])
    scores = {way: middle_psnr(frames, truth).tolist() for way, frames in made.items()}
    found = paired(scores["adapted"], scores["base"], higher_is_better=True)
    for way, values in scores.items():
        print(f"{way:<9}{np.mean(values):.2f} dB")
    gain = found.difference
    print(f"adapted - base  {gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] dB ({found.wins} : {found.losses})")
    record = {"psnr": scores, "paired": found.to_dict(), "clips": given.clips, "steps": given.steps, "seed": SEED}
    write_json(given.output, record | {"packages": packages(), "git": git_revision(), "machine": machine()})
    if given.sheet is not None:
        rows = [torch.cat([truth[i], made["base"][i, 1:2], made["adapted"][i, 1:2]]) for i in range(8)]
        write_image(given.sheet, np.concatenate([np.concatenate(list(to_uint8(row)), axis=1) for row in rows]))


def drawn(name: str, clips: list[dict[str, object]], steps: int) -> Tensor:
    """The clips drawn by a variant, (N, F, 3, H, W) in [-1, 1]."""
    pipeline, made = load(name).pipeline, []
    for index, clip in enumerate(clips):
        frames = clip["frames"]
        output = pipeline(
            frames[:1],
            frames[-1:],
            num_frames=len(frames),
            num_inference_steps=steps,
            guidance_scale=1.0,
            tracks=[clip["tracks"]],
            generator=[sample_generator(SEED, index)],
            output_type="pt",
        )
        made.append(output.frames[0] * 2 - 1)
    return torch.stack(made)


if __name__ == "__main__":
    main()
