"""Pacing and colour steps of correct methods and of deliberate faults, on sequences of 17 frames.

    python benchmarks/pacing.py DATA [--sequences 5] [--models mini]

Rows: the truth; each model; OpenCV's DIS flow both ways; the cross-fade; installed RIFEs; and four positive controls
made of the truth: a strobe (every second frame held), a stutter (three frames held of four), a late jump, and a cast (4
levels of blue added to every frame between the keys). A value above `FLAGGED` is marked.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from nakawari.data.triplets import open_dataset
from nakawari.evaluation.contestants import Contestant, Model, Task
from nakawari.evaluation.floors import Floor, average, dis_both_ways
from nakawari.evaluation.metrics import METRICS
from nakawari.evaluation.pacing import FLAGGED
from nakawari.evaluation.peers import installed_peers
from nakawari.evaluation.protocol import Protocol
from nakawari.evaluation.samples import Prepared, prepare
from nakawari.evaluation.scored import Frames, Scored
from nakawari.files import write_json
from nakawari.provenance import git_revision, machine, packages
from nakawari.variants import load

NAMES = (
    "pacing",
    "strobe",
    "lag1",
    "key-step",
    "line-fade",
    "line-count",
    "new-colours",
    "new-colours-region",
    "confidence",
)
PROTOCOL = Protocol(name="sequences", width=256, height=160, num_frames=None, scored="all", metrics=NAMES)


def controls(clip: Frames) -> dict[str, Frames]:
    """Faulty versions of a true clip (F, H, W, 3)."""
    last = len(clip) - 1
    places = np.arange(last + 1)
    inner = (places > 0) & (places < last)
    strobe = np.where(inner, places - places % 2, places)
    stutter = np.where(inner, places - places % 4, places)
    late = np.where(places < last, np.maximum(0, places - last + 3), last)
    cast = clip.astype(np.int16)
    cast[1:-1, ..., 2] += np.where(cast[1:-1, ..., 2] > 250, -4, 4)
    made = {"strobe": clip[strobe], "stutter": clip[stutter], "late jump": clip[late]}
    return {f"control: {name}": frames for name, frames in made.items()} | {"control: cast": cast.astype(np.uint8)}


def score(prepared: Prepared, clip: Frames) -> dict[str, float | None]:
    """Every metric of one clip."""
    task = prepared.task
    seen = Scored(clip[1:-1], task.truth, task.keys, clip[[0, -1]])
    return {name: METRICS[name](seen) for name in NAMES}


def true_clip(task: Task) -> Frames:
    """The keys and the true frames between them."""
    return np.concatenate([task.keys[:1], task.truth, task.keys[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sequences", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=["mini"])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/pacing.json"))
    given = parser.parse_args()
    samples = [prepare(sample, PROTOCOL) for sample in list(open_dataset(given.data))[: given.sequences]]
    rows: list[Contestant] = [
        *(Model(name, load(name).pipeline) for name in given.models),
        *installed_peers(PROTOCOL),
        Floor("DIS flow, both ways", dis_both_ways),
        Floor("cross-fade", average),
    ]
    found: dict[str, list[dict[str, float | None]]] = {}
    for prepared in samples:
        truth = true_clip(prepared.task)
        clips = {"truth": truth}
        clips |= {row.name: row.draw([prepared.task], PROTOCOL, 0)[0] for row in rows}
        for name, clip in (clips | controls(truth)).items():
            found.setdefault(name, []).append(score(prepared, clip))
    table: dict[str, dict[str, Any]] = {}
    print(f"{'':<22}" + "".join(f"{name:>13}" for name in NAMES))
    for row, values in found.items():
        known = {name: [value[name] for value in values if value[name] is not None] for name in NAMES}
        means = {name: float(np.mean(numbers)) if numbers else None for name, numbers in known.items()}
        largest = {name: max(numbers) if (numbers := known[name]) else None for name in FLAGGED}
        flagged = [name for name, limit in FLAGGED.items() if (means[name] or 0) > limit]
        table[row] = {"mean": means, "largest": largest, "flagged": flagged}
        cells = (("–" if means[n] is None else f"{means[n]:.3f}") + ("*" if n in flagged else " ") for n in NAMES)
        print(f"{row:<22}" + "".join(f"{cell:>13}" for cell in cells), flush=True)
    record = {"sequences": [one.task.name for one in samples], "size": list(PROTOCOL.size or ()), "limits": FLAGGED}
    about = {"packages": packages(), "git": git_revision(), "machine": machine()}
    write_json(given.output, record | {"rows": table} | about)


if __name__ == "__main__":
    main()
