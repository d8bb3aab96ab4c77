"""Gain of each step of the motion guide on triplets: PSNR of the middle frame per level, 256x160, no training.

python benchmarks/guide_ladder.py DATA [-o benchmarks/results/guide-ladder.json]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nakawari.data.triplets import open_dataset
from nakawari.evaluation.fitting import resize
from nakawari.evaluation.floors import average, copy_nearest, dis_both_ways
from nakawari.evaluation.metrics import psnr
from nakawari.files import write_json
from nakawari.guide.flow import Surface, dis_flow, ordered_surfaces, seen_at, sought, surfaces
from nakawari.guide.layers import settled
from nakawari.guide.warp import backward_warp, drawn_along
from nakawari.media import to_tensor, to_uint8
from nakawari.provenance import git_revision, machine, packages

SIZE = (256, 160)
Draw = Callable[[Tensor, Tensor], Tensor]


def _in_place(start: Tensor, end: Tensor) -> Tensor:
    """Both flows sampled in place, at the finest scale."""
    return (backward_warp(start, 0.5 * dis_flow(end, start)) + backward_warp(end, 0.5 * dis_flow(start, end))) / 2


def _splatted(start: Tensor, end: Tensor) -> Tensor:
    """The flows splatted forward to the middle."""
    flows = dis_flow(start, end), dis_flow(end, start)
    return _middle(start, end, surfaces(start, end, flows, trusted=False))


def _filled(start: Tensor, end: Tensor) -> Tensor:
    """As splatted, agreeing vectors in front, holes filled from around them."""
    flows = dis_flow(start, end), dis_flow(end, start)
    return _middle(start, end, surfaces(start, end, flows, trusted=True))


def _sought(start: Tensor, end: Tensor) -> Tensor:
    """As filled, of several flows that whose two half-way pictures agree best."""
    return _middle(start, end, surfaces(start, end, sought(start, end), trusted=True))


def _sharp(start: Tensor, end: Tensor) -> Tensor:
    """As sought, with the keys sampled bicubically."""
    return _middle(start, end, surfaces(start, end, sought(start, end), trusted=True), drawn_along)


def _ordered(start: Tensor, end: Tensor) -> Tensor:
    """As sharp, in front what the keys show to be in front."""
    return _middle(start, end, ordered_surfaces(start, end, sought(start, end)), drawn_along)


def _settled(start: Tensor, end: Tensor) -> Tensor:
    """As ordered, motions ended at edges. The guide also takes what left a key from the other."""
    flows = settled(start, end, sought(start, end))
    return _middle(start, end, ordered_surfaces(start, end, flows), drawn_along)


def _middle(start: Tensor, end: Tensor, both: tuple[Surface, Surface], read: Draw = backward_warp) -> Tensor:
    motion, _ = seen_at(both, 0.5)
    return (read(start, -0.5 * motion) + read(end, 0.5 * motion)) / 2


def _both(start: Tensor, end: Tensor) -> Tensor:
    """The mean of the two estimates: higher PSNR, more ghosting."""
    return (_in_place(start, end) + _splatted(start, end)) / 2


STEPS: dict[str, Draw] = {
    "DIS, finest scale, read in place": _in_place,
    "DIS, finest scale, splatted to the middle": _splatted,
    "mean of the two": _both,
    "splatted, agreeing vectors first, holes filled": _filled,
    "the same, the best of several flows": _sought,
    "the same, keys read bicubically": _sharp,
    "the same, in front by the order of motions": _ordered,
    "the same, main motions ended at edges": _settled,
}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("data", type=Path)
    words.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/guide-ladder.json"))
    arguments = words.parse_args()
    scores: dict[str, dict[str, list[float]]] = {}
    for sample in open_dataset(arguments.data):
        start, middle, end = (resize(frame, SIZE) for frame in _frames(sample))
        drawn = {"nearest key": copy_nearest(start, end, 0.5), "average of the keys": average(start, end, 0.5)}
        drawn["DIS both ways, as in every table"] = dis_both_ways(start, end, 0.5)
        keys = to_tensor(np.stack([start, end]))
        drawn |= {name: to_uint8(draw(keys[:1], keys[1:]))[0] for name, draw in STEPS.items()}
        for name, frame in drawn.items():
            for level in ("all", sample.level):
                scores.setdefault(name, {}).setdefault(level, []).append(psnr(frame, middle))
    means = {name: {level: float(np.mean(values)) for level, values in row.items()} for name, row in scores.items()}
    for name, row in means.items():
        print(f"{name:<48}" + "".join(f"{level} {value:6.2f}  " for level, value in row.items()))
    record = {"psnr": means, "size": SIZE, "packages": packages(), "git": git_revision(), "machine": machine()}
    write_json(arguments.output, record)


def _frames(sample: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    (start, end), truth = sample.read_keys(), sample.read_truth()
    return start, truth[0], end


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
