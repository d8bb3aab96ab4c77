"""Recall and precision of held frames after H.264, by width and rate.

    python benchmarks/held.py [--clips DIR]

Six drawn scenes of eight drawings each, one after the other, exposed 1, 2, 2, 3 and 4 frames in turn; with `--clips`
also some clips of that folder, every second frame as a drawing, scaled. `recall`: held frames that are found;
`precision`: found frames that are held (holds of the clips themselves count as errors).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from nakawari.data.drawings import watch
from nakawari.data.synthetic import SyntheticScene
from nakawari.files import write_json
from nakawari.media import flatten, iter_frames
from nakawari.provenance import git_revision, machine, packages

SIZES = ((144, 256), (288, 512), (576, 1024), (1080, 1920))
RATES = (18, 23, 28)
EXPOSURES = (1, 2, 2, 3, 4)
TRAVELS = (0.02, 0.05, 0.12, 0.2, 0.03, 0.08)


def scenes(size: tuple[int, int]) -> list[np.ndarray]:
    """Drawings of scenes with little and much motion."""
    drawn = [SyntheticScene(40 + k, size, travel).render(np.linspace(0, 1, 8)) for k, travel in enumerate(TRAVELS)]
    return [drawing for scene in drawn for drawing in scene]


def real(folder: Path, size: tuple[int, int]) -> list[np.ndarray]:
    """Eight drawings of every fortieth clip of a folder, scaled."""
    found = []
    for path in sorted(folder.glob("*.mp4"))[7::40]:
        frames = [flatten(frame) for frame in iter_frames(path)][:16:2]
        found += [cv2.resize(frame, size[::-1], interpolation=cv2.INTER_CUBIC) for frame in frames]
    return found


def through(frames: Sequence[np.ndarray], rate: int) -> list[np.ndarray]:
    """Frames after H.264, 4:2:0, at a constant rate factor."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=24)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt, stream.options = "yuv420p", {"crf": str(rate)}
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
            container.mux(stream.encode())
        return list(iter_frames(path))


def measure(drawings: Sequence[np.ndarray], rate: int) -> dict[str, Any]:
    """Recall and precision of held frames."""
    shows = np.repeat(np.arange(len(drawings)), [EXPOSURES[k % len(EXPOSURES)] for k in range(len(drawings))])
    held = np.array(
        [
            k > 0 and np.array_equal(drawings[a], drawings[b])
            for k, (a, b) in enumerate(zip(shows, np.roll(shows, 1), strict=True))
        ]
    )
    found = watch(through([drawings[k] for k in shows], rate), 24).held
    both = int((held & found).sum())
    return {"held": int(held.sum()), "frames": len(held), "recall": both / held.sum(), "precision": both / found.sum()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/held.json"))
    given = parser.parse_args()
    rows = []
    print(f"{'drawings':<10}{'width':>6}{'crf':>5}{'held':>6}{'recall':>8}{'precision':>11}")
    for size in SIZES:
        kinds = {"drawn": scenes(size)} | ({"clips": real(given.clips, size)} if given.clips else {})
        for kind, drawings in kinds.items():
            for rate in RATES:
                row = {"drawings": kind, "width": size[1], "crf": rate} | measure(drawings, rate)
                rows.append(row)
                shares = f"{row['recall']:>8.3f}{row['precision']:>11.3f}"
                print(f"{kind:<10}{size[1]:>6}{rate:>5}{row['held']:>6}{shares}", flush=True)
    write_json(given.output, {"rows": rows, "packages": packages(), "git": git_revision(), "machine": machine()})


if __name__ == "__main__":
    main()
