"""Point control learnt from footage: how true the tracks are, and where drags land on clips that were held out.

    python benchmarks/framer_footage.py RUN [--samples 700] [--steps 10] [--sheet SHEET.png]

RUN is what `nakawari train recipes/framer/6-footage-control.yaml -o RUN` made. Tracks are held against synthetic scenes
whose motion is known. Then windows of the held-out clips are drawn by the model that the run began with and by what it
made, along one track each and from the same noise, and by the run's base without a track. Where the point landed is
where its surroundings in the start key are found in the drawn middle frame (normalised correlation). Both are looked at
through the model's autoencoder, so that what it cannot draw misleads no one. Nothing is trained.

Which points are drags, the true frames alone decide: of the points that are followed through a window, those that move
`FAR` pixels from key to middle, and that this very measure finds in the true middle frame, plain and through the
autoencoder, within `CERTAIN` pixels of where the track has them and nowhere else. The farthest of them is the window's
drag; a clip has `PER_CLIP` at most.
"""

from __future__ import annotations

import argparse
import collections
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
PATCH, REACH = 7, 16
"""Half the side of a patch, and how far around the true place it is looked for, in pixels."""
OUTLINE = 3
"""Corners stand on outlines, where two things meet that move differently: pixels within which either motion counts."""
FAR = 3.0
CERTAIN = 1.5
ALONE, LIKENESS = 4.0, 0.1
"""A patch is somewhere else, too, where a place `ALONE` pixels or more from the best is less than `LIKENESS` worse."""
TELLS = 2.0
"""Pixels from the middle of its ends from which on a point's true place is one that the keys do not tell."""
PER_CLIP = 4
Frame = NDArray[np.uint8]


