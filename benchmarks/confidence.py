"""How well the confidence of in-betweens detects bad ones, and how well cuts are found.

`python benchmarks/confidence.py draw CLIPS DRAWN` draws middle frames of clips that mini was not trained on (the
validation split of its training clips), and `... fit DRAWN` fits `src/nakawari/assets/confidence.json` to them: a
logistic regression for frames (wrong: ST-LPIPS in the worst fifth) and one for pixels (wrong: an error over 24 levels).
`python benchmarks/confidence.py score EVAL SHOWS [RESULTS]` draws the middle frames of EVAL/triplets at 256x160, prints
the area under the ROC curve for "in the worst fifth by ST-LPIPS", detects cuts in 40 gaps of SHOWS/<show>/*.mp4, 20 of
them cuts between shows, and counts false alarms on the triplets. With RESULTS, from `nakawari evaluate mini` with
`drawn-protocol.yaml`, it uses the middle frames there.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nakawari.data.clips import group_of, split_of
from nakawari.evaluation.metrics import METRICS
from nakawari.files import atomic_path, write_json
from nakawari.interpolation import Key, Settings, draw
from nakawari.interpolation.confidence import FIT, Keys, scaled
from nakawari.interpolation.cuts import is_cut
from nakawari.media import iter_frames
from nakawari.variants import load

RESULT = Path(__file__).parent / "results" / "confidence.json"
SIZE = (256, 160)
HELD_OUT = 0.1  # share of the sources; includes the 0.05 of the models' validation
HALVES = (1, 2, 3, 4, 6, 8, 10, 12)
LEAST_CHANGE = 1.0  # levels between the keys
WORST = 0.8
WRONG = 24
PIXELS = 300
FOLDS = 5
Triplet = tuple[str, str, list[np.ndarray]]


def held_out(folder: Path) -> Iterator[Triplet]:
    """(name, source, three frames) of the held-out clips, one triplet per spacing."""
    rng = np.random.default_rng(0)
    for path in sorted(folder.glob("*.mp4")):
        if split_of(path.stem, HELD_OUT) != "validation":
            continue
        frames = np.stack(list(iter_frames(path)))
        for half in HALVES:
            for start in rng.permutation(max(0, len(frames) - 2 * half))[:12]:
                triplet = [frames[start + k * half] for k in (0, 1, 2)]
                if np.abs(triplet[0].astype(int) - triplet[2]).mean() >= LEAST_CHANGE:
                    yield f"{path.stem}_{start}_{half}", group_of(path.stem), triplet
                    break


def scored(folder: Path) -> Iterator[Triplet]:
    """(name, level, three frames at 256x160) of the evaluation triplets."""
    with (folder / "index.csv").open() as file:
        for row in csv.DictReader(file):
            files = [folder / "triplets" / row["name"] / f"frame{k}.png" for k in (1, 2, 3)]
            pictures = [Image.open(one).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS) for one in files]
            yield row["name"], row["level"], [np.asarray(one) for one in pictures]


def middle(pipeline: Any, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    drawn = draw([Key(Path("a"), first), Key(Path("b"), last)], Settings((1,)), pipeline)
    return drawn.frames[1], dict(drawn.used[0])


def auc(scores: np.ndarray, wrong: np.ndarray) -> float:
    """Area under the ROC curve; equal scores count half."""
    above = scores[wrong][:, None] - scores[~wrong][None]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def logistic(rows: np.ndarray, wrong: np.ndarray, ridge: float) -> dict[str, Any]:
    """Ridge-regularised logistic regression by Newton's method, on standardised columns."""
    mean, deviation = rows.mean(0), rows.std(0) + 1e-9
    own = np.c_[(rows - mean) / deviation, np.ones(len(rows))]
    weights, penalty = np.zeros(own.shape[1]), ridge * np.eye(own.shape[1])
    penalty[-1, -1] = 0
    for _ in range(50):
        chance = 1 / (1 + np.exp(-own @ weights))
        curvature = (own * (chance * (1 - chance))[:, None]).T @ own + penalty
        weights -= np.linalg.solve(curvature, own.T @ (chance - wrong) + penalty @ weights)
    rounded = {"mean": mean, "deviation": deviation, "weights": weights[:-1]}
    return {name: [round(float(v), 5) for v in values] for name, values in rounded.items()} | {
        "constant": round(float(weights[-1]), 5)
    }


def chance(fit: dict[str, Any], rows: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-((rows - fit["mean"]) / fit["deviation"] @ np.array(fit["weights"]) + fit["constant"])))


