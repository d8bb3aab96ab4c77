"""Point control learnt from footage: how true the tracks are, and where drags land on clips that were held out.

    python benchmarks/framer_footage.py RUN [--clips 100] [--steps 10] [--sheet SHEET.png]

RUN is what `nakawari train recipes/framer/4-footage.yaml -o RUN` made. Tracks are held against synthetic scenes whose
motion is known. Then each held-out clip is drawn by the run's base and by what it made, along the track of the point
that moves most, from the same noise. Where that point landed is where its patch of the start key is found in the drawn
middle frame (normalised correlation), within `REACH` pixels of the place that the truth has it at. Nothing is trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nakawari.data.footage_tracks import find_tracks
from nakawari.data.synthetic import SyntheticScene
from nakawari.evaluation.statistics import paired
from nakawari.files import write_json
from nakawari.media.tensors import to_uint8
from nakawari.media.write import write_image
from nakawari.provenance import git_revision, machine, packages
from nakawari.training.data_sources import held_out_samples
from nakawari.training.objectives.base import sample_generator
from nakawari.training.recipe import load_recipe
from nakawari.variants import load

RESULT = Path(__file__).parent / "results" / "framer-footage.json"
SEED, SCENES = 79_000, 40
PATCH, REACH = 7, 14
"""Half the side of a patch, and how far around the true place it is looked for, in pixels."""
OUTLINE = 3
"""Corners stand on outlines, where two things meet that move differently: pixels within which either motion counts."""
FAR = 4.0
"""Pixels from key to middle from which on a point is a drag."""
Frame = NDArray[np.uint8]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path)
    words.add_argument("--clips", type=int, default=100)
    words.add_argument("--steps", type=int, default=10)
    words.add_argument("--sheet", type=Path)
    words.add_argument("-o", "--output", type=Path, default=RESULT)
    given = words.parse_args()
    errors = track_errors()
    print(f"tracks: {len(errors)} points of {SCENES} scenes; endpoint error:")
    for name, values in zip(("at the point", f"within {OUTLINE} px of it"), np.array(errors).T, strict=True):
        print(f"  {name:<20}median {np.median(values):.2f} px, {np.mean(values < 1):.0%} below 1 px")
    recipe = load_recipe(given.run / "recipe.yaml", ["validation.samples=400"])
    clips = drags(held_out_samples(recipe), given.clips)
    rows: dict[str, list[Frame]] = {}
    for way, name, led in (
        ("before", recipe.model.base, True),
        ("trained", str(given.run / "best"), True),
        ("trained, no track", str(given.run / "best"), False),
    ):
        rows[way] = drawn(str(name), clips, given.steps, led)
    rows["truth"] = [to_uint8(clip["frames"][1]) for clip in clips]
    found = {way: [landing(clip, frame) for clip, frame in zip(clips, own, strict=True)] for way, own in rows.items()}
    films = [clip["name"].rpartition("@")[0] or clip["name"] for clip in clips]
    print(f"{len(clips)} drags of {len(set(films))} clips; distance from the true place:")
    for way, values in found.items():
        print(f"  {way:<20}median {np.median(values):5.2f} px, mean {np.mean(values):5.2f}")
    record: dict[str, Any] = {"track_errors": errors, "landings": found, "films": films, "paired": {}}
    for one, other in (("trained", "before"), ("trained", "trained, no track")):
        compared = paired(found[one], found[other], higher_is_better=False, films=films)
        gain = compared.difference
        print(f"  {one} - {other}: {gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] px")
        record["paired"][f"{one} - {other}"] = compared.to_dict()
    about = {"steps": given.steps, "seed": SEED, "patch": PATCH, "reach": REACH, "far": FAR}
    write_json(
        given.output, record | {"settings": about, "packages": packages(), "git": git_revision(), "machine": machine()}
    )
    if given.sheet is not None:
        sheet(clips[:8], {way: own[:8] for way, own in rows.items()}, given.sheet)


def track_errors() -> list[tuple[float, float]]:
    """Endpoint errors in pixels of points that are followed through synthetic scenes and visible at both ends: against
    the motion where the point stands, and against the nearest of those within `OUTLINE` pixels."""
    found: list[tuple[float, float]] = []
    times = np.linspace(0, 1, 5).tolist()
    for number in range(SCENES):
        scene = SyntheticScene(SEED + number, (160, 256))
        tracks = find_tracks(scene.render(times), 20, np.random.default_rng(number))
        flow, visible = scene.flow(0.0, 1.0)
        for point in [] if tracks is None else tracks.transpose(1, 0, 2):
            column, row = np.round(point[0]).astype(int)
            if visible[row, column]:
                away = np.linalg.norm(flow - (point[-1] - point[0]), axis=-1)
                rows, columns = (slice(max(0, at - OUTLINE), at + OUTLINE + 1) for at in (row, column))
                found.append((float(away[row, column]), float(away[rows, columns].min())))
    return found


def drags(samples: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The first `count` samples with a point that moves far enough, away from the border; `track` (F, 1, 2) is its."""
    found = []
    for sample in samples:
        tracks = sample["tracks"]
        if tracks is None:
            continue
        way = np.linalg.norm(tracks[1] - tracks[0], axis=1)
        height, width = sample["frames"].shape[-2:]
        margin = PATCH + 1
        inside = ((tracks[:2] >= margin) & (tracks[:2] < (width - margin, height - margin))).all(axis=(0, 2))
        if (way[inside] >= FAR).any():
            best = int(np.argmax(np.where(inside, way, 0)))
            found.append({**sample, "track": tracks[:, best : best + 1]})
    return found[:count]