class Drag(NamedTuple):
    """A window (F, 3, H, W) in [-1, 1] of the film `film`, the same `seen` through the autoencoder, and the track
    (F, 1, 2) of one point of it."""

    film: str
    frames: Tensor
    seen: Tensor
    track: NDArray[np.float32]

    @property
    def untold(self) -> float:
        """Pixels from where the point is in the middle frame to the middle between its ends."""
        first, middle, last = self.track[[0, 1, -1], 0]
        return float(np.linalg.norm(middle - (first + last) / 2))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path)
    words.add_argument("--samples", type=int, default=700, help="windows of held-out clips to look for drags in")
    words.add_argument("--steps", type=int, default=10)
    words.add_argument("--sheet", type=Path)
    words.add_argument("--keep", type=Path, help="a folder from which the same command goes on where it was stopped")
    words.add_argument("-o", "--output", type=Path, default=RESULT)
    given = words.parse_args()
    errors = track_errors()
    print(f"tracks: {len(errors)} points of {SCENES} scenes; endpoint error:")
    for name, values in zip(("at the point", f"within {OUTLINE} px of it"), np.array(errors).T, strict=True):
        print(f"  {name:<22}median {np.median(values):.2f} px, {np.mean(values < 1):.0%} below 1 px")
    recipe = load_recipe(given.run / "recipe.yaml", [f"validation.samples={given.samples}", "data.tracks=0"])
    before, trained = str(recipe.model.base), str(given.run / "best")
    drags = kept_drags(given.keep, lambda: find_drags(held_out_samples(recipe), load(trained).pipeline))
    films = [drag.film for drag in drags]
    rows: dict[str, Sequence[Frame]] = {}
    for way, name, led in (("before", before, True), ("trained", trained, True), ("no track", trained, False)):
        rows[way] = kept(given.keep, way, partial(drawn, name, drags, given.steps, led))
    rows["average of keys"] = [to_uint8(drag.seen[[0, -1]].mean(0)) for drag in drags]
    rows["truth"] = [to_uint8(drag.seen[1]) for drag in drags]
    found = {way: [landing(drag, frame) for drag, frame in zip(drags, own, strict=True)] for way, own in rows.items()}
    untold = np.array([drag.untold >= TELLS for drag in drags])
    record: dict[str, Any] = {"track_errors": errors, "landings": found, "films": films, "paired": {}}
    record["untold"] = [drag.untold for drag in drags]
    for group, chosen in (("all", np.full(len(drags), True)), ("untold", untold)):
        record["paired"][group] = report(group, found, films, chosen)
    about = {"steps": given.steps, "seed": SEED, "patch": PATCH, "reach": REACH, "far": FAR, "certain": CERTAIN}
    about |= {"alone": ALONE, "likeness": LIKENESS, "tells": TELLS, "per_clip": PER_CLIP, "samples": given.samples}
    write_json(
        given.output, record | {"settings": about, "packages": packages(), "git": git_revision(), "machine": machine()}
    )
    if given.sheet is not None:
        shown = np.flatnonzero(untold)[:: max(1, untold.sum() // 8)][:8]
        sheet([drags[at] for at in shown], {way: [own[at] for at in shown] for way, own in rows.items()}, given.sheet)


def kept(folder: Path | None, name: str, make: Callable[[], Sequence[Any]]) -> NDArray[Any]:
    """An array that `make` makes, or that stands in `folder` from before."""
    if folder is None:
        return np.stack(make())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.npy"
    if not path.exists():
        np.save(path, np.stack(make()))
    return np.load(path)


def kept_drags(folder: Path | None, find: Callable[[], list[Drag]]) -> list[Drag]:
    """As `kept`."""
    found = cache(find)
    films, frames, seen, tracks = (
        kept(folder, name, lambda name=name: [np.asarray(getattr(drag, name)) for drag in found()])
        for name in Drag._fields
    )
    pictures = zip(map(torch.from_numpy, frames), map(torch.from_numpy, seen), strict=True)
    return [Drag(str(film), *own, track) for film, own, track in zip(films, pictures, tracks, strict=True)]


def report(group: str, found: dict[str, list[float]], films: list[str], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Print and return where the chosen drags landed, and the differences with intervals over clips."""
    own = [film for film, taken in zip(films, chosen, strict=True) if taken]
    values = {way: np.array(all_values)[chosen] for way, all_values in found.items()}
    print(f"{group}: {len(own)} drags of {len(set(own))} clips; distance from the true place:")
    for way, away in values.items():
        print(f"  {way:<16}median {np.median(away):5.2f} px, mean {away.mean():5.2f}")
    record = {}
    for one, other in (("trained", "before"), ("trained", "no track"), ("before", "no track")):
        compared = paired(values[one], values[other], higher_is_better=False, films=own)
        gain = compared.difference
        print(f"  {one} - {other}: {gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] px")
        record[f"{one} - {other}"] = compared.to_dict()
    return record


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


def find_drags(samples: list[dict[str, Any]], pipeline: Any) -> list[Drag]:
    """The farthest drag of every window, for each clip those of its first windows that have one."""
    found: list[Drag] = []
    taken: collections.Counter[str] = collections.Counter()
    for number, sample in enumerate(samples):
        film, frames = sample["name"].rpartition("@")[0] or sample["name"], sample["frames"]
        if taken[film] == PER_CLIP:
            continue
        tracks = find_tracks(to_uint8(frames), 1000, np.random.default_rng([SEED, number]))
        if tracks is None:
            continue
        way = np.linalg.norm(tracks[1] - tracks[0], axis=1)
        size = np.array(frames.shape[:-3:-1])
        inside = ((tracks[:2] >= PATCH + 1) & (tracks[:2] < size - PATCH - 1)).all(axis=(0, 2))
        order = [index for index in np.argsort(-way) if way[index] >= FAR and inside[index]]
        if not order:
            continue
        plain = [Drag(film, frames, frames, tracks[:, index : index + 1]) for index in order]
        plain = [drag for drag in plain if certain(drag)]
        if not plain:
            continue
        seen = through_autoencoder(pipeline, frames)
        if (
            drag := next((own for own in (drag._replace(seen=seen) for drag in plain) if certain(own)), None)
        ) is not None:
            found.append(drag)
            taken[film] += 1
    return found


@torch.no_grad()
def through_autoencoder(pipeline: Any, frames: Tensor) -> Tensor:
    """Frames (F, 3, H, W) encoded and decoded: the best that the model could draw."""
    condition = pipeline.condition(frames[:1], frames[-1:], num_frames=len(frames))
    return pipeline.decode(pipeline.encode(frames[None], condition), condition)[0].clamp(-1, 1)


def certain(drag: Drag) -> bool:
    """Whether the point is found in the true middle frame, as it is seen, where its track has it, and nowhere else."""
    scores, away = likeness(drag, to_uint8(drag.seen[1]))
    best = scores.max()
    return bool(away.flat[np.argmax(scores)] <= CERTAIN and scores[away >= ALONE].max() <= best - LIKENESS)


def likeness(drag: Drag, frame: Frame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For every place of `frame` within `REACH` of the true one how like it is to the point in the start key, minus
    infinity elsewhere; and how far it is from the true place."""
    (x, y), true = np.round(drag.track[0, 0]).astype(int), drag.track[1, 0]
    patch = to_uint8(drag.seen[0])[y - PATCH : y + PATCH + 1, x - PATCH : x + PATCH + 1]
    scores = cv2.matchTemplate(frame, patch, cv2.TM_CCOEFF_NORMED)
    rows, columns = np.mgrid[: scores.shape[0], : scores.shape[1]] + PATCH
    away = np.hypot(columns - true[0], rows - true[1])
    return np.where(away <= REACH, scores, -np.inf), away


def landing(drag: Drag, frame: Frame) -> float:
    """Pixels from the true place of the point in the middle frame to where it is found there."""
    scores, away = likeness(drag, frame)
    return float(away.flat[np.argmax(scores)])


def drawn(name: str, drags: list[Drag], steps: int, led: bool) -> list[Frame]:
    """The middle frame of every window, from the window's own noise."""
    pipeline = load(name).pipeline
    pipeline.set_progress_bar_config(disable=True)
    made = []
    for number, drag in enumerate(drags):
        output = pipeline(
            drag.frames[:1],
            drag.frames[-1:],
            num_frames=len(drag.frames),
            num_inference_steps=steps,
            guidance_scale=1.0,
            tracks=[drag.track] if led else None,
            generator=[sample_generator(SEED, number)],
            output_type="np",
        )
        made.append(np.round(output.frames[0, 1] * 255).astype(np.uint8))
    return made


def sheet(drags: list[Drag], rows: dict[str, Sequence[Frame]], path: Path) -> None:
    """A row per drag: both keys, then the middle frame of every way, with the true place marked."""
    lines = []
    for number, drag in enumerate(drags):
        keys = [to_uint8(drag.frames[index]) for index in (0, -1)]
        middles = [own[number].copy() for own in rows.values()]
        for picture in middles:
            at = tuple(int(value) for value in np.round(drag.track[1, 0]))
            cv2.drawMarker(picture, at, (255, 0, 0), cv2.MARKER_CROSS, 7, 1)
        lines.append(np.concatenate([*keys, *middles], axis=1))
    write_image(path, np.concatenate(lines))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
