"""Accuracy of drags: where a model draws the sprite in scenes with keys that do not determine its path.

    python benchmarks/framer_drag.py MODEL [--cases 50] [--steps 10] [--sheet SHEET.png]

Each case is drawn three times from the same keys and noise: along the given track, along the
track with the opposite detour (if that stays in the frame), and without a track. The sprite's position is the
centre of all pixels that differ from the known background by more than half of the sprite's contrast. Nothing is
trained.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nakawari.data.drag_scenes import DragSamples, DragScene, Point
from nakawari.families.framer.pipeline import FramerPipeline
from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages
from nakawari.training.objectives.base import sample_generator
from nakawari.variants import load

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "framer-drag.json"
FIGURE = ROOT / "docs" / "images" / "framer-drag.png"
SEED = 77_000
SIZE = (160, 256)
NEAR = 4.0
Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Drawn:
    """The in-between of one case: the given middle position (None = no track), the frame, the sprite's position."""

    asked: Point | None
    frame: Frame
    landed: Point | None


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("model")
    words.add_argument("--cases", type=int, default=50)
    words.add_argument("--steps", type=int, default=10)
    words.add_argument("--figure", type=Path, default=FIGURE)
    words.add_argument("--sheet", type=Path)
    words.add_argument("-o", "--output", type=Path, default=RESULT)
    given = words.parse_args()
    pipeline = load(given.model).pipeline
    samples = DragSamples([3], SIZE, 1, SEED)
    scenes = [samples.scene(index) for index in range(given.cases)]
    rows = [case(pipeline, scene, index, given.steps) for index, scene in enumerate(scenes)]
    found = summary(scenes, rows)
    for name, entry in found["ways"].items():
        print(
            f"{name:<12}{entry['near']:>4} of {entry['cases']:<4} within {NEAR:g} px; median {entry['median']:.1f} px"
        )
    about = {"size": SIZE, "steps": given.steps, "seed": SEED, "near": NEAR, "threads": torch.get_num_threads()}
    record = found | {"settings": about, "packages": packages(), "git": git_revision(), "machine": machine()}
    write_json(given.output, record)
    figure(found, given.figure)
    if given.sheet is not None:
        sheet(scenes[:10], rows[:10], given.sheet)


def case(pipeline: FramerPipeline, scene: DragScene, index: int, steps: int) -> dict[str, Drawn]:
    """One scene drawn along its track, along the opposite track, and without a track."""
    asked: dict[str, Point | None] = {"asked": scene.middle, "none": None}
    if _fits(scene.mirrored, scene.radius):
        asked["mirrored"] = scene.mirrored
    frames = drawn(pipeline, scene, list(asked.values()), index, steps)
    made = zip(asked.items(), frames, strict=True)
    return {way: Drawn(middle, frame, landing(frame, scene)) for (way, middle), frame in made}


def _fits(point: Point, radius: float) -> bool:
    return all(radius <= value <= side - 1 - radius for value, side in zip(point, SIZE[::-1], strict=True))


def drawn(pipeline: FramerPipeline, scene: DragScene, asked: list[Point | None], index: int, steps: int) -> list[Frame]:
    """The middle frame of three for every given middle position, all from the same noise."""
    start, end = (np.stack([key] * len(asked)) for key in scene.render([0.0, 1.0]))
    tracks = [None if middle is None else scene.through(middle).track([0.0, 0.5, 1.0])[:, None] for middle in asked]
    made = pipeline(
        start,
        end,
        num_frames=3,
        num_inference_steps=steps,
        guidance_scale=1.0,
        tracks=tracks,
        generator=[sample_generator(SEED, index) for _ in asked],
        output_type="np",
    )
    return list(np.round(made.frames[:, 1] * 255).astype(np.uint8))


