"""Does an adapter improve mini on one show, and is the gain specific to the show? Runs the command line.

    python benchmarks/adapt_experiment.py SHOW [SHOW …] --pool TRAIN --public EVAL -o OUT [--stage NAME …]

SHOW: a folder of clips in one style. Every second shot, by name, is held out and cut into triplets. The rest is used to
train an adapter (`lora`), and for the same number of steps the full denoiser (`full`) and an adapter on as many
frames of the pool (`mixed`). Stages; each skips finished work:

    train     data and the three trainings of every show
    sweep     held-out triplets: mini, the adapter at 0.15, 0.35, 0.7, 1; mixed; full
    unguided  the same triplets without motion guidance: mini, the adapter
    public    the public triplets: mini and every adapter (no adapter may lose more than 0.2 dB)
    forms     three frames against the sixteen-frame clip with loss on the true frame alone, for the same time
    report    a page for every show, and benchmarks/results/adapt-MODEL.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nakawari.data.clips import find_clips, read_clip
from nakawari.files import atomic_path, read_json, write_json
from nakawari.provenance import git_revision, machine, packages

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PROTOCOL = ROOT / "benchmarks" / "adapt-protocol.yaml"
WINDOWS = 200
SCALES = ("0.15", "0.35", "0.7", "1.0")
STAGES = ("train", "sweep", "unguided", "public", "forms", "report")


def nakawari(*words: Any) -> None:
    """Run a command line; its output is shown, a failure ends the experiment."""
    print("nakawari", *words, flush=True)
    subprocess.run([sys.executable, "-m", "nakawari", *map(str, words)], check=True)


def shot(clip: Path) -> str:
    """The shot of a clip, without the last number: `x_25_0` and `x_25_2` are one shot."""
    return re.sub(r"(?<=\d)_\d$", "", clip.stem)


def split(show: Path, folder: Path) -> None:
    """Link every second shot into `held`, the others into `train`."""
    clips = find_clips(show)
    shots = sorted({shot(clip) for clip in clips})
    for clip in clips:
        part = "held" if shots.index(shot(clip)) % 2 else "train"
        link(clip, folder / part)


def mix(pool: Path, like: Path, folder: Path) -> None:
    """Link random clips of the pool until there are as many frames as in `like`."""
    left = sum(len(read_clip(clip)[0]) for clip in find_clips(like))
    for clip in sorted(find_clips(pool), key=lambda clip: hashlib.sha256(clip.name.encode()).digest()):
        if left <= 0:
            break
        left -= len(read_clip(clip)[0])
        link(clip, folder)


def link(clip: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / clip.name
    if not target.exists():
        target.symlink_to(clip.resolve())


class Show:
    """One show's folders below the output."""

    def __init__(self, clips: Path, given: argparse.Namespace) -> None:
        self.clips, self.given, self.name = clips, given, clips.name
        self.folder = given.output / self.name
        self.data, self.held = self.folder / "data", self.folder / "triplets"

    def variant(self, run: str, scale: str = "1.0") -> str:
        return f"{self.given.model}+{self.folder / run}@{scale}"

    def train(self) -> None:
        """Make the data, and train the three runs."""
        if not self.data.exists():
            with atomic_path(self.data) as folder:
                split(self.clips, folder)
                mix(self.given.pool, folder / "train", folder / "mixed")
        if not self.held.exists():
            nakawari("data", "triplets", self.data / "held", "-o", self.held, "--per-clip", self.given.per_clip)
        for run, data in (("lora", "train"), ("mixed", "mixed")):
            self.adapt(run, self.data / data)
        if not (self.folder / "full" / "summary.json").exists():
            nakawari("train", self.given.full, "-o", self.folder / "full", *self.changes(self.data / "train"))

    def changes(self, data: Path) -> list[str]:
        """Recipe changes to train on `data`, as command arguments."""
        changes = {"model.base": self.given.model, "data.sources.0.path": data, "optim.steps": self.given.steps}
        if "windows:" in self.given.full.read_text():
            changes["data.windows.count"] = WINDOWS
        return [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]

    def adapt(self, run: str, data: Path, *words: Any) -> None:
        if (self.folder / run / "summary.json").exists():
            return
        if self.given.recipe and not words:
            nakawari("adapt", self.given.recipe, "-o", self.folder / run, *self.changes(data))
            return
        steps = [] if "--steps" in words else ["--steps", self.given.steps]
        nakawari(
            *("adapt", "--data", data, "--model", self.given.model, "--windows", WINDOWS),
            *(*steps, *words, "-o", self.folder / run),
        )

    def sweep(self) -> None:
        variants = [self.given.model, *(self.variant("lora", scale) for scale in SCALES)]
        self.evaluate("sweep", [*variants, self.variant("mixed"), self.folder / "full"])

    def unguided(self) -> None:
        self.evaluate("unguided", [self.given.model, self.variant("lora")], "unguided")

    def forms(self) -> None:
        """Train on the same triplets as three frames, and as sixteen-frame clips with loss on the true frame."""
        triplets = self.folder / "train-triplets"
        if not triplets.exists():
            nakawari("data", "triplets", self.data / "train", "-o", triplets, "--per-clip", 24, "--gaps", "1,2,3,4,6,8")
        self.adapt("three", triplets, "--frames", 3, "--steps", self.given.steps // 2)
        began = seconds(self.folder / "three")
        each = [json.loads(line)["seconds"] for line in probe(self, triplets)]
        steps = max(4, round(began / each[-1]))
        self.adapt("sixteen", triplets, "--frames", 16, "--steps", steps)
        self.evaluate("forms", [self.given.model, self.variant("three"), self.variant("sixteen")])

    def evaluate(self, name: str, variants: list[Any], guided: str = "guided") -> None:
        evaluate(self.held, self.folder / name, variants, guided)


def probe(show: Show, data: Path) -> list[str]:
    """Changes for sixteen frames, with the number of steps that fits a given time, measured on three steps."""
    show.adapt("probe", data, "--frames", 16, "--steps", 3)
    return (show.folder / "probe" / "log.jsonl").read_text().splitlines()


def evaluate(data: Path, output: Path, variants: list[Any], guided: str = "guided") -> None:
    if (output / "aggregates.json").exists():
        return
    protocol = output.parent / f"{output.name}.yaml"
    protocol.parent.mkdir(parents=True, exist_ok=True)
    protocol.write_text(PROTOCOL.read_text().replace("guided: guided", f"guided: {guided}"))
    nakawari("evaluate", *variants, "--data", data, "--protocol", protocol, "-o", output, "--no-cost", "--no-floors")


def seconds(run: Path) -> float:
    """Seconds of a run's optimizer steps."""
    return sum(json.loads(line)["seconds"] for line in (run / "log.jsonl").read_text().splitlines())


def compared(folder: Path) -> dict[str, Any]:
    """Means of every row and differences from the first, from the evaluation's records."""
    found = read_json(folder / "aggregates.json")
    name = found["protocol"]["name"]
    rows = {
        short(entry["name"]): {metric: levels["all"] for metric, levels in entry["results"].get(name, {}).items()}
        for entry in found["entries"]
    }
    for item in found["paired"]:
        if item["level"] == "all" and item["against"] == found["reference"]:
            rows[short(item["entry"])][f"{item['metric']} minus {short(found['reference'])}"] = {
                key: item[key] for key in ("difference", "wins", "losses", "verdict")
            }
    return {"samples": len(found["record"]["samples"]), "rows": rows}


def short(name: str) -> str:
    """A variant's name without the experiment's folders."""
    return re.sub(r"(?:[^+@\s]*/)?([^/+@\s]+/[^/+@\s]+)(?=[@\s]|$)", r"\1", name)


def report(shows: list[Show], given: argparse.Namespace) -> None:
    record: dict[str, Any] = {"machine": machine(), "packages": packages(), "git": git_revision(), "shows": {}}
    for show in shows:
        found: dict[str, Any] = {
            "seconds": {
                run.name: round(seconds(run))
                for run in sorted(show.folder.iterdir())
                if (run / "log.jsonl").exists() and run.name != "probe"
            }
        }
        for name in ("sweep", "unguided", "forms"):
            if (show.folder / name / "aggregates.json").exists():
                found[name] = compared(show.folder / name)
        record["shows"][show.name] = found
        nakawari("report", show.folder / "sweep", "-o", show.folder / "report", "--cases", 0)
    if (given.output / "public" / "aggregates.json").exists():
        record["public"] = compared(given.output / "public")
    write_json(RESULTS / f"adapt-{Path(given.model).name}.json", record)
    print(json.dumps(record["shows"], indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shows", nargs="+", type=Path)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--public", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--recipe", type=Path, help="recipe of the adapters; default: that of `nakawari adapt --data`")
    parser.add_argument(
        "--full", type=Path, default=ROOT / "recipes/adapt/full.yaml", help="recipe of the full training"
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--per-clip", type=int, default=3)
    parser.add_argument("--stage", action="append", choices=STAGES)
    given = parser.parse_args()
    shows = [Show(path, given) for path in given.shows]
    for stage in given.stage or STAGES:
        began = time.perf_counter()
        if stage == "public":
            variants = [given.model, *(show.variant("lora") for show in shows)]
            evaluate(given.public, given.output / "public", variants)
        elif stage == "report":
            report(shows, given)
        else:
            for show in shows:
                getattr(show, stage)()
        print(f"{stage}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