def draw_held_out(clips: Path, folder: Path) -> None:
    """Draw the middle frames of held-out clips; existing ones are not drawn again."""
    pipeline = load("mini", "cpu").pipeline
    pipeline.set_progress_bar_config(disable=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name, source, (first, truth, last) in held_out(clips):
        if (folder / f"{name}.npz").exists():
            continue
        made, _ = middle(pipeline, first, last)
        distance = METRICS["st-lpips"].function(made, truth)
        with atomic_path(folder / f"{name}.npz") as path:
            np.savez_compressed(path, first=first, truth=truth, last=last, made=made, distance=distance, source=source)
        print(f"{name:32} {distance:.4f}", flush=True)


def fit(folder: Path) -> None:
    rng = np.random.default_rng(0)
    whole, pixels, distances, wrong, sources = [], [], [], [], []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            first, truth, last, made = (data[key] for key in ("first", "truth", "last", "made"))
            distances.append(float(data["distance"]))
            sources.append(str(data["source"]))
        figures, planes = Keys((first, last)).figures(made, 0.5)
        off = (np.abs(made.astype(int) - truth).max(axis=2) > WRONG).ravel()
        chosen = rng.integers(0, off.size, PIXELS)
        whole.append(figures)
        pixels.append({key: plane.ravel()[chosen] for key, plane in planes.items()})
        wrong.append(off[chosen])
    frame_names, pixel_names = list(whole[0]), list(pixels[0])
    rows = np.stack([scaled(one, frame_names) for one in whole])
    spots = np.concatenate([scaled(one, pixel_names) for one in pixels])
    border = float(np.quantile(distances, WORST))
    bad, off = np.array(distances) >= border, np.concatenate(wrong)
    fold = np.unique(sources, return_inverse=True)[1] % FOLDS
    guesses = np.zeros(len(rows))
    for k in range(FOLDS):
        guesses[fold == k] = chance(logistic(rows[fold != k], bad[fold != k], 1.0), rows[fold == k])
    log = {
        "in_betweens": len(rows),
        "sources": len(set(sources)),
        "worst_fifth": round(border, 4),
        "auc_of_5_folds_by_source": round(auc(guesses, bad), 4),
        "pixels": len(spots),
        "wrong_pixels": round(float(off.mean()), 4),
    }
    about = (
        "benchmarks/confidence.py; middles of clips held out of training, by mini as it ships at one step; a frame is "
    )
    about += f"wrong from ST-LPIPS {border:.4f} on, the worst fifth, a pixel from {WRONG} levels on"
    frame, pixel = logistic(rows, bad, 1.0), logistic(spots, off, 5.0)
    found = {"frame": {"figures": frame_names} | frame, "pixel": {"figures": pixel_names} | pixel}
    write_json(FIT, {"recipe": about, "log": log} | found)
    print(json.dumps(log, indent=1))


def show_gaps(shows: Path) -> Iterator[tuple[str, bool, np.ndarray, np.ndarray]]:
    """40 gaps: 20 between different shows, 20 between neighbouring drawings of one clip."""
    clips = {show.name: sorted(show.glob("*.mp4")) for show in sorted(shows.iterdir()) if show.is_dir()}
    pairs = list(combinations(clips, 2))
    for number in range(20):
        one, other = pairs[number % len(pairs)]
        paths = clips[one][number % len(clips[one])], clips[other][(3 * number + 1) % len(clips[other])]
        first, last = (list(iter_frames(path)) for path in paths)
        yield f"{paths[0].stem} | {paths[1].stem}", True, first[len(first) // 2], last[len(last) // 2]
    names = list(clips)
    for number in range(20):
        path = clips[names[number % len(names)]][number // len(names) % len(clips[names[number % len(names)]])]
        frames = list(iter_frames(path))
        place = len(frames) // 2
        yield f"{path.stem} {place}", False, frames[place], frames[min(place + 2, len(frames) - 1)]


def judged(results: Path, name: str, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """A middle frame from an evaluation, drawn as by `interpolate`, and its confidence record."""
    (path,) = (results / "frames" / "mini" / "seed-0" / name).glob("*.png")
    made = np.asarray(Image.open(path).convert("RGB"))
    sure = round(Keys((first, last)).judge(made, 0.5).frame, 4)
    return made, {"drawn_by": None, "confidence": [sure], "cut": is_cut(first, last)}


def score(evaluation: Path, shows: Path, results: Path | None = None) -> None:
    pipeline = None
    if results is None:
        pipeline = load("mini", "cpu").pipeline
        pipeline.set_progress_bar_config(disable=True)
    rows = []
    for name, level, (first, truth, last) in scored(evaluation):
        made, used = judged(results, name, first, last) if results else middle(pipeline, first, last)
        distance = METRICS["st-lpips"].function(made, truth)
        rows.append([name, level, used["drawn_by"], round(distance, 5), used["confidence"][0], used["cut"]])
        print(*rows[-1], flush=True)
    distances, sure = np.array([row[3] for row in rows]), np.array([row[4] for row in rows])
    bad = distances >= np.quantile(distances, WORST)
    gaps = [[name, cut, is_cut(first, last)] for name, cut, first, last in show_gaps(shows)]
    cuts = [found for _, cut, found in gaps if cut]
    alarms = {level: sum(row[5] for row in rows if row[1] == level) for level in ("easy", "medium", "hard")}
    result = {
        "auc_worst_fifth": round(auc(-sure, bad), 4),
        "confidence_of_worst_fifth": round(float(sure[bad].mean()), 3),
        "confidence_of_others": round(float(sure[~bad].mean()), 3),
        "cuts": {"found": sum(cuts), "of": len(cuts), "false_alarms_of_20": sum(f for _, cut, f in gaps if not cut)},
        "false_alarms_on_triplets": alarms,
    }
    print(json.dumps(result, indent=1))
    columns = ["name", "level", "drawn_by", "st_lpips", "confidence", "cut"]
    write_json(RESULT, result | {"columns": columns, "triplets": rows, "gaps": gaps})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("draw", "fit", "score"))
    parser.add_argument("folders", type=Path, nargs="+", help="CLIPS DRAWN, DRAWN, or EVAL SHOWS [RESULTS]")
    words = parser.parse_args()
    {"draw": draw_held_out, "fit": fit, "score": score}[words.what](*words.folders)


if __name__ == "__main__":
    main()