def landing(frame: Frame, scene: DragScene) -> Point | None:
    """Centre of the foreground, x and y; None if there is none."""
    difference = np.abs(frame.astype(np.float32) - scene.ground).sum(-1)
    contrast = np.abs(scene.colours[0] - scene.ground.mean((0, 1))).sum()
    rows, columns = np.nonzero(difference > contrast / 2)
    return (float(columns.mean()), float(rows.mean())) if len(rows) else None


def summary(scenes: list[DragScene], rows: list[dict[str, Drawn]]) -> dict[str, Any]:
    """Distances from the target; without a track, from the target of the omitted track."""
    ways: dict[str, Any] = {}
    for way in ("asked", "mirrored", "none"):
        offsets = [
            _offset(row[way], row[way].asked or scene.middle)
            for scene, row in zip(scenes, rows, strict=True)
            if way in row
        ]
        distances = [None if offset is None else float(np.hypot(*offset)) for offset in offsets]
        far = [np.inf if distance is None else distance for distance in distances]
        near = sum(distance <= NEAR for distance in far)
        ways[way] = {"cases": len(far), "near": near, "share": near / len(far), "median": float(np.median(far))}
        ways[way] |= {"offsets": offsets, "nothing_drawn": sum(offset is None for offset in offsets)}
    return {"ways": ways}


def _offset(made: Drawn, asked: Point) -> Point | None:
    return None if made.landed is None else (made.landed[0] - asked[0], made.landed[1] - asked[1])


def figure(found: dict[str, Any], path: Path) -> None:
    """Plot the sprite's positions relative to the target, and the share of cases within each distance."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    painted, (left, right) = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
    colours = {"asked": "#0b6e4f", "mirrored": "#3a86c8", "none": "#c44536"}
    titles = {"asked": "track", "mirrored": "opposite track", "none": "no track"}
    for way, entry in found["ways"].items():
        points = np.array([offset for offset in entry["offsets"] if offset is not None]).reshape(-1, 2)
        left.scatter(*points.T, s=14, color=colours[way], label=titles[way], alpha=0.8, linewidths=0)
        distances = np.sort(np.hypot(*points.T))
        share = np.arange(1, len(distances) + 1) / entry["cases"]
        right.step(np.append(distances, 90), np.append(share, share[-1:]), where="post", color=colours[way])
    left.add_patch(pyplot.Circle((0, 0), NEAR, fill=False, color="black", linewidth=1))
    left.set(xlim=(-60, 60), ylim=(60, -60), xlabel="x, landed - asked (px)", ylabel="y (px)", aspect="equal")
    left.legend(frameon=False, loc="upper right")
    right.axvline(NEAR, color="black", linewidth=1)
    right.set(xlim=(0, 60), ylim=(0, 1.02), xlabel="distance from the asked place (px)", ylabel="share of cases")
    path.parent.mkdir(parents=True, exist_ok=True)
    painted.savefig(path, dpi=110)


def sheet(scenes: list[DragScene], rows: list[dict[str, Drawn]], path: Path) -> None:
    """A row per case: start, end, no track, track, opposite track, with the given tracks overlaid."""
    import cv2

    lines = []
    for scene, row in zip(scenes, rows, strict=True):
        start, end = scene.render([0.0, 1.0])
        pictures = [start, end, row["none"].frame]
        for way in ("asked", "mirrored"):
            picture = np.zeros_like(start)
            if way in row and row[way].asked is not None:
                picture = row[way].frame.copy()
                track = scene.through(row[way].asked).track(np.linspace(0, 1, 30).tolist())
                cv2.polylines(picture, [np.round(track).astype(np.int32)], False, (255, 255, 255), 1, cv2.LINE_AA)
                at = tuple(round(value) for value in row[way].asked)
                cv2.drawMarker(picture, at, (255, 255, 255), cv2.MARKER_CROSS, 9, 1)
            pictures.append(picture)
        lines.append(np.concatenate(pictures, axis=1))
    from nakawari.media.write import write_image

    write_image(path, np.concatenate(lines))


if __name__ == "__main__":
    main()
