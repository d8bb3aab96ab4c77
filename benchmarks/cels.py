"""Flat-colour figures with known middle drawings: the accuracy of each method where the drawings differ.

`python benchmarks/cels.py FOLDER -o benchmarks/results/cels.json` reads FOLDER/index.csv (name, level) and
FOLDER/triplets/NAME/frame1..3.png. `python benchmarks/cels.py --rigs 100:120` uses generated figures instead.

Both drawings are composited over grey, and only pixels count in which two of the three true drawings differ by more
than 8
levels: PSNR there, and the share with a maximum error of at most 24 levels. Methods without alpha draw over grey.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import cel_rigs
from nakawari.evaluation.contestants import Task
from nakawari.evaluation.peers import installed_peers
from nakawari.evaluation.protocol import Protocol
from nakawari.interpolation import Key, Settings, draw
from nakawari.variants import load

GREY, SEEN, RIGHT = 127.0, 8.0, 24.0
Triplet = tuple[str, str, np.ndarray]
"""Name, level, (3, H, W, 4) uint8."""
Way = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two RGBA keys -> middle drawing, RGB or RGBA."""


def over_grey(frame: np.ndarray) -> np.ndarray:
    flat = frame.astype(np.float32)
    if flat.shape[2] == 3:
        return flat
    alpha = flat[..., 3:] / 255
    return np.rint(flat[..., :3] * alpha + GREY * (1 - alpha))


def score(triplet: np.ndarray, made: np.ndarray) -> tuple[float, float]:
    """PSNR in dB and the share of correct pixels in per cent, where the three drawings differ."""
    first, middle, last = (over_grey(frame) for frame in triplet)
    apart = [np.abs(a - b).max(2) for a, b in ((first, middle), (middle, last), (first, last))]
    gap = (over_grey(made) - middle)[np.max(apart, axis=0) > SEEN]
    error = max(float(np.mean(gap**2)), 1e-3)
    return 10 * np.log10(255**2 / error), 100 * float(np.mean(np.abs(gap).max(1) <= RIGHT))


def average(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    return (over_grey(first) + over_grey(last)) / 2


def flow(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """DIS flow both ways, each key warped half-way, averaged."""
    keys = [over_grey(key).astype(np.uint8) for key in (first, last)]
    grey = [cv2.cvtColor(key, cv2.COLOR_RGB2GRAY) for key in keys]
    x, y = np.meshgrid(np.arange(grey[0].shape[1], dtype=np.float32), np.arange(grey[0].shape[0], dtype=np.float32))
    half = []
    for one, other in ((0, 1), (1, 0)):
        way = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey[one], grey[other], None)
        half.append(cv2.remap(keys[one].astype(np.float32), x - way[..., 0] / 2, y - way[..., 1] / 2, cv2.INTER_LINEAR))
    return (half[0] + half[1]) / 2


def ways() -> Iterator[tuple[str, Way]]:
    yield "average", average
    yield "DIS flow", flow
    protocol = Protocol(name="cels", num_frames=3)
    for peer in installed_peers(protocol):
        yield peer.name, lambda first, last, peer=peer: _by_peer(peer, protocol, first, last)
    pipeline = load("mini", "cpu").pipeline
    for name, parts in (("mini without parts", False), ("mini", True)):
        yield name, lambda first, last, parts=parts: _by_mini(pipeline, parts, first, last)


def _by_peer(peer: object, protocol: Protocol, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    keys = np.stack([over_grey(key).astype(np.uint8) for key in (first, last)])
    return peer.draw([Task("cel", keys, keys[:1], 3, (0.5,))], protocol, 0)[0][1]


def _by_mini(pipeline: object, parts: bool, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    keys = [Key(Path(name), key) for name, key in (("first.png", first), ("last.png", last))]
    return draw(keys, Settings((1,), parts=parts), pipeline).frames[1]


def read(folder: Path) -> Iterator[Triplet]:
    with (folder / "index.csv").open() as file:
        for row in csv.DictReader(file):
            files = [folder / "triplets" / row["name"] / f"frame{k}.png" for k in (1, 2, 3)]
            yield row["name"], row["level"], np.stack([np.array(Image.open(one).convert("RGBA")) for one in files])


def own(seeds: range, rigs: Sequence[str], scaled_by: str) -> Iterator[Triplet]:
    for level in cel_rigs.LEVELS:
        for name, triplet in cel_rigs.triplets(seeds, level, rigs, scaled_by):
            yield name, level, triplet


def table(rows: list[dict]) -> dict[str, dict[str, list[float]]]:
    """Method -> level -> mean PSNR, mean share of correct pixels, seconds."""
    out: dict[str, dict[str, list[float]]] = {}
    for name in dict.fromkeys(row["way"] for row in rows):
        mine = [row for row in rows if row["way"] == name]
        levels = {"all": mine} | {k: [r for r in mine if r["level"] == k] for k in cel_rigs.LEVELS}
        out[name] = {
            level: [round(float(np.mean([r[k] for r in group])), 2) for k in ("psnr", "right", "seconds")]
            for level, group in levels.items()
            if group
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rigs", help="seeds of generated figures, FROM:TO")
    parser.add_argument("--figures", nargs="+", choices=cel_rigs.RIGS, default=cel_rigs.MIXED, help="with --rigs")
    parser.add_argument("--scaled-by", choices=cel_rigs.FILTERS, default="mean", help="with --rigs")
    parser.add_argument("--only", help="one method")
    parser.add_argument("-o", "--output", type=Path)
    words = parser.parse_args()
    if (words.folder is None) == (words.rigs is None):
        parser.error("give a folder of triplets or --rigs FROM:TO")
    if words.folder:
        triplets = list(read(words.folder))
    else:
        triplets = list(own(range(*map(int, words.rigs.split(":"))), words.figures, words.scaled_by))
    rows = []
    for way, make in ways():
        if words.only and way != words.only:
            continue
        for name, level, triplet in triplets:
            started = time.perf_counter()
            made = make(triplet[0], triplet[2])
            seconds = time.perf_counter() - started
            psnr, right = score(triplet, made)
            rows.append({"way": way, "name": name, "level": level, "psnr": psnr, "right": right, "seconds": seconds})
        levels = table(rows)[way]
        print(f"{way:20}", *(f"{k} {v[0]:.2f} dB {v[1]:.1f} %  " for k, v in levels.items()), flush=True)
    if words.output:
        result = {"count": len(triplets), "table": table(rows), "rows": rows}
        words.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
