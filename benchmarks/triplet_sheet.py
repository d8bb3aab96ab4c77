"""A contact sheet of an evaluation's triplets, fastest first: keys, floors, flow, models, truth.

python benchmarks/triplet_sheet.py RESULTS DATA -o sheet.png [--rows 10]
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from nakawari.data.triplets import open_dataset
from nakawari.evaluation.fitting import resize
from nakawari.evaluation.samples import folder_name
from nakawari.files import read_json
from nakawari.media import contact_sheet, read_image, write_image

SHOWN = ("floor", "anchor", "peer", "model")
LEFT_OUT = ("copy of the nearest key",)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("results", type=Path)
    words.add_argument("data", type=Path)
    words.add_argument("-o", "--output", type=Path, required=True)
    words.add_argument("--rows", type=int, help="only so many; all where absent")
    words.add_argument("--width", type=int, default=1800)
    arguments = words.parse_args()
    with (arguments.data / "index.csv").open(newline="", encoding="utf-8") as file:
        motion = {row["name"]: float(row["motion_chg"]) for row in csv.DictReader(file)}
    entries = [e["name"] for e in read_json(arguments.results / "aggregates.json")["entries"] if e["role"] in SHOWN]
    names = [name for name in entries if name not in LEFT_OUT and "guide alone" not in name]
    samples = sorted(open_dataset(arguments.data), key=lambda sample: -motion[sample.name])[: arguments.rows]
    rows = [_row(arguments.results, sample, names) for sample in samples]
    labels = [f"{sample.name}: {motion[sample.name]:.0f} px" for sample in samples]
    captions = [["start key", *names, "truth", "end key"]] * len(rows)
    keys = [[True, *[False] * (len(names) + 1), True]] * len(rows)
    write_image(arguments.output, contact_sheet(rows, labels, captions, keys, width=arguments.width))


def _row(results: Path, sample: object, names: list[str]) -> list[np.ndarray]:
    drawn = [read_image(_frame(results / "frames" / folder_name(name), sample.name)) for name in names]
    size = (drawn[0].shape[1], drawn[0].shape[0])
    start, end = (resize(frame, size) for frame in sample.read_keys())
    return [start, *drawn, resize(sample.read_truth()[0], size), end]


def _frame(folder: Path, name: str) -> Path:
    """The kept frame of a sample: one time, one choice, the first seed."""
    return sorted(folder.glob(f"seed-*/{name}/*.png"))[0]


if __name__ == "__main__":
    main()
