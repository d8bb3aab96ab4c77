"""Difficult pairs of flat drawings, drawn by several revisions: a contact sheet, and measures of known faults.

`python benchmarks/cases.py FOLDER --drawn before=DIR --drawn now=DIR -o docs/images/cases.png` reads the keys from
FOLDER/CASE, and DIR/CASE/*.png from `nakawari interpolate FOLDER/CASE -o DIR/CASE`; cells without a folder are
white. The middle frame of the first gap is shown and measured, composited over grey:

    dark     pixels in dark blotches, wider than a line, where both keys are strong red
    red      strong red pixels over the keys' mean: 1 for one sharp figure, 0.5 or less for two faded ones
    lines    dark line pixels over the keys' mean
    strange  share (per mille) of pixels more than 24 levels from every colour of the keys
    matte    share (per mille) of half-transparent pixels where the keys have none; only with transparency
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import cKDTree

from nakawari.files import write_json
from nakawari.media import read_image
from nakawari.provenance import git_revision

GREY, DARK, STRANGE, BLOTCH = 127, 90, 24.0, 5
WIDTH, LEFT, TOP, GAP = 200, 90, 16, 4


def over_grey(frame: np.ndarray) -> np.ndarray:
    if frame.shape[2] == 3:
        return frame
    alpha = frame[..., 3:].astype(np.float32) / 255
    return np.rint(frame[..., :3] * alpha + GREY * (1 - alpha)).astype(np.uint8)


def red(frame: np.ndarray) -> np.ndarray:
    return (frame[..., 0] > 190) & (frame[..., 1:] < 90).all(axis=2)


def lines(frame: np.ndarray) -> np.ndarray:
    return (frame < 56).all(axis=2)


def figures(first: np.ndarray, last: np.ndarray, made: np.ndarray) -> dict[str, float | int | None]:
    keys, frame = (over_grey(first), over_grey(last)), over_grey(made)
    colours = np.unique(np.concatenate([key.reshape(-1, 3) for key in keys]), axis=0)
    seen, counts = np.unique(frame.reshape(-1, 3), axis=0, return_counts=True)
    apart = cKDTree(colours.astype(float)).query(seen.astype(float), p=np.inf)[0]
    hard = made.shape[2] == 4 and all(
        key.shape[2] == 4 and np.isin(key[..., 3], (0, 255)).all() for key in (first, last)
    )
    blotch = max(BLOTCH, round(BLOTCH * made.shape[1] / 320))
    dark = (red(keys[0]) & red(keys[1]) & (frame.max(axis=2) < DARK)).astype(np.uint8)
    return {
        "dark": int(cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((blotch, blotch), np.uint8)).sum()),
        "red": _over(red(frame), *(red(key) for key in keys)),
        "lines": _over(lines(frame), *(lines(key) for key in keys)),
        "strange": round(1000 * float(counts[apart > STRANGE].sum() / counts.sum()), 2),
        "matte": round(1000 * float((~np.isin(made[..., 3], (0, 255))).mean()), 2) if hard else None,
    }


def _over(here: np.ndarray, first: np.ndarray, last: np.ndarray) -> float | None:
    mean = (first.sum() + last.sum()) / 2
    return round(float(here.sum() / mean), 3) if mean >= 20 else None


def middle(folder: Path, keys: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The middle frame of the first gap, which ends at the first file equal to the second key."""
    frames = [read_image(file) for file in sorted(folder.glob("[0-9]*.png"))]
    end = next(
        (n for n, frame in enumerate(frames) if n and np.array_equal(over_grey(frame), over_grey(keys[1]))),
        len(frames) - 1,
    )
    return frames[end // 2]


def thumbnail(frame: np.ndarray) -> Image.Image:
    picture = Image.fromarray(over_grey(frame))
    return picture.resize((WIDTH, round(WIDTH * picture.height / picture.width)), Image.Resampling.LANCZOS)


def sheet(rows: dict[str, list[np.ndarray]], heads: list[str]) -> Image.Image:
    small = {name: [thumbnail(frame) for frame in frames] for name, frames in rows.items()}
    height = TOP + sum(row[0].height + GAP for row in small.values())
    board = Image.new("RGB", (LEFT + len(heads) * (WIDTH + GAP), height), "white")
    pen, top = ImageDraw.Draw(board), TOP
    for number, head in enumerate(heads):
        pen.text((LEFT + number * (WIDTH + GAP) + 2, 2), head, fill="black")
    for name, row in small.items():
        pen.text((2, top + row[0].height // 2), name, fill="black")
        for number, picture in enumerate(row):
            board.paste(picture, (LEFT + number * (WIDTH + GAP), top))
        top += row[0].height + GAP
    return board


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--drawn", action="append", required=True, help="NAME=DIR")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the contact sheet")
    parser.add_argument("--record", type=Path, default=Path("benchmarks/results/cases.json"))
    words = parser.parse_args()
    drawn = {name: Path(folder) for name, folder in (one.split("=", 1) for one in words.drawn)}
    rows, found = {}, {}
    for case in sorted(path for path in words.folder.iterdir() if path.is_dir()):
        first, last = (read_image(file) for file in sorted(file for file in case.iterdir() if file.suffix != ".md")[:2])
        made = {
            name: middle(folder / case.name, (first, last))
            for name, folder in drawn.items()
            if (folder / case.name).is_dir()
        }
        nothing = np.full((*first.shape[:2], 3), 255, np.uint8)
        rows[case.name] = [first, last, *(made.get(name, nothing) for name in drawn)]
        found[case.name] = {name: figures(first, last, frame) for name, frame in made.items()}
        print(case.name, *(f"{name}: {values}" for name, values in found[case.name].items()), sep="\n  ")
    board = sheet(rows, ["first key", "second key", *drawn])
    board.quantize(128).save(words.output, optimize=True)
    write_json(words.record, {"git": git_revision(), "cases": found})


if __name__ == "__main__":
    main()