def drawn(name: str, clips: list[dict[str, Any]], steps: int, led: bool) -> list[Frame]:
    """The middle frame of every clip, from the clip's own noise."""
    pipeline = load(name).pipeline
    pipeline.set_progress_bar_config(disable=True)
    made = []
    for number, clip in enumerate(clips):
        frames = clip["frames"]
        output = pipeline(
            frames[:1],
            frames[-1:],
            num_frames=len(frames),
            num_inference_steps=steps,
            guidance_scale=1.0,
            tracks=[clip["track"]] if led else None,
            generator=[sample_generator(SEED, number)],
            output_type="np",
        )
        made.append(np.round(output.frames[0, 1] * 255).astype(np.uint8))
    return made


def landing(clip: dict[str, Any], frame: Frame) -> float:
    """Pixels from the true place of the point in the middle frame to where its patch is found there."""
    start = to_uint8(clip["frames"][0])
    (x, y), true = np.round(clip["track"][0, 0]).astype(int), clip["track"][1, 0]
    patch = start[y - PATCH : y + PATCH + 1, x - PATCH : x + PATCH + 1]
    scores = cv2.matchTemplate(frame, patch, cv2.TM_CCOEFF_NORMED)
    rows, columns = np.mgrid[: scores.shape[0], : scores.shape[1]] + PATCH
    away = np.hypot(columns - true[0], rows - true[1])
    return float(away.flat[np.argmax(np.where(away <= REACH, scores, -np.inf))])


def sheet(clips: list[dict[str, Any]], rows: dict[str, list[Frame]], path: Path) -> None:
    """A row per clip: both keys, then the middle frame of every way, with the true place marked."""
    lines = []
    for number, clip in enumerate(clips):
        keys = [to_uint8(clip["frames"][index]) for index in (0, -1)]
        middles = [own[number].copy() for own in rows.values()]
        for picture in middles:
            at = tuple(int(value) for value in np.round(clip["track"][1, 0]))
            cv2.drawMarker(picture, at, (255, 0, 0), cv2.MARKER_CROSS, 7, 1)
        lines.append(np.concatenate([*keys, *middles], axis=1))
    write_image(path, np.concatenate(lines))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
